"""Similarity: how alike are two texts? A number for each pair.

Two metrics, because they answer different questions: `ridge` is fitted on what tells two frozen
vectors apart, so it finds likeness wherever the features hold it; for `cosine` nothing is fitted
but layer and pooling are chosen, so it asks whether near vectors already mean like texts.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.families.probed import FittedTask
from bench.probing.task import POOLINGS, Reader, Score, Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples, Labelled

COLUMNS = ("text", "text_pair", "score")


class Similarity(FittedTask):
    """A task whose splits have the columns `text`, `text_pair` and `score`, a number.

    The metric is Spearman's correlation. Read linearly, the metrics are `ridge`, the headline,
    and `cosine`; read otherwise there is one.
    """

    family: ClassVar[str] = "similarity"
    metric: ClassVar[str] = "spearman"
    chance: ClassVar[float] = 0.0

    def check(self, splits: Splits) -> None:
        """Columns, missing values, scores that are numbers and differ, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.data.validation import check_columns

        check_columns(self.name, splits, COLUMNS)
        for split, frame in (("train", splits.train), ("test", splits.test)):
            if frame["score"].dtype.kind not in "iuf":
                raise BenchError(
                    f"{self.name}: the column score of {split} holds {frame['score'].iloc[0]!r}; "
                    "numbers are wanted"
                )
            if frame["score"].nunique() < 2:
                raise BenchError(
                    f"{self.name}: all {len(frame)} scores of the {split} split are "
                    f"{frame['score'].iloc[0]}; nothing can be ranked"
                )

    def examples(self, frame: pd.DataFrame) -> Examples:
        """A number a pair, which is its own type."""
        from bench.probing.examples import Examples, alikeness
        from bench.probing.families.pair_classification import as_one

        texts, others = ([str(text) for text in frame[column]] for column in COLUMNS[:2])
        numbers = frame["score"].to_numpy(dtype=float)
        return Examples(texts, numbers, types=as_one(frame), pairs=others, join=alikeness)

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """As fitted, and by the cosine of the two vectors."""
        fitted = super().score(reader, splits, noise)
        if self.probe != "linear":
            return fitted
        found, chosen = self._cosine(reader, splits, noise)
        cosine = self.answered(splits, found, {})
        return dataclasses.replace(
            fitted,
            outcomes=fitted.outcomes.assign(cosine=cosine.outcomes["outcome"]),
            metrics={
                "ridge": (fitted.value, fitted.stderr),
                "cosine": (cosine.value, cosine.stderr),
            },
            details=fitted.details | {"cosine": chosen},
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
            "majority": self.answered(splits, np.zeros(len(first)), {}),
            "bag_of_words": self.answered(splits, cosine, {}),
        }

    def answered(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """Spearman's correlation with the scores."""
        from bench.probing.data.validation import leaked
        from bench.probing.families.pair_classification import as_one
        from bench.probing.metrics import rank_score

        wanted = splits.test["score"].to_numpy(dtype=float)
        overlap = leaked(as_one(splits.train), as_one(splits.test))
        return rank_score(wanted, predicted, overlap, details)

    def _cosine(
        self, reader: Reader, splits: Splits, noise: Noise
    ) -> tuple[Float[np.ndarray, " N"], dict[str, Any]]:
        """The test pairs' cosines, at the layer and pooling whose cosines fit train's best."""
        import numpy as np

        from bench.probing.probes import chosen_units, goodness

        sizes = np.ones(len(splits.train), dtype=np.int64)
        few = chosen_units(sizes, noise, "similarity.cosine", self.probe_settings.screen_examples)
        train = self.examples(splits.train.iloc[few]).read(reader)[0]
        grid = np.empty(train.grid_shape)
        for layer, pooling in np.ndindex(grid.shape):
            grid[layer, pooling] = goodness(
                cosines(train, layer, pooling), np.asarray(train.labels), "spearman"
            )
        layer, pooling = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
        test = self.examples(splits.test).read(reader)[0]
        chosen = {"layer": layer, "pooling": POOLINGS[pooling], "grid": grid.tolist()}
        return cosines(test, layer, pooling), chosen


def cosines(pairs: Labelled, layer: int, pooling: int) -> Float[np.ndarray, " N"]:
    """Of each pair's two vectors."""
    from bench.probing.methods import unit

    assert pairs.others is not None  # a pair has two
    u, v = (unit(part[:, layer, pooling].astype(float)) for part in (pairs.features, pairs.others))
    found: Float[np.ndarray, " N"] = (u * v).sum(1)
    return found
