"""CoNLL-2000: where do the chunks of a sentence begin and end, and of which kind are they?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import SpanTable

CHUNKS = ("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP")


class Chunking(SpanTable):
    """Eleven kinds of chunks, such as NP; a span counts if its ends and its kind are right."""

    name: ClassVar[str] = "chunking"
    summary: ClassVar[str] = "syntactic chunks of English news sentences, as spans"
    source: ClassVar[str] = "Tjong Kim Sang and Buchholz 2000"
    size: ClassVar[tuple[int, int]] = (8_936, 2_012)
    suites: ClassVar[tuple[str, ...]] = ("tagging",)
    table: ClassVar[Table] = Table(
        "conll2000",
        {"tokens": "words", "chunk_tags": "labels"},
        hub="eriktks/conll2000",
        config="conll2000",
        tests=("test",),
    )
    kinds: ClassVar[tuple[str, ...]] = CHUNKS
