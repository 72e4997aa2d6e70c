from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


def test_top_level_is_what_it_should_be() -> None:
    """The folders show the architecture; nothing else stands beside them."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in tracked} <= {
        "bench", "objectives", "tasks", "results", "tests", "pyproject.toml", "README.md",
        "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", ".ci",
        ".gitignore",
    }  # fmt: skip


def test_the_machine_names_no_objective_and_no_task() -> None:
    names = {p.stem for folder in ("objectives", "tasks") for p in (ROOT / folder).glob("[!_]*.py")}
    names -= {"token", "span", "causal", "agreement", "entities"}  # words of the trade as well
    names -= {"untrained"}  # the control is in every table, so somebody must ask for it
    for path in (ROOT / "bench").rglob("*.py"):
        if "microworld" in path.parts:  # the generator writes the questions that tasks ask
            continue
        quoted = set(re.findall(r"[\"']([a-z0-9_]+)[\"']", path.read_text(encoding="utf-8")))
        assert not quoted & names, path


def test_the_readme_names_every_objective() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## The objectives")[1].split("\n## ")[0]
    for path in (ROOT / "objectives").glob("[!_]*.py"):
        assert re.search(rf"\b{path.stem}\b", section), path.stem


def test_constraints_pin_every_requirement() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement)[0] for requirement in wanted}  # type: ignore[index]
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
        "import bench, bench.registry as r; found = r.Registry();"
        "print(bench.__file__, *found.of('objective'), *found.of('task'), *found.of('corpus'))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert str(site) in done.stdout
    for name in ("span", "sst2", "micro", "agreement"):
        assert f" {name}" in done.stdout
