"""The command line: one function for each command, options in, exit code out.

Heavy packages are deferred, not avoided (see `bench._startup`), so `bench list` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

from bench._startup import defer, own_process
from bench.cli import (
    experiments,
    jobs,
    plugins,
    records,
)  # their commands are in the order of the help
from bench.cli.app import app
from bench.errors import BenchError, FailedError, user_error
from bench.storage import FULL

__all__ = ["app", "experiments", "jobs", "main", "plugins", "process", "records", "spread_corpus"]


def spread_corpus(arguments: list[str]) -> list[str]:
    """`--corpus A B` as `--corpus A --corpus B`: a shell expands `*.txt` to several words.

    Only for commands without positional arguments: elsewhere a word after the corpus may be the
    text to show.
    """
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command not in ("run", "plan", "prepare"):
        return arguments
    spread: list[str] = []
    is_open = False
    for argument in arguments:
        if argument.startswith("-"):
            is_open = argument == "--corpus"
        elif is_open and spread[-1] != "--corpus":
            spread.append("--corpus")
        spread.append(argument)
    return spread


def main() -> None:
    """Run the command line; a `BenchError` is one line and an exit code, never a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: `bench run >&-`, as some daemons do
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without ± still shows the rest
    defer("torch", "pandas", "sklearn", "seaborn", "scipy")
    try:
        _run(spread_corpus(sys.argv[1:]))
    except BenchError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `bench list | head`: the reader has seen enough
        _discard_stdout()
        sys.exit(0)
    except (OSError, ValueError, RuntimeError) as error:
        if (clear := user_error(error)) is not None:
            _fail(clear)
        if not isinstance(error, OSError) or error.errno not in FULL or error.filename is not None:
            raise
        _discard_stdout()
        _fail(FailedError(f"the output could not be written completely ({error.strerror})"))


def _fail(error: BenchError) -> NoReturn:
    sys.stderr.write(f"bench: {error}\n")
    sys.exit(error.exit_code)


def _run(arguments: list[str]) -> None:
    """Run a command; `--out` may be in an object store, of which it sees the mirror."""
    if not any("://" in argument for argument in arguments):
        app(arguments)
        return
    from bench.records.remote import local_arguments, publish

    arguments, mirrors = local_arguments(arguments)
    try:
        app(arguments)
    finally:
        for mirror in mirrors:
            publish(mirror)


def _discard_stdout() -> None:
    """Make the flush at exit succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def process() -> None:
    """`bench` as a process of its own, which may end as soon as its work is done."""
    own_process()
    main()
