"""CoNLL-2003: persons, organisations, places and other names in news."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import SpanTable


class CoNLL2003(SpanTable):
    """Four kinds of names; a span counts if its ends and its kind are right."""

    name: ClassVar[str] = "conll2003"
    summary: ClassVar[str] = "names in English news, as spans"
    source: ClassVar[str] = "Tjong Kim Sang and De Meulder 2003"
    size: ClassVar[tuple[int, int]] = (14_041, 3_453)
    suites: ClassVar[tuple[str, ...]] = ("tagging",)
    table: ClassVar[Table] = Table(
        "conll2003",
        {"tokens": "words", "ner_tags": "labels"},
        hub="eriktks/conll2003",
        config="conll2003",
        tests=("test",),
    )
    kinds: ClassVar[tuple[str, ...]] = ("PER", "ORG", "LOC", "MISC")
