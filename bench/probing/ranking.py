"""Rankings of documents, and their metrics as `trec_eval` computes them.

Scores are compared in single precision, and documents with equal scores are ranked by their ids,
the last one in the order of strings first. `trec_eval` does both, so its figures are equal to the
figures here, and another order of the documents in a file changes no score.

Only the best documents of each query are kept while documents arrive in parts, so the memory does
not grow with their number. A score and the place of its document are one integer: all integers are
different, so the best ones are the same however the documents are divided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

CUTOFF = 10
"""Number of documents that count in nDCG and in the reciprocal rank, best first."""
DEPTH = 100
"""Number of documents that count in recall."""
METRICS = ("ndcg@10", "recall@100", "mrr@10")
NO_DOCUMENT = -1
"""The place where a ranking has fewer documents than its depth."""
_PLACES = 2**32

Gains = Mapping[int, float]
"""The relevant documents of a query by their place, each with its gain above zero."""


def ranking_order(ids: Sequence[str]) -> Int[np.ndarray, " N"]:
    """The places of documents in the order in which equal scores are ranked."""
    return np.array(sorted(range(len(ids)), key=lambda i: ids[i], reverse=True), dtype=np.int64)


class BestDocuments:
    """The best documents of some queries, of all documents that were added.

    Args:
        num_queries: Number of queries.
        depth: Number of documents that are kept for each query.
    """

    def __init__(self, num_queries: int, depth: int = DEPTH) -> None:
        self._keys = np.empty((num_queries, 0), dtype=np.int64)
        self._depth = depth

    def add(self, scores: Float[np.ndarray, "Q N"], first: int) -> None:
        """Add the scores of the documents at the places `first`, `first` + 1, ...

        A score of minus infinity leaves a document out of the ranking of that query.
        """
        keys = np.concatenate((self._keys, _keys_of(scores, first)), axis=1)
        if keys.shape[1] > self._depth:
            keys = np.partition(keys, -self._depth, axis=1)[:, -self._depth :]
        self._keys = keys

    def ranking(self) -> Int[np.ndarray, "Q K"]:
        """The places of each query's documents, best first; `NO_DOCUMENT` where there is none."""
        keys = np.sort(self._keys, axis=1)[:, ::-1]
        ranking: Int[np.ndarray, "Q K"] = _PLACES - 1 - keys % _PLACES
        ranking[keys // _PLACES <= _LOWEST] = NO_DOCUMENT
        return ranking


def _ordered(scores: Float[np.ndarray, "Q N"]) -> Int[np.ndarray, "Q N"]:
    """Whole numbers in the order of the scores in single precision; -0.0 equals 0.0."""
    bits = (np.asarray(scores, dtype=np.float32) + np.float32(0)).view(np.int32).astype(np.int64)
    ordered: Int[np.ndarray, "Q N"] = np.where(bits < 0, -(2**31) - bits - 1, bits)
    return ordered


_LOWEST = int(_ordered(np.array([[-np.inf]]))[0, 0])


def _keys_of(scores: Float[np.ndarray, "Q N"], first: int) -> Int[np.ndarray, "Q N"]:
    """One number for each score: of equal scores, the document at the lower place is higher."""
    places = np.arange(first, first + scores.shape[1], dtype=np.int64)
    keys: Int[np.ndarray, "Q N"] = _ordered(scores) * _PLACES + (_PLACES - 1 - places)
    return keys


def ranking_outcomes(
    ranking: Int[np.ndarray, "Q K"], gains: Sequence[Gains]
) -> dict[str, Float[np.ndarray, " Q"]]:
    """The value of each of `METRICS` for each query.

    Args:
        ranking: The places of each query's documents, best first, `DEPTH` of them or all.
        gains: The relevant documents of each query.
    """
    functions = (normalized_gain, recall, reciprocal_rank)
    return {
        name: np.array([value(row, own) for row, own in zip(ranking, gains, strict=True)])
        for name, value in zip(METRICS, functions, strict=True)
    }


def normalized_gain(ranking: Int[np.ndarray, " K"], gains: Gains) -> float:
    """nDCG@10: the discounted gain of a ranking divided by that of the best possible ranking.

    The gains themselves count, and the discount is 1 / log2(rank + 1).
    """
    actual = np.array([gains.get(int(place), 0.0) for place in ranking[:CUTOFF]])
    return float(actual @ _discount(len(actual)) / _best_gain(gains))


def recall(ranking: Int[np.ndarray, " K"], gains: Gains) -> float:
    """The share of the relevant documents that are among the first hundred."""
    return sum(int(place) in gains for place in ranking[:DEPTH]) / len(gains)


def reciprocal_rank(ranking: Int[np.ndarray, " K"], gains: Gains) -> float:
    """1 / rank of the first relevant document; 0 where none is among the first ten."""
    ranks = (rank for rank, place in enumerate(ranking[:CUTOFF], start=1) if int(place) in gains)
    return 1 / next(ranks, np.inf)


def expected_gain(num_documents: int, gains: Gains) -> float:
    """The expected nDCG@10 of documents in a random order."""
    total = sum(gains.values()) * _discount(min(CUTOFF, num_documents)).sum()
    return float(total / num_documents / _best_gain(gains))


def _discount(count: int) -> Float[np.ndarray, " K"]:
    discount: Float[np.ndarray, " K"] = 1 / np.log2(np.arange(2, count + 2))
    return discount


def _best_gain(gains: Gains) -> float:
    best = np.sort(list(gains.values()))[::-1][:CUTOFF]
    return float(best @ _discount(len(best)))
