"""WiC: does a word mean the same in two sentences?"""

from __future__ import annotations

from typing import Any, ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TabledWordPairs
from bench.probing.task import Span

PLACES = (("start1", "end1"), ("start2", "end2"))


class WordInContext(TabledWordPairs):
    """Balanced; the word is read in both sentences. Tested on validation: test is withheld."""

    name: ClassVar[str] = "wic"
    summary: ClassVar[str] = "one word in two sentences: the same sense or not"
    source: ClassVar[str] = "Pilehvar and Camacho-Collados 2019; Wang et al. 2019 (SuperGLUE)"
    chance: ClassVar[float] = 0.5
    size: ClassVar[tuple[int, int]] = (5_428, 638)
    table: ClassVar[Table] = Table(
        "super_glue/wic",
        {
            "sentence1": "text",
            "sentence2": "text_pair",
            "label": "label",
            **{name: name for place in PLACES for name in place},
        },
        hub="aps/super_glue",
        config="wic",
    )
    places: ClassVar = PLACES

    def span(self, text: str, first: Any, second: Any) -> Span:
        """The characters are given."""
        return int(first), int(second)
