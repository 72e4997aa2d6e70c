"""Regression: one number per text, such as a rating or a price."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.families.probed import ProbedTask
from bench.probing.task import Score, Splits

if TYPE_CHECKING:
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples

COLUMNS = ("text", "score")


class TextRegression(ProbedTask):
    """A task with the columns `text` and `score`, a number.

    The metric is Spearman's correlation. R2, the share of the variance that is predicted, stands
    beside it: a correlation does not see a wrong scale.
    """

    family: ClassVar[str] = "regression"
    metric: ClassVar[str] = "spearman"
    chance: ClassVar[float | None] = 0.0

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, scores that are numbers and differ, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_scores

        check_scores(self.name, splits, COLUMNS)

    def examples(self, frame: pd.DataFrame) -> Examples:
        """One number per text; the type of a number is its text."""
        from bench.probing.examples import Examples

        texts = [str(text) for text in frame["text"]]
        return Examples(texts, frame["score"].to_numpy(dtype=float), types=texts)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """The mean of train for all texts, and ridge regression on a bag of words."""
        import numpy as np

        from bench.probing.baselines import bag_of_words_numbers

        self.check(splits)
        numbers = splits.train["score"].to_numpy(dtype=float)
        texts, test_texts = (list(frame["text"]) for frame in (splits.train, splits.test))
        predictions = {
            "majority": np.full(len(test_texts), numbers.mean()),
            "bag_of_words": bag_of_words_numbers(texts, numbers, test_texts),
        }
        return {
            name: self.score_predictions(splits, predicted, {"train_labels": len(numbers)})
            for name, predicted in predictions.items()
        }

    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """Spearman's correlation with the scores, and R2."""
        from bench.probing.metrics import outcome_of, rank_score, ratio, standard_error
        from bench.probing.validation import leak_mask

        targets = splits.test["score"].to_numpy(dtype=float)
        is_leaked = leak_mask(list(splits.train["text"]), list(splits.test["text"]))
        score = rank_score(targets, predicted, is_leaked, details)
        total = (targets - targets.mean()) ** 2
        counts = (total - (targets - predicted) ** 2, total)
        outcomes = outcome_of(*counts)
        return dataclasses.replace(
            score,
            outcomes=score.outcomes.assign(r2=outcomes),
            metrics={
                "spearman": (score.value, score.stderr),
                "r2": (ratio(*counts), standard_error(outcomes)),
            },
        )
