"""Retrieval: which documents answer a query? Nothing is fitted.

Documents are ranked by the cosine of their pooled features to the query's. Layer and pooling are
chosen on a part of the queries. That part is not reported, because no other queries exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench.errors import BenchError
from bench.probing.task import POOLINGS, Reader, Score, Splits, Task
from bench.settings import settings

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float, Int

    from bench.pretraining.noise import Noise

CUTOFF = 10
"""Number of documents that count, best first."""
QUERY_ROWS = 256
"""Queries compared with all documents at a time."""


@settings
class RetrievalSettings:
    """The choice of layer and pooling."""

    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of the queries on which layer and pooling are chosen; the rest is reported."""


class Retrieval(Task):
    """A task with its documents in the `train` frame and its queries in the `test` frame.

    Documents have the columns `id` and `text`; queries `text` and `relevant`, a list of ids of
    documents, or a mapping from ids to gains above zero. The metric is NDCG at 10, with the gains
    themselves and 1 / log2(rank + 1) (as in trec_eval), averaged over queries.
    """

    family: ClassVar[str] = "retrieval"
    metric: ClassVar[str] = "ndcg@10"
    chance: ClassVar[float | None] = 0.0
    probe_settings: RetrievalSettings = RetrievalSettings()

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, unique ids, a relevant document for each query.

        Raises:
            BenchError: The data are unusable; names the row.
        """
        from bench.probing.validation import check_frame

        check_frame(self.name, "train", splits.train, ("id", "text"))
        check_frame(self.name, "test", splits.test, ("text", "relevant"))
        ids = [str(i) for i in splits.train["id"]]
        known = set(ids)
        if len(known) < len(ids):
            raise BenchError(
                f"{self.name}: {len(ids) - len(known)} documents have the id of another document; "
                "give every document an id of its own"
            )
        for i, relevant in enumerate(splits.test["relevant"]):
            gains = gains_of(relevant)
            if not gains or min(gains.values()) <= 0:
                raise BenchError(
                    f"{self.name}: row {i} of the queries has no relevant document, or a gain that "
                    f"is not above 0 (got {relevant!r}); remove such queries and gains"
                )
            unknown = [name for name in gains if name not in known]
            if unknown:
                raise BenchError(
                    f"{self.name}: row {i} of the queries names document {unknown[0]!r}, which is "
                    f"not among the {len(ids)} documents"
                )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Rank the documents for each query outside the dev part."""
        import numpy as np

        from bench.probing.metrics import outcome_score

        self.check(splits)
        is_dev = self._dev(splits, noise)
        queries = reader.features(list(splits.test["text"]))
        documents = reader.features(list(splits.train["text"]))
        gains = gain_lists(splits)
        dev = np.flatnonzero(is_dev)
        grid = np.empty(documents.pooled.shape[1:3])
        for layer, pooling in np.ndindex(grid.shape):
            u, v = (x.pooled[:, layer, pooling] for x in (queries, documents))
            grid[layer, pooling] = ndcg(u[dev], v, [gains[i] for i in dev]).mean()
        layer, pooling = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
        u, v = (x.pooled[:, layer, pooling] for x in (queries, documents))
        details = {
            "layer": layer,
            "pooling": POOLINGS[pooling],
            "poolings": list(POOLINGS),
            "grid": grid.tolist(),
            "dev_queries": len(dev),
            "texts": len(splits.train) + len(splits.test),
            "truncated_texts": queries.truncated + documents.truncated,
        }
        reported = np.flatnonzero(~is_dev)
        return outcome_score(ndcg(u[reported], v, [gains[i] for i in reported]), details, reported)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """TF-IDF on the reported queries; and the documents in their given order."""
        import numpy as np

        from bench.probing.baselines import tfidf
        from bench.probing.metrics import outcome_score

        self.check(splits)
        reported = np.flatnonzero(~self._dev(splits, noise))
        everything = gain_lists(splits)
        gains = [everything[i] for i in reported]
        u, v = tfidf(list(splits.train["text"]), list(splits.test["text"]))
        in_order = np.array([normalized_gain(np.arange(CUTOFF), own) for own in gains])
        return {
            "majority": outcome_score(in_order, {}, reported),
            "bag_of_words": outcome_score(ndcg(u[reported], v, gains), {}, reported),
        }

    def _dev(self, splits: Splits, noise: Noise) -> Bool[np.ndarray, " Q"]:
        """The queries that choices are made on, the same for every run and baseline."""
        import numpy as np

        from bench.probing.sampling import dev_part

        nothing = np.zeros(len(splits.test), dtype=np.int64)
        return dev_part(np.arange(len(nothing)), nothing, noise, self.probe_settings.dev_fraction)


def gains_of(relevant: Mapping[Any, float] | Iterable[Any]) -> dict[str, float]:
    """Ids with their gains, 1 each for a list; the None with which parquet pads is dropped."""
    if isinstance(relevant, Mapping):
        return {str(name): float(gain) for name, gain in relevant.items() if gain is not None}
    return {str(name): 1.0 for name in relevant}


def gain_lists(splits: Splits) -> list[dict[int, float]]:
    """Each query's gains, by the index of the document."""
    place = {str(name): i for i, name in enumerate(splits.train["id"])}
    return [
        {place[name]: gain for name, gain in gains_of(relevant).items()}
        for relevant in splits.test["relevant"]
    ]


def ndcg(queries: Any, documents: Any, gains: list[dict[int, float]]) -> Float[np.ndarray, " Q"]:
    """NDCG of each query with documents ranked by cosine; equal cosines keep their order.

    Args:
        queries: Vectors, dense or sparse, one row each.
        documents: Vectors with the same columns.
        gains: The gains of each query.
    """
    import numpy as np
    from sklearn.preprocessing import normalize

    documents = normalize(documents)
    values = []
    for start in range(0, len(gains), QUERY_ROWS):
        cosine = normalize(queries[start : start + QUERY_ROWS]) @ documents.T
        dense = cosine if isinstance(cosine, np.ndarray) else cosine.toarray()
        order = np.argsort(-dense, axis=1, kind="stable")[:, :CUTOFF]
        values += [
            normalized_gain(row, own) for row, own in zip(order, gains[start:], strict=False)
        ]
    return np.array(values)


def normalized_gain(ranking: Int[np.ndarray, " K"], gains: dict[int, float]) -> float:
    """The discounted gain of a ranking divided by that of the best possible ranking."""
    import numpy as np

    discount = 1 / np.log2(np.arange(2, CUTOFF + 2))
    best = np.sort(list(gains.values()))[::-1][:CUTOFF]
    actual = np.array([gains.get(int(document), 0.0) for document in ranking])
    return float((actual * discount[: len(actual)]).sum() / (best * discount[: len(best)]).sum())
