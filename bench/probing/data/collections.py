"""Published collections of documents, queries and relevance judgements, in the layout of BEIR.

A collection is three tables (Thakur et al. 2021): documents `_id`, `title`, `text`; queries `_id`,
`text`; judgements `query-id`, `corpus-id`, `score`, one table per split. Below `--data DIR` they
are NAME/corpus.parquet, NAME/queries.parquet and NAME/qrels_test.parquet. On the hub they are three
configurations of one repository.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import Table, as_splits, cut
from bench.probing.families.retrieval import Retrieval
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd

FILES = ("corpus", "queries", "qrels_test")
DOCUMENTS = {"_id": "id", "title": "title", "text": "text"}
QUERIES = {"_id": "id", "text": "text"}
JUDGEMENTS = {"query-id": "query", "corpus-id": "document", "score": "gain"}


@dataclasses.dataclass(frozen=True)
class Collection:
    """The location of a collection.

    Args:
        name: Its folder under `--data`.
        hub: Its repository on the hub; None if it is not on the hub.
        source: Where to get it if not from the hub.
    """

    name: str
    hub: str | None
    source: str = ""

    def require(self, data: DataRoot) -> None:
        """Check that documents, queries and judgements are at hand, without loading them.

        Raises:
            BenchError: Where a file was looked for; or the requirements of the hub.
        """
        try:
            self._table("corpus", DOCUMENTS).require(data, *FILES)
        except BenchError as error:
            if data.folder is None:
                raise
            files = ", ".join(f"{self.name}/{name}.parquet" for name in FILES)
            raise BenchError(f"{error}; the collection is {files}") from None

    def load(self, data: DataRoot) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Documents, queries and judgements, with the column names of the family.

        Raises:
            BenchError: A table is missing or lacks a column.
        """
        judgements = "test" if data.folder is None else FILES[2]
        return (
            self._table("corpus", DOCUMENTS).load(data, FILES[0]),
            self._table("queries", QUERIES).load(data, FILES[1]),
            self._table("default", JUDGEMENTS).load(data, judgements),
        )

    def _table(self, config: str, columns: dict[str, str]) -> Table:
        return Table(self.name, columns, self.hub, config, source=self.source)


class CollectionTask(Retrieval):
    """Loads a `collection`; queries without a relevant document are left out."""

    collection: ClassVar[Collection]
    excludes_itself: ClassVar[bool] = False
    """Whether queries are documents of the collection too, under the same id."""

    def require(self, data: DataRoot) -> None:
        """Check that documents, queries and judgements are at hand."""
        self.collection.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read all three; `--limit` cuts the queries and never the documents."""
        documents, queries, judgements = self.collection.load(data)
        texts = documents["title"].fillna("") + " " + documents["text"].fillna("")
        documents = documents.assign(id=documents["id"].astype(str), text=texts.str.strip())
        test = judged_queries(queries, judgements)
        if self.excludes_itself:
            known = set(documents["id"])
            excluded: Any = [one if one in known else None for one in test["id"]]
            test = test.assign(excluded=excluded)
        test = cut(test.drop(columns="id"), data.limit, "test")
        return as_splits(documents[["id", "text"]], test, DataRoot())


def judged_queries(queries: pd.DataFrame, judgements: pd.DataFrame) -> pd.DataFrame:
    """The queries with a relevant document: `id`, `text` and `relevant`, the gains by document.

    Args:
        queries: Columns `id` and `text`.
        judgements: Columns `query`, `document` and `gain`; gains of 0 and below are not relevant.
    """
    import pandas as pd

    relevant: dict[str, dict[str, float]] = {}
    for query, document, gain in judgements[["query", "document", "gain"]].itertuples(index=False):
        if gain > 0:
            relevant.setdefault(str(query), {})[str(document)] = float(gain)
    rows = [
        (str(query), text, relevant[str(query)])
        for query, text in zip(queries["id"], queries["text"], strict=True)
        if str(query) in relevant
    ]
    return pd.DataFrame(rows, columns=["id", "text", "relevant"])
