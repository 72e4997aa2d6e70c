"""What can go wrong that is not a bug: one exception family, one exit code each.

Every message says what is wrong, what was got, where, and the way out. The command line catches
`BenchError` once and prints the message alone; anything else is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """The user can mend it: bad input, an unknown name, a missing file (exit 2)."""

    exit_code = 2


class RefusedError(BenchError):
    """What is on disk is not what it claims to be, or not what was asked for (exit 3)."""

    exit_code = 3


class FailedError(BenchError):
    """The work itself failed: a full disk, a crashed plugin (exit 1)."""

    exit_code = 1


class StoppedError(BenchError):
    """A signal asked for a stop; the state is saved and the same command resumes (exit 75)."""

    exit_code = 75


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> BenchError:
    """An error for a name nobody answers to, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return BenchError(f"no {kind} named {name!r}{hint} ({listing} shows all {len(names)})")
