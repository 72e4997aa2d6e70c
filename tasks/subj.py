"""SUBJ: does a sentence judge a film, or tell its plot?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.classification import TextClassification


class SUBJ(TableTask, TextClassification):
    """Balanced; a fixed split of the 10,000 sentences, which were published without one."""

    name: ClassVar[str] = "subj"
    summary: ClassVar[str] = "subjective or objective sentences"
    source: ClassVar[str] = "Pang and Lee 2004"
    chance: ClassVar[float] = 0.505
    """The larger class of the test split."""
    size: ClassVar[tuple[int, int]] = (8_000, 1_000)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)
    table: ClassVar[Table] = Table(
        "subj",
        {"text": "text", "label": "label"},
        hub="SetFit/subj",
        tests=("test",),
    )
