"""Every command of the documentation works when it is pasted.

Commands run in this process, in a folder with the files that they mention. Commands that train are
made small (the last value of an option counts) and are marked slow. `pip` and `make` are not run:
their files, extras and targets are checked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from tests.docs.pages import REFERENCE, Block, blocks, commands
from tests.helpers.paths import ROOT, SHARED

pytestmark = [  # the pipe to a worker is closed by the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SMALL = [
    "--budget", "20k", "--seeds", "0", "--limit", "60",
    "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
    "--set", "encoder.num_heads=2",
]  # fmt: skip
SLOW = {"run", "check", "report", "show", "fill", "export"}
"""Commands that train, prepare a corpus, draw, or need weights."""
PLUGINS = {"mine", "block", "first_named"}
"""Names of a user's own; `tests/scaffold` and the test at the end follow their pages."""


def listed() -> Iterator[tuple[Block, list[str]]]:
    """Every command of every `sh` block."""
    for block in blocks("sh"):
        for words in commands(block):
            yield block, words


def parameters(is_slow: bool) -> list[object]:
    """The commands of `bench` that run here, as parameters with an id."""
    return [
        pytest.param(words, id=f"{block.name} {' '.join(words[1:4])}")
        for block, words in listed()
        if words[0] == "bench" and not PLUGINS & {*re.findall(r"\w+", " ".join(words))}
        if (words[1] in SLOW) is is_slow
    ]


def output_of(words: list[str], cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    """The standard output of a command that runs in this process."""
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd):
        patch.setattr(sys, "argv", words)
        with (
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()) as errors,
            pytest.raises(SystemExit) as end,
        ):
            main()
    assert (end.value.code or 0) in codes, errors.getvalue()
    return output.getvalue()


@pytest.fixture
def folder(user_files: Path, finished_runs: Path, tmp_path: Path) -> Path:
    """A working folder of this test, with the user's files and finished runs."""
    for path in user_files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    shutil.copytree(finished_runs, tmp_path / "results")
    return tmp_path


@pytest.mark.parametrize("words", parameters(is_slow=False))
def test_a_command_runs(words: list[str], folder: Path) -> None:
    if words[1] == "plan":
        shutil.rmtree(folder / "results")  # these records say nothing about speed
    is_gate = "--fail-if" in words
    assert output_of(words, folder, codes=(0, 1) if is_gate else (0,)).strip()


@pytest.mark.slow
@pytest.mark.parametrize("words", parameters(is_slow=True))
def test_a_command_that_trains_or_draws_runs(words: list[str], folder: Path, results: Path) -> None:
    if words[1] == "run":
        shutil.rmtree(folder / "results")
        words = [*words, *SMALL]
        if "--curve" in words:  # its shortest run has a least number of steps
            words = [*words, "--budget", "100k"]
        if "--race" in words:  # it needs seeds to spend
            words = ["token,span" if word == "all" else word for word in words]
            words += ["--seeds", "0-2"]
        if "task_data/" in words:
            words = [str(SHARED / "tasks") if word == "task_data/" else word for word in words]
            if not SHARED.is_dir():
                pytest.skip("no task data here")
        if "finetune" in " ".join(words):
            words = [*words, "--tasks", "word_class"]
    if words[1] in ("fill", "export"):
        words = [*words, "--out", str(results)]
    shown = output_of(words, folder)
    assert shown.strip() or words[1] == "report"
    page = "leaderboard.html" if "--leaderboard" in words else "report.html"
    assert words[1] != "report" or (folder / "results" / "report" / page).is_file()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=" ".join(words[2:4]))
        for block in blocks("sh", [REFERENCE])
        for words in commands(block)
        if words[:2] == ["bench", "run"] and "--data" not in words
    ],
)
def test_the_commands_of_the_reference_results_can_be_planned(
    words: list[str], tmp_path: Path
) -> None:
    assert "runs" in output_of(["bench", "plan", *words[2:]], tmp_path)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        pytest.param(block, words, id=f"{block.name} {' '.join(words[:3])}")
        for block, words in listed()
        if words[0] != "bench"
    ],
)
def test_another_command_is_one_that_exists(block: Block, words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    match words:
        case ["make", target]:
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            assert re.search(rf"^\.PHONY:.*\b{target}\b", makefile, re.MULTILINE)
        case ["pip", "install", *arguments]:
            for argument in arguments:
                extra = re.fullmatch(r"\.\[(\w+)\]", argument)
                if extra:
                    assert extra[1] in project["optional-dependencies"]
                elif argument not in ("-c", "-e", ".") and argument not in PLUGINS:
                    assert (ROOT / argument).is_file()
        case ["pytest", *arguments]:
            assert {*arguments} <= PLUGINS
        case ["source", script]:
            assert script == ".venv/bin/activate"
            assert "-m venv .venv" in (ROOT / "Makefile").read_text()
        case ["cp", source, _]:
            assert (ROOT / source).is_file()
        case ["cd", place]:
            assert (ROOT / place).is_dir()
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None
        case _:
            pytest.fail(f"{block.name}: nothing is known about the command {words[0]!r}")


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_two_first_commands_have_their_pip_forms(page: str) -> None:
    """The forms after `or:` are comments of the shell, so they are read here."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(r"^make (\w+) +# or:  (.*)$", text, re.MULTILINE) == [
        ("run", "pip install -c constraints.txt . && bench run --objective span"),
        ("test", "pip install -c constraints.txt -e '.[test]' && pytest"),
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert "bench run --objective span" in makefile
    assert "-c constraints.txt" in makefile
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["bench"] == "bench.cli:process"


@pytest.mark.slow
def test_a_copied_objective_is_shown_checked_and_compared(tmp_path: Path) -> None:
    """The commands of README that copy `token.py`, in a copy of the checkout."""
    import subprocess

    checkout = tmp_path / "checkout"
    for part in ("bench", "objectives", "tasks"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, checkout / part, ignore=ignored)
    (block,) = (b for b in blocks("sh", [ROOT / "README.md"]) if "cp " in b.text)
    for words in commands(block):
        if words[0] == "cp":
            text = (checkout / words[1]).read_text()
            text = text.replace("class Token(", "class Mine(").replace('= "token"', '= "mine"')
            (checkout / words[2]).write_text(text)
            continue
        small = [*SMALL, "--tasks", "word_class"] if words[1] == "run" else []
        done = subprocess.run(
            [sys.executable, "-P", "-m", *words, *small], cwd=checkout, text=True,
            capture_output=True, env={**os.environ, "PYTHONPATH": str(checkout)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "mine" in done.stdout
