"""STS-B: how similar are two sentences, from 0 to 5?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.similarity import Similarity


class STSB(TableTask, Similarity):
    """The test split where it has scores; GLUE withholds them (-1), then validation."""

    name: ClassVar[str] = "stsb"
    summary: ClassVar[str] = "graded similarity of captions, headlines and forum posts"
    source: ClassVar[str] = "Cer et al. 2017; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.0
    size: ClassVar[tuple[int, int]] = (5_749, 1_379)
    suites: ClassVar[tuple[str, ...]] = ("glue", "sentence")
    table: ClassVar[Table] = Table(
        "glue/stsb",
        {"sentence1": "text", "sentence2": "text_pair", "label": "score"},
        hub="nyu-mll/glue",
        config="stsb",
    )
