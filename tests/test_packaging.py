from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


def test_the_top_level_has_only_the_folders_of_the_design() -> None:
    """The folders show the architecture, so nothing else is at the top level."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in tracked} <= {
        "bench", "objectives", "tasks", "results", "tests", "docs", "pyproject.toml", "README.md",
        "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile",
        "constraints.txt", ".ci", ".gitignore", "SECURITY.md",
    }  # fmt: skip


def test_the_machine_names_no_objective_and_no_task() -> None:
    names = {p.stem for folder in ("objectives", "tasks") for p in (ROOT / folder).glob("[!_]*.py")}
    names -= {"token", "span", "causal", "agreement", "entities"}  # also general terms of the field
    names -= {"untrained"}  # the baseline is in every table, so the machine requests it by name
    for path in (ROOT / "bench").rglob("*.py"):
        if "microworld" in path.parts:  # the generator writes the examples of the micro tasks
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        code = "\n".join(line for line in lines if not line.lstrip().startswith((">>>", "...")))
        quoted = set(re.findall(r"[\"']([a-z0-9_]+)[\"']", code))
        assert not quoted & names, path


def test_the_documentation_names_every_objective() -> None:
    text = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
    for path in (ROOT / "objectives").glob("[!_]*.py"):
        assert re.search(rf"\b{path.stem}\b", text), path.stem


def test_constraints_pin_every_requirement() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["test"], *extras["docs"]]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement)[0] for requirement in requirements}  # type: ignore[index]
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in names} <= pinned
    assert "torch==2.13.0" in lines


@pytest.mark.slow
def test_the_wheel_installs_bench_alone_and_works(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"bench"}
        archive.extractall(site)
    code = (
        "import bench, bench.registry as r; of = r.Registry().of;"
        "print(bench.__file__, *of('objective'), *of('task'), *of('corpus'))"
    )
    process = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert str(site) in process.stdout
    for name in ("span", "sst2", "micro", "agreement"):
        assert f" {name}" in process.stdout
