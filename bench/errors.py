"""Errors that are not bugs: one family of exceptions, each with its exit code.

Every message says what is wrong, what was got, where, and the way out. The command line catches
`BenchError` once and prints only the message; any other exception is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """The user can fix the cause: bad input, an unknown name, a missing file (exit 2).

    Every error that `bench` raises for a user's mistake is one of these.

    Examples:
        >>> import bench
        >>> try:
        ...     bench.run("spam", progress=False)
        ... except bench.BenchError as error:
        ...     print(str(error).split(" (")[0], error.exit_code)
        no objective named 'spam'; did you mean 'span'? 2
    """

    exit_code = 2


class RefusedError(BenchError):
    """A file differs from its manifest, or from what the command requires (exit 3)."""

    exit_code = 3


class FailedError(BenchError):
    """The work itself failed: a full disk, a crashed plugin (exit 1)."""

    exit_code = 1


class StoppedError(BenchError):
    """A signal stopped the run; the state is saved and the same command resumes (exit 75)."""

    exit_code = 75


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> BenchError:
    """The error for an unknown name, with the most similar known name."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return BenchError(f"no {kind} named {name!r}{hint} ({listing} shows all {len(names)})")
