"""Errors that are not bugs: one family of exceptions, each with its exit code.

Every message says what is wrong, what was got, where, and the way out. The command line catches
`BenchError` once and prints only the message; any other exception is a bug and keeps its traceback.
"""

import difflib
import errno
import functools
import inspect
import os
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


_PATH_PROBLEMS = {
    errno.ENAMETOOLONG: "the name is too long for this system; give a shorter one",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or name another folder",
    errno.EEXIST: "a file stands where a folder is needed; move it, or name another folder",
    errno.EISDIR: "a folder stands where a file is needed; move it, or name another file",
    errno.ELOOP: "its symbolic links lead in a circle; name another path",
    errno.EACCES: "permission is denied; change the permissions, or name another path",
    errno.EPERM: "permission is denied; change the permissions, or name another path",
    errno.EROFS: "the file system is read-only; name another path",
}
_SHOWN = 80


def user_error(error: Exception) -> BenchError | None:
    """The clear error for a path that the system refuses; None for any other error, a bug.

    The commands, the functions of the Python API and the workers all ask here, so that no code in
    between has to test the paths that it receives.

    Args:
        error: Any exception. Only an `OSError` that names a file and has a number of the table
            above is the user's mistake, and a path with a character that no path may have.
    """
    if isinstance(error, OSError) and error.filename is not None:
        problem = _PATH_PROBLEMS.get(error.errno or 0)
        return None if problem is None else BenchError(f"{_shown(error.filename)}: {problem}")
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        part = error.object[max(error.start - 20, 0) : error.end + 20]
        return BenchError(
            f"half of a surrogate pair, which is no character, stands in {part!r}; remove it"
        )
    if isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return BenchError("a path contains the character NUL, which no path may; remove it")
    return None


def _shown(path: object) -> str:
    """A path for a message; of a very long one the beginning and the end."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    text = text.encode(errors="replace").decode()
    if len(text) <= 2 * _SHOWN:
        return text
    return f"{text[:_SHOWN]}...{text[-20:]} ({len(text)} characters)"


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> BenchError:
    """The error for an unknown name, with the most similar known name."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return BenchError(f"no {kind} named {name!r}{hint} ({listing} shows all {len(names)})")


def checked_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Raise a `BenchError` with a suggestion for an unknown or missing argument.

    An error that `user_error` knows becomes a `BenchError` as well.
    """
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
        try:
            return function(*args, **kwargs)
        except (OSError, ValueError) as error:
            if (clear := user_error(error)) is None:
                raise
            raise clear from error

    return call
