"""WSC: does the pronoun refer to the noun phrase?

A few hundred sentences written so that word statistics say little: `The trophy does not fit into
the suitcase because it is too big.` Small encoders are expected at chance; it is here because they
are asked about it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import Table
from bench.probing.data.tables import TabledWordPairs
from bench.probing.task import Span

PLACES = (("span1_index", "span1_text"), ("span2_index", "span2_text"))


class WinogradSchemas(TabledWordPairs):
    """One text, read twice: the noun phrase in it and the pronoun. Tested on validation."""

    name: ClassVar[str] = "wsc"
    summary: ClassVar[str] = "what a pronoun refers to, where only sense can tell"
    source: ClassVar[str] = "Levesque et al. 2012; Wang et al. 2019 (SuperGLUE)"
    chance: ClassVar[float] = 0.615
    """It does not, in validation."""
    size: ClassVar[tuple[int, int]] = (554, 104)
    table: ClassVar[Table] = Table(
        "super_glue/wsc",
        {"text": "text", "label": "label", **{name: name for place in PLACES for name in place}},
        hub="aps/super_glue",
        config="wsc",
    )
    places: ClassVar = PLACES

    def span(self, text: str, first: Any, second: Any) -> Span:
        """Published is which word it is; the phrase beside it differs in case or punctuation."""
        words = list(re.finditer(r"\S+", text))
        if int(first) >= len(words):
            raise BenchError(f"no word {first} in the text {text[:60]!r} of {len(words)} words")
        start = words[int(first)].start()
        return start, min(start + len(str(second)), len(text))
