"""Is the object of the main clause singular or plural?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class ObjectNumber(SentenceProbe):
    """Meaning; no noun form is in both train and test of SentEval."""

    name: ClassVar[str] = "obj_number"
    summary: ClassVar[str] = "number of the object"
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "obj_number"
    suites: ClassVar[tuple[str, ...]] = ("probing", "syntax")
