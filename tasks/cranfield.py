"""Cranfield: which abstracts answer a question about aerodynamics?

1,400 abstracts and 225 questions; every pair is judged by hand, unlike in larger collections.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.collections import Collection, CollectionTask


class Cranfield(CollectionTask):
    """Gains from 1, of little interest, to 4, a complete answer."""

    name: ClassVar[str] = "cranfield"
    summary: ClassVar[str] = "abstracts on aerodynamics that answer a question"
    source: ClassVar[str] = "Cleverdon 1967"
    chance: ClassVar[float] = 0.006
    """The expected value of a random order."""
    size: ClassVar[tuple[int, int]] = (1_400, 225)
    suites: ClassVar[tuple[str, ...]] = ("retrieval",)
    collection: ClassVar[Collection] = Collection(
        "cranfield",
        hub=None,
        source="the Cranfield collection is at ir.dcs.gla.ac.uk/resources/test_collections/cran; "
        "store it as cranfield/corpus.parquet (_id, title, text), queries.parquet (_id, text) and "
        "qrels_test.parquet (query-id, corpus-id, score: higher is better, 0 is irrelevant)",
    )
