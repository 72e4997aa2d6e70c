"""WNUT-17: names in messages, rare and new ones among them."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import SpanTable


class EmergingEntities(SpanTable):
    """Six kinds of names; few names of the test split occur in train."""

    name: ClassVar[str] = "wnut17"
    summary: ClassVar[str] = "names in noisy user-generated text, as spans"
    source: ClassVar[str] = "Derczynski et al. 2017"
    size: ClassVar[tuple[int, int]] = (3_394, 1_287)
    suites: ClassVar[tuple[str, ...]] = ("tagging",)
    table: ClassVar[Table] = Table(
        "wnut_17",
        {"tokens": "words", "ner_tags": "labels"},
        hub="leondz/wnut_17",
        config="wnut_17",
        tests=("test",),
    )
    kinds: ClassVar[tuple[str, ...]] = (
        "corporation",
        "creative-work",
        "group",
        "location",
        "person",
        "product",
    )
