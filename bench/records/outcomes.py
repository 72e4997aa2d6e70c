"""The per-example outcomes of a score, ordered by example, for paired comparisons."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import RefusedError

if TYPE_CHECKING:
    from jaxtyping import Float


_MAX_ROWS = 5_000_000
_MAX_COLUMNS = 200
_MAX_NAMES = 1 << 28
"""Bytes of all names of examples, each with the room of the longest."""


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcome of each test example, under each name (`outcome`, or a metric's name)."""

    examples: str
    """A fingerprint of the examples' names: equal if and only if the examples are the same."""
    by_name: dict[str, Float[np.ndarray, " m"]]


def read_outcomes(payload: bytes, path: Path) -> Outcomes | None:
    """The outcomes in the bytes of a parquet file; None if examples are unnamed or not unique.

    Raises:
        RefusedError: It is no parquet file, too large for outcomes, or has numbers that are not
            finite.
    """
    import pyarrow as pa

    try:
        return _read(payload)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise RefusedError(
            f"{path} has no outcomes of a score ({''.join(reason)[:120]}); remove it with its "
            ".json, and repeat the command"
        ) from None


def _read(payload: bytes) -> Outcomes | None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(pa.BufferReader(payload))
    if metadata.num_rows > _MAX_ROWS or metadata.num_columns > _MAX_COLUMNS:
        raise ValueError(f"{metadata.num_rows} rows x {metadata.num_columns} columns")
    if "example" not in metadata.schema.names or metadata.num_rows < 2:
        return None
    source = pa.BufferReader(payload)
    file = pq.ParquetFile(source, metadata=metadata, read_dictionary=["example"])
    table = file.read(use_threads=False)
    if pa.types.is_dictionary(table.column("example").type):
        column = table.column("example")
        longest = [pc.max(pc.binary_length(chunk.dictionary)).as_py() for chunk in column.chunks]
        size = max(filter(None, longest), default=0) * table.num_rows
        if size > _MAX_NAMES:  # in an array every name takes the room of the longest
            raise ValueError(f"names of examples that take {size} bytes")
        table = table.set_column(
            table.column_names.index("example"), "example", column.cast(pa.string())
        )
    names = table.column("example").to_numpy()
    is_integer = names.dtype.kind in "iu"
    names = names.astype(np.int64) if is_integer else np.asarray(names, dtype=str)
    order = np.argsort(names, kind="stable")
    names = names[order]
    if (names[1:] == names[:-1]).any():
        return None
    for outcomes in table.columns:
        if _is_number(outcomes.type) and not np.isfinite(outcomes.to_numpy().astype(float)).all():
            raise ValueError("a number is not finite")
    content = names.tobytes() if is_integer else "\0".join(names.tolist()).encode(errors="replace")
    by_name = {
        field.name: np.asarray(table.column(field.name).to_numpy(), dtype=float)[order]
        for field in table.schema
        if field.name != "example" and _is_number(field.type)
    }
    return Outcomes(hashlib.sha256(content).hexdigest(), by_name)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
