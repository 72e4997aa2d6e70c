"""Similarity: one number per pair of texts.

There are two metrics. `ridge` is fitted on the differences between two frozen vectors, so it finds
similarity wherever the features hold it. For `cosine` only layer, pooling and embedding (raw,
centred or whitened) are chosen, so it tests whether near vectors already mean similar texts.

The choice is cross-fitted on two halves of the training pairs: mean and covariance come from the
texts of one half, the correlation from the pairs of the other half. On the texts that it was
estimated from, whitening makes all of a few texts equally distant.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.contrastive.task import CosineTask
from bench.probing.families.probed import ProbedTask
from bench.probing.protocol import SimilaritySettings
from bench.probing.task import Reader, Score, Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float, Int

    from bench.pretraining.noise import Noise
    from bench.probing.embeddings import EmbeddingTransform
    from bench.probing.examples import Examples, LabelledFeatures
    from bench.probing.protocol import Embedding

COLUMNS = ("text", "text_pair", "score")


class Similarity(CosineTask, ProbedTask):
    """A task with the columns `text`, `text_pair` and `score`, a number.

    The metric is Spearman's correlation. The linear probe gives two values, `ridge`, the headline,
    and `cosine`; every other probe gives one. That of `contrastive` is the cosine after the stage.
    """

    family: ClassVar[str] = "similarity"
    metric: ClassVar[str] = "spearman"
    chance: ClassVar[float | None] = 0.0
    probe_settings: SimilaritySettings = SimilaritySettings()

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, scores that are numbers and differ, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_scores

        check_scores(self.name, splits, COLUMNS)

    def examples(self, frame: pd.DataFrame) -> Examples:
        """One number per pair; the type of a number is its pair."""
        from bench.probing.examples import Examples, symmetric_join
        from bench.probing.families.pair_classification import as_one

        texts, others = ([str(text) for text in frame[column]] for column in COLUMNS[:2])
        numbers = frame["score"].to_numpy(dtype=float)
        return Examples(texts, numbers, types=as_one(frame), pairs=others, join=symmetric_join)

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """The score of the probe; with the linear probe also the cosine of the two vectors."""
        if self.probe == "contrastive":
            self.check(splits)
            trained, report = self.reader_of_probe(reader)
            predicted, choice = self._cosine(trained, splits, noise)
            return self.score_predictions(splits, predicted, choice | report)
        fitted = super().score(reader, splits, noise)
        if self.probe != "linear":
            return fitted
        predicted, choice = self._cosine(reader, splits, noise)
        cosine = self.score_predictions(splits, predicted, {})
        return dataclasses.replace(
            fitted,
            outcomes=fitted.outcomes.assign(cosine=cosine.outcomes["outcome"]),
            metrics={
                "ridge": (fitted.value, fitted.stderr),
                "cosine": (cosine.value, cosine.stderr),
            },
            details=fitted.details | {"cosine": choice},
        )

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """One number for all pairs, and the cosine of TF-IDF vectors."""
        import numpy as np

        from bench.probing.baselines import tfidf

        self.check(splits)
        first, second = (list(splits.test[column]) for column in COLUMNS[:2])
        known = [*splits.train["text"], *splits.train["text_pair"]]
        u, v, _ = tfidf(known, first, second)
        cosine = np.asarray(u.multiply(v).sum(axis=1), dtype=float)[:, 0]
        return {
            "majority": self.score_predictions(splits, np.zeros(len(first)), {}),
            "bag_of_words": self.score_predictions(splits, cosine, {}),
        }

    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """Spearman's correlation with the scores."""
        from bench.probing.families.pair_classification import as_one
        from bench.probing.metrics import rank_score
        from bench.probing.validation import leak_mask

        targets = splits.test["score"].to_numpy(dtype=float)
        is_leaked = leak_mask(as_one(splits.train), as_one(splits.test))
        return rank_score(targets, predicted, is_leaked, details)

    def _cosine(
        self, reader: Reader, splits: Splits, noise: Noise
    ) -> tuple[Float[np.ndarray, " N"], dict[str, Any]]:
        """The test pairs' cosines, read as the training pairs' cosines fit their scores best."""
        import numpy as np

        from bench.probing.embeddings import choose_embedding
        from bench.probing.protocol import criterion_score
        from bench.probing.sampling import chosen_units, dev_part

        sizes = np.ones(len(splits.train), dtype=np.int64)
        few = chosen_units(sizes, noise, "similarity.cosine", self.probe_settings.screen_examples)
        train = self.examples(splits.train.iloc[few]).encode(reader)[0]
        labels = np.asarray(train.labels)
        is_second = dev_part(np.arange(len(few)), labels, noise, 0.5)
        halves = [np.flatnonzero(is_second == side) for side in (False, True)]

        def dev_score(embedding: Embedding, layer: int, pooling: int) -> float:
            scores = [
                criterion_score(
                    cosines(
                        train,
                        layer,
                        pooling,
                        transform_of(train, embedding, layer, pooling, halves[1 - side]),
                        rows,
                    ),
                    labels[rows],
                    "spearman",
                )
                for side, rows in enumerate(halves)
            ]
            return sum(scores) / len(scores)

        choice = choose_embedding(self.probe_settings.embeddings, train.grid_shape, dev_score)
        test = self.examples(splits.test).encode(reader)[0]
        everything = np.arange(len(few))
        transform = transform_of(train, choice.embedding, choice.layer, choice.pooling, everything)
        return cosines(test, choice.layer, choice.pooling, transform), choice.describe()


def transform_of(
    pairs: LabelledFeatures,
    embedding: Embedding,
    layer: int,
    pooling: int,
    rows: Int[np.ndarray, " R"],
) -> EmbeddingTransform:
    """The transform estimated from both texts of some pairs."""
    import numpy as np

    from bench.probing.embeddings import fit_transform

    assert pairs.others is not None  # a pair has two
    parts = (pairs.features, pairs.others)
    texts = np.concatenate([part[rows, layer, pooling] for part in parts])
    return fit_transform(embedding, texts)


def cosines(
    pairs: LabelledFeatures,
    layer: int,
    pooling: int,
    transform: EmbeddingTransform,
    rows: Int[np.ndarray, " R"] | slice = slice(None),
) -> Float[np.ndarray, " N"]:
    """The cosine of each pair's two embeddings."""
    from bench.probing.methods import unit

    assert pairs.others is not None  # a pair has two
    parts = (pairs.features, pairs.others)
    u, v = (unit(transform(part[rows, layer, pooling])) for part in parts)
    result: Float[np.ndarray, " N"] = (u * v).sum(1)
    return result
