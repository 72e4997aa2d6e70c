"""WiC: does a word mean the same in two sentences?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import WordPairTable

if TYPE_CHECKING:
    from bench.probing.reader.batching import Span

PLACES = (("start1", "end1"), ("start2", "end2"))


class WordInContext(WordPairTable):
    """Balanced; the probe has the word's vector in both sentences.

    Tested on validation, because the test labels are withheld.
    """

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
        """The data set gives the characters."""
        return int(first), int(second)
