"""Retrieval: which documents answer a query? Nothing is fitted.

Documents are ranked by the cosine of their pooled features to the query's. Layer, pooling and
embedding (raw, centred or whitened by the documents) are chosen on a part of the queries. That part
is not reported, because no other queries exist.

Documents are encoded in parts, and of each query only the best documents are kept, so that memory
grows with the number of queries and not with the number of documents. The cosines are computed in
double precision: in single precision, equal documents could have different cosines at different
places of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench.errors import BenchError
from bench.probing.contrastive.task import CosineTask
from bench.probing.protocol import CosineSettings, Embedding
from bench.probing.task import Reader, Score, Splits
from bench.settings import settings

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float, Int

    from bench.pretraining.noise import Noise

PART_BYTES = 2**26
"""Size of the features of the documents that are encoded together."""
SAMPLE_BYTES = 2**28
"""Size of the features of the documents that mean and covariance are estimated from."""
BLOCK_SCORES = 2**22
"""Number of scores (queries x documents) that are computed at a time."""


@settings
class RetrievalSettings(CosineSettings):
    """The choice of layer, pooling and embedding."""

    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of the queries on which layer, pooling and embedding are chosen; the rest is
    reported."""


class Retrieval(CosineTask):
    """A task with its documents in the `train` frame and its queries in the `test` frame.

    Documents have the columns `id` and `text`; queries `text` and `relevant`, a list of ids of
    documents, or a mapping from ids to gains above zero. An optional column `excluded` of the
    queries has the id of the document that is left out of the ranking, because it is the query
    itself, or None. The headline is nDCG at 10, with the gains themselves and 1 / log2(rank + 1);
    recall at 100 and the reciprocal rank at 10 are shown beside it. All are means over queries,
    and equal to those of `trec_eval`.
    """

    family: ClassVar[str] = "retrieval"
    metric: ClassVar[str] = "ndcg@10"
    chance: ClassVar[float | None] = None
    """The expected value of a random order, unless a task declares it."""
    probe_settings: RetrievalSettings = RetrievalSettings()

    def chance_of(self, splits: Splits) -> float | None:
        """The declared chance level, or the expected nDCG at 10 of a random order."""
        import numpy as np

        from bench.probing.ranking import expected_gain

        declared = super().chance_of(splits)
        if declared is not None:
            return declared
        gains = _gain_lists(splits, list(splits.train["id"]))
        return float(np.mean([expected_gain(len(splits.train), own) for own in gains]))

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, unique ids, a relevant document for each query.

        Raises:
            BenchError: The data are unusable; names the row.
        """
        from bench.probing.validation import check_frame

        check_frame(self.name, "documents", splits.train, ("id", "text"))
        check_frame(self.name, "queries", splits.test, ("text", "relevant"))
        ids = [str(i) for i in splits.train["id"]]
        known = set(ids)
        if len(known) < len(ids):
            raise BenchError(
                f"{self.name}: {len(ids) - len(known)} documents have the id of another document; "
                "give every document an id of its own"
            )
        excluded = _excluded(splits)
        for i, (text, relevant) in enumerate(
            zip(splits.test["text"], splits.test["relevant"], strict=True)
        ):
            gains = gains_of(relevant)
            if not str(text).strip():
                raise BenchError(f"{self.name}: row {i} of the queries has no text; remove it")
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
            if excluded[i] in gains:
                raise BenchError(
                    f"{self.name}: row {i} of the queries excludes document {excluded[i]!r}, which "
                    "is relevant; remove one of both"
                )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Rank the documents for each query outside the dev part."""
        import numpy as np

        from bench.probing.embeddings import choose_embedding, fit_transform, spaced_places
        from bench.probing.ranking import BestDocuments, normalized_gain

        self.check(splits)
        search = Search(splits)
        reader, report = self.reader_of_probe(reader)
        is_dev = self._dev(splits, noise)
        queries = reader.features(list(splits.test["text"]))
        truncated = queries.truncated
        layers, poolings = queries.pooled.shape[1:3]
        size = max(1, PART_BYTES * len(queries.pooled) // queries.pooled.nbytes)
        most = max(1, SAMPLE_BYTES * len(queries.pooled) // queries.pooled.nbytes)
        places = spaced_places(len(search.texts), most)
        sample = reader.features([search.texts[i] for i in places]).pooled
        transforms = {
            (name, layer, pooling): fit_transform(name, sample[:, layer, pooling])
            for name in self.probe_settings.embeddings
            for layer, pooling in np.ndindex(layers, poolings)
        }
        best = {key: BestDocuments(len(splits.test)) for key in transforms}
        for first in range(0, len(search.texts), size):
            documents = reader.features(search.texts[first : first + size])
            truncated += documents.truncated
            for (name, layer, pooling), own in best.items():
                transform = transforms[name, layer, pooling]
                u, v = (unit(transform(x.pooled[:, layer, pooling])) for x in (queries, documents))
                search.add(own, u, v, first)
        dev, reported = np.flatnonzero(is_dev), np.flatnonzero(~is_dev)

        def dev_score(name: Embedding, layer: int, pooling: int) -> float:
            rankings = best[name, layer, pooling].ranking()
            return float(np.mean([normalized_gain(rankings[i], search.gains[i]) for i in dev]))

        choice = choose_embedding(self.probe_settings.embeddings, (layers, poolings), dev_score)
        details = (
            report
            | choice.describe()
            | {
                "dev_queries": len(dev),
                "documents": len(splits.train),
                "texts": len(splits.train) + len(splits.test),
                "truncated_texts": truncated,
            }
        )
        chosen = best[choice.embedding, choice.layer, choice.pooling]
        return search.result(chosen.ranking(), reported, details)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """The cosine of TF-IDF, BM25, and the documents in the order of their ids."""
        import numpy as np

        from bench.probing.baselines import bm25, tfidf

        self.check(splits)
        search = Search(splits)
        reported = np.flatnonzero(~self._dev(splits, noise))
        queries = list(splits.test["text"])
        u, v = tfidf(search.texts, queries)
        score_bm25 = bm25(search.texts, queries)
        scores: dict[str, Callable[[slice], Any]] = {
            "majority": lambda rows: np.zeros((rows.stop - rows.start, len(search.texts))),
            "bag_of_words": lambda rows: (u[rows] @ v.T).toarray(),
            "bm25": score_bm25,
        }
        return {
            name: search.result(search.ranking(of_rows), reported, {})
            for name, of_rows in scores.items()
        }

    def _dev(self, splits: Splits, noise: Noise) -> Bool[np.ndarray, " Q"]:
        """The queries that choices are made on, the same for every run and baseline."""
        import numpy as np

        from bench.probing.sampling import dev_part

        nothing = np.zeros(len(splits.test), dtype=np.int64)
        return dev_part(np.arange(len(nothing)), nothing, noise, self.probe_settings.dev_fraction)


class Search:
    """The documents of a task in the order in which equal scores are ranked, and its queries."""

    def __init__(self, splits: Splits) -> None:
        from bench.probing.ranking import ranking_order

        ids = [str(name) for name in splits.train["id"]]
        texts = [str(text) for text in splits.train["text"]]
        order = ranking_order(ids)
        ordered = [ids[i] for i in order]
        self.texts = [texts[i] for i in order]
        self.gains = _gain_lists(splits, ordered)
        place = {name: i for i, name in enumerate(ordered)}
        self._excluded = [place.get(name or "") for name in _excluded(splits)]

    def add(self, best: Any, queries: Any, documents: Any, first: int) -> None:
        """Add the cosines of some documents, which begin at the place `first`, to the best ones."""
        import numpy as np

        cosines = np.empty((len(queries), len(documents)), dtype=np.float32)
        for rows in self._blocks(len(queries), len(documents)):
            cosines[rows] = queries[rows] @ documents.T
        if np.isnan(cosines).any():
            raise BenchError("the encoder's features are not finite, so nothing can be ranked")
        self._leave_out(cosines, 0, first)
        best.add(cosines, first)

    def ranking(self, scores_of: Callable[[slice], Any]) -> Int[np.ndarray, "Q K"]:
        """The ranking of all documents by scores that are computed for some queries at a time."""
        import numpy as np

        from bench.probing.ranking import BestDocuments

        rankings = []
        for rows in self._blocks(len(self.gains), len(self.texts)):
            scores = np.array(scores_of(rows), dtype=np.float32)
            self._leave_out(scores, rows.start, 0)
            best = BestDocuments(len(scores))
            best.add(scores, 0)
            rankings.append(best.ranking())
        return np.concatenate(rankings)

    def result(
        self,
        ranking: Int[np.ndarray, "Q K"],
        reported: Int[np.ndarray, " R"],
        details: dict[str, Any],
    ) -> Score:
        """The score of rankings on the reported queries."""
        import dataclasses

        from bench.probing.metrics import outcome_score, standard_error
        from bench.probing.ranking import ranking_outcomes

        outcomes = ranking_outcomes(ranking[reported], [self.gains[i] for i in reported])
        headline, *others = outcomes
        score = outcome_score(outcomes[headline], details, reported)
        return dataclasses.replace(
            score,
            outcomes=score.outcomes.assign(**{name: outcomes[name] for name in others}),
            metrics={
                name: (float(values.mean()), standard_error(values))
                for name, values in outcomes.items()
            },
        )

    def _leave_out(self, scores: Float[np.ndarray, "Q N"], query: int, first: int) -> None:
        """Leave the excluded documents out of scores that begin at a query and a document."""
        for row, place in enumerate(self._excluded[query : query + len(scores)]):
            if place is not None and first <= place < first + scores.shape[1]:
                scores[row, place - first] = -float("inf")

    def _blocks(self, num_queries: int, num_documents: int) -> Iterator[slice]:
        step = max(1, BLOCK_SCORES // num_documents)
        for start in range(0, num_queries, step):
            yield slice(start, min(start + step, num_queries))


def gains_of(relevant: Mapping[Any, float] | Iterable[Any]) -> dict[str, float]:
    """Ids with their gains, 1 each for a list; the None with which parquet pads is dropped."""
    if isinstance(relevant, Mapping):
        return {str(name): float(gain) for name, gain in relevant.items() if gain is not None}
    return {str(name): 1.0 for name in relevant}


def unit(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """The vectors at length one, in double precision; a vector of zeros stays as it is."""
    import numpy as np

    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Float[np.ndarray, "N D"] = vectors / np.where(lengths > 0, lengths, 1.0)
    return result


def _excluded(splits: Splits) -> list[str | None]:
    """The id of the document that each query excludes, if there is one."""
    if "excluded" not in splits.test:
        return [None] * len(splits.test)
    return [None if name is None or name != name else str(name) for name in splits.test["excluded"]]


def _gain_lists(splits: Splits, ids: Sequence[Any]) -> list[dict[int, float]]:
    """Each query's gains by the place of the document in `ids`."""
    place = {str(name): i for i, name in enumerate(ids)}
    return [
        {place[name]: gain for name, gain in gains_of(relevant).items()}
        for relevant in splits.test["relevant"]
    ]
