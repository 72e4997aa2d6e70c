"""SciFact: which abstracts support or refute a scientific claim?

5,183 abstracts and the 300 claims of BEIR's test split; nearly every claim has one abstract.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.collections import Collection, CollectionTask


class SciFact(CollectionTask):
    """Every relevant abstract has the gain 1."""

    name: ClassVar[str] = "scifact"
    summary: ClassVar[str] = "abstracts that support or refute a scientific claim"
    source: ClassVar[str] = "Wadden et al. 2020; Thakur et al. 2021 (BEIR)"
    size: ClassVar[tuple[int, int]] = (5_183, 300)
    suites: ClassVar[tuple[str, ...]] = ("retrieval",)
    collection: ClassVar[Collection] = Collection("scifact", hub="mteb/scifact")
