"""The rooms: layers, no cycles, folders that a newcomer can take in."""

from __future__ import annotations

import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import pytest

from tests.helpers.paths import ROOT

MAX_MODULES = 16


def test_no_module_imports_itself_through_others() -> None:
    """Imports for type checkers and imports inside functions count."""
    graph = grimp.build_graph("bench", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    for module in imports:  # a module reaches the package's own file through its name alone
        imports[module] = imports[module] - {"bench"}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError with the cycle


def test_a_room_imports_only_rooms_to_its_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--cache-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_no_folder_has_too_many_modules() -> None:
    folders = Counter(path.parent for path in (ROOT / "bench").rglob("*.py"))
    assert {str(folder): n for folder, n in folders.items() if n > MAX_MODULES} == {}


def test_tests_mirror_the_source() -> None:
    """`tests/ROOM/test_MODULE.py`: every folder of tests is a room, or says why it is none."""
    rooms = {path.name for path in (ROOT / "bench").rglob("*") if path.is_dir()}
    others = {"objectives", "tasks", "helpers", "benchmarks", "faults", "fuzz", "golden", "docs"}
    for folder in (path for path in (ROOT / "tests").rglob("*") if path.is_dir()):
        if not any(part.startswith((".", "__")) for part in folder.relative_to(ROOT).parts):
            assert folder.name in rooms | others, folder


@pytest.mark.parametrize("folder", ["bench", "objectives", "tasks"])
def test_a_file_is_read_in_a_sitting(folder: str) -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in (ROOT / folder).rglob("*.py")}
    assert {str(path): n for path, n in lengths.items() if n > 400} == {}
