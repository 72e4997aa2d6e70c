"""The command line: flags in, exit code out. The commands are in `bench.commands`.

Heavy packages are deferred, not avoided (see `bench._startup`): `bench list` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

import typer

from bench._startup import defer, own_process
from bench.commands.looking import describe, fill, list_, show
from bench.commands.making import check, new
from bench.commands.results import compare, report, verify
from bench.commands.running import plan, run
from bench.errors import BenchError, FailedError
from bench.storage import FULL

app = typer.Typer(
    name="bench",
    help="Which self-supervised objective should I pretrain my text encoder with?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "plan": plan,
    "list": list_,
    "describe": describe,
    "show": show,
    "new": new,
    "fill": fill,
    "check": check,
    "compare": compare,
    "verify": verify,
    "report": report,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def spread(arguments: list[str], option: str = "--corpus") -> list[str]:
    """`--corpus A B` as `--corpus A --corpus B`: a shell's `*.txt` comes as many words."""
    found: list[str] = []
    is_open = False
    for argument in arguments:
        if argument.startswith("-"):
            is_open = argument == option
        elif is_open and found[-1] != option:
            found.append(option)
        found.append(argument)
    return found


def main() -> None:
    """Run the command line; a `BenchError` is one line and an exit code, never a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: `bench run >&-`, as some daemons do
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where ± cannot be shown the rest still can
    defer("torch", "pandas", "sklearn", "seaborn", "scipy")
    try:
        app(spread(sys.argv[1:]))
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(f"bench: the output was not written whole ({error.strerror})\n")
        sys.exit(FailedError.exit_code)


def process() -> None:
    """`bench` as a process of its own, which may end as soon as its work is done."""
    own_process()
    main()
