"""WSC: does the pronoun refer to the noun phrase?

A few hundred sentences in which word statistics say little: `The trophy does not fit into the
suitcase because it is too big.` Small encoders are expected at chance; the task is here because
users ask for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import Table
from bench.probing.data.tables import WordPairTable

if TYPE_CHECKING:
    from bench.probing.reader.batching import Span

PLACES = (("span1_index", "span1_text"), ("span2_index", "span2_text"))


class WinogradSchemas(WordPairTable):
    """One text as both texts of a pair: the noun phrase and the pronoun. Tested on validation."""

    name: ClassVar[str] = "wsc"
    summary: ClassVar[str] = "referent of a pronoun, where only the meaning decides"
    source: ClassVar[str] = "Levesque et al. 2012; Wang et al. 2019 (SuperGLUE)"
    chance: ClassVar[float] = 0.615
    """The share of pairs in validation that do not corefer."""
    size: ClassVar[tuple[int, int]] = (554, 104)
    table: ClassVar[Table] = Table(
        "super_glue/wsc",
        {"text": "text", "label": "label", **{name: name for place in PLACES for name in place}},
        hub="aps/super_glue",
        config="wsc",
    )
    places: ClassVar = PLACES

    def span(self, text: str, first: Any, second: Any) -> Span:
        """From the word's index; the published noun phrase may differ in case or punctuation."""
        words = list(re.finditer(r"\S+", text))
        if int(first) >= len(words):
            raise BenchError(
                f"wsc: the word index {first} is outside the text {text[:60]!r} of {len(words)} "
                "words; download the data set again"
            )
        start = words[int(first)].start()
        return start, min(start + len(str(second)), len(text))
