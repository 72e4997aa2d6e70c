"""NFCorpus: which medical articles belong to a question about nutrition?

3,633 abstracts and the 323 queries of BEIR's test split. Judgements come from links between the
pages of a web site, so a query has 38 relevant abstracts on average.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.collections import Collection, CollectionTask


class NFCorpus(CollectionTask):
    """Gains of 2, a direct link from the page of the query, and 1, a link by another page."""

    name: ClassVar[str] = "nfcorpus"
    summary: ClassVar[str] = "medical abstracts for questions about nutrition"
    source: ClassVar[str] = "Boteva et al. 2016; Thakur et al. 2021 (BEIR)"
    size: ClassVar[tuple[int, int]] = (3_633, 323)
    suites: ClassVar[tuple[str, ...]] = ("retrieval",)
    collection: ClassVar[Collection] = Collection("nfcorpus", hub="mteb/nfcorpus")
