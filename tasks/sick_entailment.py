"""SICK: does one sentence follow from the other, contradict it, or neither?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.pair_classification import PairClassification


class SICKEntailment(TableTask, PairClassification):
    """Entailment, the part of SICK that SentEval calls SICK-E."""

    name: ClassVar[str] = "sick_entailment"
    summary: ClassVar[str] = "entailment, neutral or contradiction of image captions"
    source: ClassVar[str] = "Marelli et al. 2014"
    chance: ClassVar[float] = 0.567
    """The share of neutral, the majority baseline of Marelli et al. 2014."""
    size: ClassVar[tuple[int, int]] = (4_439, 4_906)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)
    table: ClassVar[Table] = Table(
        "sick",
        {"sentence_A": "text", "sentence_B": "text_pair", "label": "label"},
        hub="RobZamp/sick",
    )
