"""The per-example outcomes of a score, ordered by example, for paired comparisons."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcome of each test example, under each name (`outcome`, or a metric's name)."""

    examples: str
    """A fingerprint of the examples' names: equal if and only if the examples are the same."""
    by_name: dict[str, Float[np.ndarray, " m"]]


def read_outcomes(payload: bytes) -> Outcomes | None:
    """The outcomes in the bytes of a parquet file; None if examples are unnamed or not unique."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(payload)).read(use_threads=False)
    if "example" not in table.column_names or table.num_rows < 2:
        return None
    names = table.column("example").to_numpy()
    is_integer = names.dtype.kind in "iu"
    names = names.astype(np.int64) if is_integer else np.asarray(names, dtype=str)
    order = np.argsort(names, kind="stable")
    names = names[order]
    if (names[1:] == names[:-1]).any():
        return None
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
