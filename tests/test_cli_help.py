"""The rendered help of every command shows every option and every default in full."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from bench.cli import app
from tests.helpers.paths import ROOT

GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}


def rendered(*arguments: str, columns: str = "80") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments, "--help"],
        capture_output=True, text=True, env=ENVIRONMENT | {"COLUMNS": columns}, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete_at_80_columns(command: str) -> None:
    text = rendered(command)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for parameter in GROUP.commands[command].params:
        names = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name == "argument":
            names = [parameter.metavar]
        for name in names:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words), (command, name)
        help_text = parameter.help or ""
        assert " ".join(help_text.split()) in words, (command, parameter.name)
        default = shown_default(parameter)
        if default is not None:
            assert f"default: {default}" in words, (command, parameter.name, default)


def shown_default(parameter: Any) -> str | None:
    """The default as help must show it; None where there is nothing to show."""
    if isinstance(parameter.show_default, str):
        return f"({parameter.show_default})"
    value = parameter.default
    if parameter.required or value is None or value is False or value == ():
        return None
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or None
    if value is True:
        return parameter.opts[0].lstrip("-")
    return str(getattr(value, "value", value))


def test_every_optional_value_says_its_default() -> None:
    """An option without a default in its help leaves a reader guessing."""
    silent = [
        (command, parameter.name)
        for command in COMMANDS
        for parameter in GROUP.commands[command].params
        if parameter.param_type_name == "option"
        and not parameter.required
        and not parameter.is_flag
        and not parameter.multiple
        and shown_default(parameter) is None
    ]
    assert silent == []


def test_the_list_of_commands_is_complete() -> None:
    text = rendered()
    for command in COMMANDS:
        assert re.search(rf"^  {command}\s", text, re.MULTILINE), command
    assert "--version" in text
    assert "--install-completion" in text


def test_a_command_s_name_greps_to_its_function() -> None:
    source = "".join(path.read_text() for path in (ROOT / "bench" / "cli").glob("*.py"))
    for command in COMMANDS:
        name = "list_" if command == "list" else command
        assert re.search(rf"^def {name}\(", source, re.MULTILINE), command


def test_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--version"],
        capture_output=True, text=True, env=ENVIRONMENT, check=True,
    )  # fmt: skip
    assert re.fullmatch(r"bench \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.slow
def test_completion_knows_the_names(tmp_path: Path) -> None:
    def complete(*words: str) -> list[str]:
        program = "import sys; sys.argv[0] = 'bench'; from bench.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, cwd=tmp_path,
            env=ENVIRONMENT | {
                "_BENCH_COMPLETE": "complete_bash",
                "COMP_WORDS": " ".join(["bench", *words]), "COMP_CWORD": str(len(words)),
            },
        )  # fmt: skip
        return done.stdout.split()

    assert "span" in complete("run", "--objective", "sp")
    assert "token,span" in complete("run", "--objective", "token,sp")
    assert "tiny" in complete("run", "--size", "ti")


@pytest.mark.parametrize("arguments", [["list"], ["run", "--help"], ["describe", "span"]])
def test_a_reader_that_stops_early_ends_the_command_quietly(
    arguments: list[str], tmp_path: Path
) -> None:
    command = " ".join([sys.executable, "-m", "bench", *arguments])
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -n 1"],
        capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
