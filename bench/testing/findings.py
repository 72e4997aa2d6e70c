"""What a check comes to: passed, failed, not applicable, or not checked for want of data.

A check is a plain function that raises. Its message is one sentence of three parts: what was
expected, what was seen, where to look; a stranger reads it on a laptop, without this code.
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

from bench.errors import BenchError

Status = Literal["passed", "failed", "not applicable", "not checked"]


class Broken(AssertionError):
    """The contract does not hold."""


class Inapplicable(Exception):
    """The contract asks nothing of this kind of objective or task."""


class Unchecked(Exception):
    """It could not be tried; says what it takes. Never to be taken for a pass."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    status: Status
    message: str = ""


def demand(claim: bool, expected: str, seen: str, where: str) -> None:
    """Go on if the claim holds.

    Raises:
        Broken: It does not.
    """
    if not claim:
        raise Broken(f"expected {expected}; saw {seen}; look at {where}")


def place(item: Any, method: str = "") -> str:
    """Where a method of an objective or task is written: `Span.choose (span.py:57)`."""
    cls = item if inspect.isclass(item) else type(item)
    for ancestor in cls.__mro__:
        if not method or method in vars(ancestor):
            found = vars(ancestor)[method] if method else ancestor
            break
    else:
        return f"{cls.__name__}.{method}"
    name = f"{ancestor.__name__}.{method}" if method else ancestor.__name__
    try:
        line = inspect.getsourcelines(inspect.unwrap(found))[1]
        return f"{name} ({Path(inspect.getsourcefile(ancestor) or '?').name}:{line})"
    except (OSError, TypeError):  # typed at a prompt
        return name


def short_name(check: Callable[..., None]) -> str:
    """The name a person types and reads: `check_hidden_tokens` is `hidden_tokens`."""
    return check.__name__.removeprefix("check_")


def find(check: Callable[..., None], *arguments: Any) -> Finding:
    """Run one check; whatever it raises becomes its finding, and the process is left as it was."""
    name = short_name(check)
    try:
        with preserved():
            check(*arguments)
    except Inapplicable as reason:
        return Finding(name, "not applicable", str(reason))
    except Unchecked as reason:
        return Finding(name, "not checked", str(reason))
    except (Broken, BenchError) as error:
        return Finding(name, "failed", str(error))
    except Exception as error:  # a stranger's code may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).strip().splitlines()
        return Finding(
            name,
            "failed",
            f"expected no error; saw {type(error).__name__}: {text[0] if text else ''}; "
            f"look at {frame.name} ({Path(frame.filename).name}:{frame.lineno})",
        )
    return Finding(name, "passed")


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Put back what a faulty item may change of the process, or the next would be blamed for it.

    Within it there is one thread: on tensors as small as these more of them only wait.
    """
    numpy_state = np.random.get_state()  # noqa: NPY002  (put back, never drawn from)
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
