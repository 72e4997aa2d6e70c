"""Pages that speak of everything there is speak of all of it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import bench
from bench.cli import app
from tests.helpers.paths import ROOT
from tests.helpers.registry import REGISTRY
from tests.records.test_store import make_run, make_score

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def script(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_objectives_is_that_of_the_installed_ones() -> None:
    text = page("objectives.md")
    assert script(DOCS / "site" / "tables.py").with_tables(text) == text


def test_every_task_without_labels_is_described() -> None:
    text = page("your_data.md")
    for name, task in REGISTRY.of("task").items():
        if "self" in task.suites:
            assert f"| `{name}` |" in text, name


def test_every_generated_task_is_described() -> None:
    text = page("generated_corpus.md")
    for name, task in REGISTRY.of("task").items():
        if "micro" in task.suites:
            assert f"| `{name}` |" in text, name


def test_every_kind_of_label_file_is_described() -> None:
    from bench.probing.data.user_tasks import KINDS

    text = page("your_data.md")
    for name, kind in KINDS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.MULTILINE)
        assert all(f"`{column}`" in row for column in kind.columns), name
        assert all(f"`{metric}`" in row for metric in kind.metrics), name


def test_every_environment_variable_is_described() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "bench").rglob("*.py"))
    text = page("results_format.md")
    for name in {*re.findall(r"\bBENCH_[A-Z_]+\b", sources)}:
        assert f"`{name}`" in text, name


def test_every_exit_code_is_described() -> None:
    from bench import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.BenchError)}
    text = page("results_format.md")
    for code in {*codes, 0, 4, 130}:
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE), code


def test_every_command_is_used_somewhere() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"^bench {command}\b", text, re.MULTILINE), command


def test_every_public_name_is_described() -> None:
    text = page("python.md") + page("reference.md")
    for name in bench.__all__:
        assert name == "__version__" or re.search(rf"\b{name}\b", text), name


def test_the_columns_of_a_comparison_are_described(tmp_path: Path) -> None:
    described = page("python.md").split("## The columns of to_dataframe")[1].split("\n## ")[0]
    folder = make_run(tmp_path)
    make_score(folder)
    frame = bench.compare(out=tmp_path).to_dataframe()
    assert len(frame.columns) > 20
    for column in frame.columns:
        assert f"`{column}`" in described, column


def test_the_names_of_the_reference_exist() -> None:
    rows = re.findall(r"^\| \[`(bench\.[\w.]+)`\]\(\.\./([\w/.]+)\)", page("reference.md"), re.M)
    assert len(rows) > 20
    for name, file in rows:
        module, _, attribute = name.rpartition(".")
        if importlib.util.find_spec(name if module == "bench" else module) is None:
            pytest.fail(name)
        loaded = importlib.import_module(module)
        assert hasattr(loaded, attribute) or importlib.util.find_spec(name), name
        assert (ROOT / file).is_file(), file


def test_the_citation_can_be_read() -> None:
    fields = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert fields["cff-version"] == "1.2.0"
    assert (fields["title"], fields["type"]) == ("bench", "software")
    assert fields["license"] == "Apache-2.0"
    assert fields["version"] == bench.__version__
    assert fields["message"]
    assert fields["authors"] == [{"name": "The bench authors"}]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["how_to_read.svg", "moderation.svg"])
def test_the_figures_are_those_of_the_records(name: str, tmp_path: Path) -> None:
    script(DOCS / "figures" / "how_to_read.py").save(name, tmp_path / name)
    assert (tmp_path / name).read_bytes() == (DOCS / "figures" / name).read_bytes()


@pytest.mark.slow
def test_the_site_is_built(tmp_path: Path) -> None:
    for needed in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(needed)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
         "--config-file", str(DOCS / "site" / "mkdocs.yml"), "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    for name in ("bench.api.run", "bench.probing.task.Task", "bench.pretraining.noise.Noise"):
        assert f'id="{name}"' in reference, name
