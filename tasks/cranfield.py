"""Cranfield: which abstracts answer a question about aerodynamics?

1,400 abstracts and 225 questions; every pair is judged by hand, unlike in larger collections.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table, as_splits, cut
from bench.probing.families.retrieval import Retrieval
from bench.probing.task import DataRoot, Splits

SOURCE = (
    "the Cranfield collection is at ir.dcs.gla.ac.uk/resources/test_collections/cran; store it "
    "as cranfield/corpus.parquet (_id, title, text), queries.parquet (_id, text) and "
    "qrels_test.parquet (query-id, corpus-id, score: higher is better, 0 is irrelevant)"
)
DOCUMENTS = Table("cranfield", {"_id": "id", "title": "title", "text": "text"}, None, source=SOURCE)
QUERIES = Table("cranfield", {"_id": "id", "text": "text"}, None, source=SOURCE)
JUDGED = Table(
    "cranfield",
    {"query-id": "query", "corpus-id": "document", "score": "gain"},
    None,
    source=SOURCE,
)


class Cranfield(Retrieval):
    """Gains from 1, of little interest, to 4, a complete answer."""

    name: ClassVar[str] = "cranfield"
    summary: ClassVar[str] = "abstracts on aerodynamics that answer a question"
    source: ClassVar[str] = "Cleverdon 1967"
    chance: ClassVar[float] = 0.006
    """The expected value of a random order."""
    size: ClassVar[tuple[int, int]] = (1_400, 225)

    def require(self, data: DataRoot) -> None:
        """Check that documents, queries and judgements are at hand."""
        DOCUMENTS.require(data, "corpus", "queries", "qrels_test")

    def load(self, data: DataRoot) -> Splits:
        """Read all three; `--limit` cuts the queries and never the documents."""
        import pandas as pd

        documents = DOCUMENTS.load(data, "corpus")
        documents["text"] = (documents["title"] + " " + documents["text"]).str.strip()
        relevant: dict[str, dict[str, float]] = {}
        judged = JUDGED.load(data, "qrels_test")
        for query, document, gain in judged[judged["gain"] > 0].itertuples(index=False):
            relevant.setdefault(str(query), {})[str(document)] = float(gain)
        queries = QUERIES.load(data, "queries")
        rows = [
            (text, relevant[str(query)])
            for query, text in zip(queries["id"], queries["text"], strict=True)
            if str(query) in relevant
        ]
        test = cut(pd.DataFrame(rows, columns=["text", "relevant"]), data.limit, "test")
        return as_splits(documents[["id", "text"]], test, DataRoot())
