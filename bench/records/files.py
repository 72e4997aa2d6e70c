"""Read record files, with checks of names, links, hashes and formats.

Records may come from other people. So a record is read only if no link leads out of the folder
that it lies in, its bytes have the recorded sha256, and its keys fit the format.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import RefusedError
from bench.records.schema import Record
from bench.storage import open_regular

_MAX_BYTES = 1 << 26  # a record has kilobytes
_MAX_DIGITS = 18  # seeds and counts of tokens and FLOPs fit, and floats can hold them all


def read_bytes(path: Path, root: Path) -> bytes:
    """The contents of a file that lies inside `root`.

    Raises:
        RefusedError: The file cannot be read, is too large for a record, or is a link that leads
            out of `root`.
    """
    refuse_outside(path, root)
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES and path.suffix == ".json":
            raise RefusedError(f"{path} has {size} bytes, which is too large for a record")
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read ({error.strerror})") from None


def refuse_outside(path: Path, root: Path) -> None:
    """Refuse a link among the records that leads out of them.

    Raises:
        RefusedError: The real path is not inside `root`.
    """
    if path.parent == root and not path.is_symlink():
        return  # 60,000 files lie directly in a folder that was checked before
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(root)):
        raise RefusedError(f"{path} leads to {real}, outside {root}; remove the link")


def check_sha256(path: Path, payload: bytes, expected: str) -> None:
    """Compare the bytes of a file with their recorded hash.

    Raises:
        RefusedError: The file was changed.
    """
    digest = hashlib.sha256(payload).hexdigest()
    if digest != expected:
        raise RefusedError(
            f"{path} was changed after it was written: sha256 expected {expected}, found {digest}"
        )


def parse_record(path: Path, payload: bytes, model: type[Record]) -> dict[str, Any]:
    """The keys of a record, checked.

    Raises:
        RefusedError: The payload is not JSON, or does not fit the format.
    """
    try:
        data: dict[str, Any] = json.loads(
            payload, parse_constant=_refuse_constant, parse_int=_integer, parse_float=_finite
        )
        if b"\\ud" in payload.lower():  # a lone surrogate is text that nothing can write
            str(data).encode()
        model.model_validate(data)
    except ValidationError as error:
        raise RefusedError(f"{path} is not a record of format 2: {first_fault(error)}") from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{path} is damaged: not JSON ({error}); remove it") from None
    return data


def first_fault(error: ValidationError) -> str:
    """The first key that does not fit, the reason, and the value if it is short."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    value = repr(first["input"])
    shown = "" if first["type"] == "missing" or len(value) > 200 else f" (got {value})"
    return f"{key}: {first['msg']}{shown}" if key else f"{first['msg']}"


def left_out(damaged: list[str] | None, error: RefusedError) -> None:
    """Note a damaged record, which is left out.

    Raises:
        RefusedError: Nobody collects damaged records.
    """
    if damaged is None:
        raise error
    damaged.append(str(error))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no number {name}")


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number
