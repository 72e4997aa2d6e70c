"""`bench new`: the packages work as they are, and bad names are refused."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.task import DataRoot
from bench.scaffold import scaffold
from bench.testing import SAMPLE_VOCABULARY, sample_batch
from tests.helpers.paths import ROOT
from tests.helpers.registry import REGISTRY


def load(folder: Path) -> Any:
    """The module of a package that is not installed."""
    source = folder / "src" / folder.name / "__init__.py"
    spec = importlib.util.spec_from_file_location(f"scaffolded_{folder.name}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_new_objective_works(tmp_path: Path) -> None:
    folder = scaffold("objective", "my-block2", tmp_path, REGISTRY)
    assert folder == tmp_path / "my_block2"
    (cls,) = load(folder).bench_objectives()
    assert cls.name == "my_block2"
    batch = sample_batch(8, 64)
    example = cls().corrupt(batch, SAMPLE_VOCABULARY, Noise(0, 0, batch.example_ids))
    assert (example.labels >= 0).sum(1).tolist() == cls().quota(batch).tolist()
    assert not torch.equal(example.inputs, batch.tokens)


def test_a_new_task_works(tmp_path: Path) -> None:
    (cls,) = load(scaffold("task", "first_named", tmp_path, REGISTRY)).bench_tasks()
    splits = cls().load(DataRoot())
    cls().check(splits)
    for frame, size in ((splits.train, 768), (splits.test, 256)):
        assert len(frame) == size
        assert (frame["label"] == "animal").mean() == cls.chance
    assert not set(splits.train["text"]) & set(splits.test["text"])
    assert len(cls().load(DataRoot(limit=10)).test) == 10


@pytest.mark.parametrize("kind", ["objective", "task"])
def test_no_placeholder_of_a_template_is_left(kind: Any, tmp_path: Path) -> None:
    folder = scaffold(kind, "my_thing", tmp_path, REGISTRY)
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == [
        "README.md",
        "pyproject.toml",
        "src/my_thing/__init__.py",
        "tests/test_my_thing.py",
    ]
    for file in files:
        text = (folder / file).read_text()
        assert not re.search(r"\$|\.template", text), file
        assert max(map(len, text.splitlines())) <= 100
        assert "my_thing" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up", "is not a valid name"),
        ("/abs", "is not a valid name"),
        ("a/b", "is not a valid name"),
        ("-x", "is not a valid name"),
        ("x" * 300, "is not a valid name"),
        ("", "is not a valid name"),
        ("sp\u0430n2", "is not a valid name"),  # a Cyrillic letter
        ("a__b", "is not a valid name"),
        ("My", "is not a valid name"),
        ("span", "an objective of that name exists, from built-in:span"),
        ("word-class", "a task of that name exists"),
        ("micro", "a corpus of that name exists"),
        ("lambda", "a keyword"),
        ("json", "a Python module of that name is installed"),
        ("numpy", "a Python module of that name is installed"),
        ("objective_bench", "a package of that name is installed"),
        ("encoder", "another meaning"),
        ("tiny", "another meaning"),
    ],
)
def test_bad_names_are_refused_with_the_reason(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=re.escape(reason)):
        scaffold("objective", name, tmp_path, REGISTRY)
    assert not list(tmp_path.iterdir())


@given(st.text(max_size=12) | st.sampled_from(["..", ".", "a\0b", "~", "$HOME", "a\nb", "con."]))
@settings(max_examples=60)
def test_no_name_leaves_the_folder(name: str) -> None:
    from bench.scaffold import checked_name

    try:
        python_name = checked_name("task", name, REGISTRY)
    except BenchError:
        return
    assert re.fullmatch("[a-z][a-z0-9_]*", python_name)


def test_an_existing_file_stays_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "a_link").symlink_to(tmp_path / "nowhere")
    for name in ("a_folder", "a_link"):
        with pytest.raises(BenchError, match="exists already"):
            scaffold("task", name, tmp_path, REGISTRY)
    assert not list((tmp_path / "a_folder").iterdir())
    with pytest.raises(BenchError, match="no such folder"):
        scaffold("task", "fine", tmp_path / "nowhere", REGISTRY)
    if os.geteuid():
        (tmp_path / "a_folder").chmod(0o500)
        with pytest.raises(BenchError, match="cannot be written"):
            scaffold("task", "fine", tmp_path / "a_folder", REGISTRY)


def test_the_command_prints_the_next_steps(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["new", "objective", "mine2", "--dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert f"pip install -e {tmp_path / 'mine2'}" in done.stdout.replace("\n", "")
    assert CliRunner().invoke(app, ["new", "corpus", "mine3"]).exit_code == 2


def page() -> str:
    """The section of the documentation that makes an installable objective."""
    text = (ROOT / "docs" / "write_an_objective.md").read_text(encoding="utf-8")
    return text.split("\n## Your own objective in ten minutes\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(r"^```\w*\n(.*?)\n```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    lines = "\n".join(blocks(text)).replace("\\\n", " ").splitlines()
    command_lines = [line for line in lines if re.match(r"(bench|pip|pytest) ", line)]
    return [shlex.split(line, comments=True) for line in command_lines]


def test_the_page_quotes_the_template(tmp_path: Path) -> None:
    """The method `choose` on the page is the one of the template."""
    (name,) = [words[3] for words in commands(page()) if words[:2] == ["bench", "new"]]
    folder = scaffold("objective", name, tmp_path, REGISTRY)
    source = textwrap.dedent((folder / "src" / name / "__init__.py").read_text())
    (quoted,) = [block for block in blocks(page()) if block.startswith("def choose")]
    assert textwrap.indent(quoted, "    ") in source


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the packages of this one, and offline programs in `bin`."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    ours = sysconfig.get_paths()["purelib"]
    # addsitedir and not a path alone: this environment may have bench as an editable install.
    (site / "ours.pth").write_text(f"{ROOT}\nimport site; site.addsitedir({ours!r})\n")
    (folder / "bin").mkdir()
    offline = "--no-build-isolation --no-deps --no-index --disable-pip-version-check"
    for program, extra in (("bench", ""), ("pytest", ""), ("pip", offline)):
        path = folder / "bin" / program
        path.write_text(f'#!/bin/sh\nexec "{python}" -m {program} "$@" {extra}\n')
        path.chmod(0o755)
    return folder


def follow(environment: Path, words: list[str], cwd: Path) -> str:
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BENCH_PLUGINS")}
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, env={**variables, "PATH": path}
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_page_can_be_followed(environment: Path, tmp_path: Path) -> None:
    outputs = {
        shlex.join(words): follow(environment, words, tmp_path) for words in commands(page())
    }
    (name,) = [words[3] for words in map(shlex.split, outputs) if words[:2] == ["bench", "new"]]
    tables = [text for command, text in outputs.items() if command.startswith("bench compare")]
    assert re.search(rf"^{name} .*±", tables[-1], flags=re.MULTILINE)
    assert name in follow(environment, ["bench", "list", "objectives"], tmp_path)


@pytest.mark.slow
def test_a_task_installs_passes_its_tests_and_is_listed(environment: Path, tmp_path: Path) -> None:
    for words in (
        ["bench", "new", "task", "first_named"],
        ["pip", "install", "-e", "first_named"],
        ["pytest", "first_named"],
    ):
        follow(environment, words, tmp_path)
    assert "first_named" in follow(environment, ["bench", "list", "tasks"], tmp_path)
