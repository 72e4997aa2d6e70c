"""The cache of generated examples: all runs of a comparison use the same ones."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import BenchError
from bench.settings import sha256_json
from bench.storage import write_atomic

Rows = TypeVar("Rows", bound=list[Any])


def disk_cache(make: Callable[..., Rows]) -> Callable[..., Rows]:
    """Decorate a function that generates rows: read them from the cache if this code wrote them."""

    @functools.wraps(make)
    def read_or_make(*arguments: Any) -> Rows:
        from bench.corpus.preparation import default_cache

        try:
            folder = default_cache() / "examples"
        except BenchError:  # without a home folder there is no cache
            return make(*arguments)
        key = sha256_json([_code_sha256(), make.__name__, *arguments])
        path = folder / f"{key[:32]}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(path.read_bytes())
            if stored["sha256"] == sha256_json(stored["rows"]):
                return [tuple(row) for row in stored["rows"]]  # type: ignore[return-value]
        rows = make(*arguments)
        with contextlib.suppress(OSError, BenchError):  # the cache may be read-only
            folder.mkdir(parents=True, exist_ok=True)
            payload = {"sha256": sha256_json(rows), "rows": rows}
            write_atomic(path, json.dumps(payload).encode())
        return rows

    return read_or_make


@functools.cache
def _code_sha256() -> str:
    """A sha256 of the generator's code, since any change of it may change the examples."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
