"""SICK: how related are two sentences about everyday scenes, from 1 to 5?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.similarity import Similarity


class SICK(TableTask, Similarity):
    """Relatedness, the part of SICK that SentEval calls SICK-R."""

    name: ClassVar[str] = "sick"
    summary: ClassVar[str] = "graded relatedness of image captions"
    source: ClassVar[str] = "Marelli et al. 2014"
    chance: ClassVar[float] = 0.0
    size: ClassVar[tuple[int, int]] = (4_439, 4_906)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)
    table: ClassVar[Table] = Table(
        "sick",
        {"sentence_A": "text", "sentence_B": "text_pair", "relatedness_score": "score"},
        hub="RobZamp/sick",
    )
