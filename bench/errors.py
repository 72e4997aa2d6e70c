"""Errors that are not bugs: one family of exceptions, each with its exit code.

Every message says what is wrong, what was got, where, and the way out. The command line catches
`BenchError` once and prints only the message; any other exception is a bug and keeps its traceback.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


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


def checked_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Raise a `BenchError` with a suggestion for an unknown or missing argument."""
    signature = inspect.signature(function)
    name = f"bench.{function.__name__}"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        is_open = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        for keyword in () if is_open else kwargs:
            if keyword not in signature.parameters:
                raise unknown_name(
                    f"argument of {name}", keyword, signature.parameters, f"help({name})"
                )
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BenchError(f"{name}: {error}; its arguments are {signature}") from None
        return function(*args, **kwargs)

    return call
