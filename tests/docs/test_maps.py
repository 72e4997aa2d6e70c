"""The trees that README and CONTRIBUTING draw are those of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.helpers.paths import ROOT

PLACES = re.compile(r"^( *)([\w./]+)/ +\S", re.MULTILINE)


def drawn(page: str) -> str:
    """The block of a page that draws the repository."""
    (tree,) = (
        block.text for block in blocks("text", [ROOT / page]) if block.text.startswith("bench/ ")
    )
    return tree


def folders(tree: str) -> dict[Path, str]:
    """Each folder of a tree, with its line; deeper ones are indented by two more spaces."""
    result: dict[Path, str] = {}
    above: list[tuple[int, Path]] = []
    for line in tree.splitlines():
        match = PLACES.match(line)
        if match is None:
            continue
        indent = len(match[1])
        above = [(depth, folder) for depth, folder in above if depth < indent]
        folder = (above[-1][1] if above else Path()) / match[2]
        above.append((indent, folder))
        result[folder] = line
    return result


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_folder_of_the_tree_exists(page: str) -> None:
    for folder, line in folders(drawn(page)).items():
        assert (ROOT / folder).is_dir(), line


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_room_is_in_the_tree(page: str) -> None:
    rooms = {path.parent.relative_to(ROOT) for path in (ROOT / "bench").glob("*/__init__.py")}
    top = {Path(name) for name in ("bench", "objectives", "tasks", "tests", "docs")}
    assert rooms | top <= folders(drawn(page)).keys()


def test_contributing_names_the_folders_of_the_rooms() -> None:
    inner = {
        path.parent.relative_to(ROOT)
        for room in ("pretraining", "probing", "reporting", "testing")
        for path in (ROOT / "bench" / room).glob("*/__init__.py")
    }
    assert inner <= folders(drawn("CONTRIBUTING.md")).keys()


def test_contributing_names_every_plain_module() -> None:
    tree = drawn("CONTRIBUTING.md")
    for path in (ROOT / "bench").glob("[!_]*.py"):
        assert re.search(rf"\b{path.name}\b", tree), path.name


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_a_text_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:bench|tests|docs|tasks|objectives)/[\w/]+\.\w+)`", text):
        if "mine" not in name and "ROOM" not in name:
            assert (ROOT / name).is_file(), name


def test_the_numbers_that_guard_old_results_are_where_the_text_says() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \| `([\w/]+\.py)`", text, re.MULTILINE)
    assert len(rows) == 3
    for name, file in rows:
        assert re.search(rf"^{name} = ", (ROOT / file).read_text(), re.MULTILINE), name
