"""The result of a check: passed, failed, not applicable, or not checked for lack of data.

A check is a plain function that raises. Its message is one sentence of three parts: the expected
value, the observed value, and the place to look at. Authors of plugins read it without this code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bench.errors import BenchError, source_of

_PARTS_OF_CORRUPT = ("corrupt", "predicted_positions", "choose", "units")
Status = Literal["passed", "failed", "not applicable", "not checked"]


class ContractError(AssertionError):
    """A check failed: the item breaks the contract."""


class Inapplicable(Exception):
    """The check does not apply to this kind of objective or task."""


class Unchecked(Exception):
    """The check could not run; the message says what it needs. It never counts as passed."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    status: Status
    message: str = ""


def demand(claim: bool, expected: str, seen: str, where: str) -> None:
    """Raise an error unless the claim holds.

    Raises:
        ContractError: The claim does not hold.
    """
    if not claim:
        raise ContractError(f"expected {expected}; saw {seen}; look at {where}")


def place(item: Any, method: str = "") -> str:
    """The source of a method of an objective or task: `Span.choose (span.py:57)`.

    Where a plugin inherits `corrupt` from bench, its own part of it is the place: `choose` or
    `units`.
    """
    cls = item if inspect.isclass(item) else type(item)
    if method == "corrupt":
        for ancestor in cls.__mro__:
            if ancestor.__module__.startswith("bench.pretraining."):
                break
            own = [name for name in _PARTS_OF_CORRUPT if name in vars(ancestor)]
            if own:
                return source_of(cls, own[0])
    return source_of(cls, method)


def _blame(error: Exception, items: tuple[Any, ...]) -> str:
    """The last line of the plugin's own file in a traceback; the last line where it has none."""
    frames = traceback.extract_tb(error.__traceback__)
    files = set()
    for item in items:
        with contextlib.suppress(TypeError, OSError):
            files.add(inspect.getsourcefile(item if inspect.isclass(item) else type(item)))
    own = [frame for frame in frames if frame.filename in files]
    frame = (own or list(frames))[-1]
    return f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})"


def short_name(check: Callable[..., None]) -> str:
    """The name in reports: `check_hidden_tokens` is `hidden_tokens`."""
    return check.__name__.removeprefix("check_")


def run_check(check: Callable[..., None], *arguments: Any) -> Finding:
    """Run one check and return its finding; the state of the process is restored."""
    name = short_name(check)
    try:
        with preserved():
            check(*arguments)
    except Inapplicable as reason:
        return Finding(name, "not applicable", str(reason))
    except Unchecked as reason:
        return Finding(name, "not checked", str(reason))
    except (ContractError, BenchError) as error:
        return Finding(name, "failed", str(error))
    except Exception as error:  # the code of a plugin may raise anything
        text = str(error).strip().splitlines()
        return Finding(
            name,
            "failed",
            f"expected no error; saw {type(error).__name__}: {text[0] if text else ''}; "
            f"look at {_blame(error, arguments)}",
        )
    return Finding(name, "passed")


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Restore the state of the process afterwards, so that a faulty item does not affect others.

    Inside, torch uses one thread: on tensors this small, more threads only wait.
    """
    numpy_state = np.random.get_state()  # noqa: NPY002  (restored, never drawn from)
    python_state = random.getstate()
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
