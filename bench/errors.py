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
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

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
            above is the user's mistake, and a path with a character that no path may have, or
            below the home of a user who does not exist.
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
    if isinstance(error, RuntimeError) and "determine home directory" in str(error):
        return BenchError(
            "a path begins with ~ and a name, and this system has no such user; write it in full"
        )
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
        except (OSError, ValueError, RuntimeError) as error:
            if (clear := user_error(error)) is None:
                raise
            raise clear from error

    return call


def source_of(cls: type, method: str = "") -> str:
    """The place of a class or of its method: `Span.choose (span.py:57)`."""
    owner = next((c for c in cls.__mro__ if not method or method in vars(c)), None)
    if owner is None:
        return f"{cls.__name__}.{method}"
    name = f"{owner.__name__}.{method}" if method else owner.__name__
    definition: Any = vars(owner)[method] if method else owner
    definition = getattr(definition, "fget", definition)  # a property is its getter
    definition = getattr(definition, "__func__", definition)
    try:
        line = inspect.getsourcelines(inspect.unwrap(definition))[1]
        return f"{name} ({Path(inspect.getsourcefile(owner) or '?').name}:{line})"
    except (OSError, TypeError):  # defined at a prompt
        return name


_NEAR, _NEAR_ABSTRACT = 0.85, 0.7
"""Similarity of a misspelt name: `corupt` has 0.92, `adpat` 0.8. A method that nobody implements is
certainly missing, so less similarity is enough for it."""


def refuse_misspelt_methods(cls: type) -> None:
    """Refuse a method whose name resembles a method of the contract, which nothing would call.

    Methods that begin with an underscore are never refused, nor is a method beside the one that it
    resembles.

    Raises:
        BenchError: A name is misspelt; the message says which one was meant.
    """
    inherited = {name for base in cls.__mro__[1:-1] for name, value in vars(base).items()
                 if not name.startswith("_") and _is_method(value)}  # fmt: skip
    for name, value in vars(cls).items():
        if name.startswith("_") or not _is_method(value) or hasattr(super(cls, cls), name):
            continue
        near = difflib.get_close_matches(name, inherited - vars(cls).keys(), 1, _NEAR_ABSTRACT)
        if not near:
            continue
        is_missing = "name" in vars(cls) and getattr(
            getattr(cls, near[0]), "__isabstractmethod__", False
        )
        if is_missing or difflib.SequenceMatcher(None, name, near[0]).ratio() >= _NEAR:
            raise BenchError(
                f"{cls.__name__} has a method {name!r}, which nothing calls; did you mean "
                f"{near[0]!r}? Look at {source_of(cls, name)}; if it is a helper, begin its name "
                "with an underscore"
            )


def _is_method(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
