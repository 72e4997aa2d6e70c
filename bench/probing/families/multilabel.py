"""Multilabel classification: any number of labels per text, each a yes or no of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.families.probed import ProbedTask
from bench.probing.task import Score, Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Bool, Float

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples

COLUMNS = ("text", "labels")
METRICS = ("micro_f1", "macro_f1", "lrap")


class MultilabelClassification(ProbedTask):
    """A task with the columns `text` and `labels`, a list of names.

    The metrics are `micro_f1` over all decisions, `macro_f1`, the mean over the labels that occur
    in the test split, and `lrap`, the label ranking average precision: of the labels that are
    ranked as high as a true one, the share that is true.
    """

    family: ClassVar[str] = "multilabel classification"
    metric: ClassVar[str] = "micro_f1"

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, at least two labels, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_columns, check_labels

        check_columns(self.name, splits, COLUMNS)
        for split, frame in (("train", splits.train), ("test", splits.test)):
            if not any(len(row) for row in frame["labels"]):
                raise BenchError(f"{self.name}: no text of the {split} split has a label")
        check_labels(self.name, [label for row in splits.train["labels"] for label in row])

    def examples(self, frame: pd.DataFrame) -> Examples:
        """The labels of each text as a tuple; the type of a label is its text."""
        from bench.probing.examples import Examples

        texts = [str(text) for text in frame["text"]]
        return Examples(texts, _rows(frame), types=texts)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """The best constant set of labels on train, and a bag of words."""
        from bench.probing.baselines import bag_of_words_labels
        from bench.probing.targets import constant_labels

        self.check(splits)
        texts, test_texts = (list(frame["text"]) for frame in (splits.train, splits.test))
        rows = _rows(splits.train)
        metric = self.metric_of(splits)
        predictions = {
            "majority": constant_labels(rows, len(test_texts), takes_all=metric == "macro_f1"),
            "bag_of_words": bag_of_words_labels(texts, rows, test_texts),
        }
        return {
            name: self.score_predictions(splits, predicted, {"train_labels": len(rows)})
            for name, predicted in predictions.items()
        }

    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """All three metrics of the probability of each label, that of the examples first."""
        from bench.probing.validation import leak_mask

        is_leaked = leak_mask(list(splits.train["text"]), list(splits.test["text"]))
        first = self.metric_of(splits)
        order = (first, *(name for name in METRICS if name != first))
        return multilabel_score(order, _rows(splits.test), predicted, is_leaked, details)


def multilabel_score(
    metrics: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    predicted: pd.DataFrame,
    is_leaked: Bool[np.ndarray, " N"],
    details: dict[str, Any],
) -> Score:
    """The score by some of `METRICS`, the headline first.

    Args:
        metrics: Their names.
        rows: The true labels of each test example.
        predicted: The probability of each label, one column per label; 0.5 is yes.
        is_leaked: Test examples that occur in the training split.
        details: Further details of the score.
    """
    import numpy as np

    from bench.probing.metrics import outcome_score, standard_error
    from bench.probing.targets import label_matrix

    names = sorted({*predicted.columns, *(label for row in rows for label in row)})
    truth = label_matrix(rows, names)
    probability = predicted.reindex(columns=names, fill_value=-1.0).to_numpy()
    outcomes = {name: _outcomes(name, truth, probability) for name in metrics}
    headline = outcomes[metrics[0]]
    clean = ~is_leaked
    clean_value = None
    if clean.any():
        clean_value = float(_outcomes(metrics[0], truth[clean], probability[clean]).mean())
    leak = {"share": float(is_leaked.mean()), "clean_value": clean_value}
    unseen = int(truth[:, ~np.isin(names, list(predicted.columns))].sum())
    score = outcome_score(headline, details | {"leak": leak, "unseen_test_labels": unseen})
    return dataclasses.replace(
        score,
        outcomes=score.outcomes.assign(**{name: outcomes[name] for name in metrics[1:]}),
        metrics={
            name: (float(values.mean()), standard_error(values))
            for name, values in outcomes.items()
        },
    )


def _outcomes(
    metric: str, truth: Float[np.ndarray, "N K"], probability: Float[np.ndarray, "N K"]
) -> Float[np.ndarray, " N"]:
    """Each example's part of a metric; their mean is the metric."""
    import numpy as np

    from bench.probing.metrics import outcome_of

    if metric == "lrap":
        pairs = zip(truth, probability, strict=True)
        return np.array([ranking_precision(true > 0, each) for true, each in pairs])
    answer = (probability >= 0.5).astype(float)
    right, total = 2 * truth * answer, truth + answer
    if metric == "micro_f1":
        return outcome_of(right.sum(1), total.sum(1))
    occurs = np.flatnonzero(truth.any(0))
    parts = [outcome_of(right[:, label], total[:, label]) for label in occurs]
    mean: Float[np.ndarray, " N"] = np.mean(parts, axis=0) if parts else np.zeros(len(truth))
    return mean


def ranking_precision(
    is_true: Bool[np.ndarray, " K"], probability: Float[np.ndarray, " K"]
) -> float:
    """The mean over true labels of the share of true ones among those ranked as high or higher.

    1 where no label or every label is true, as in scikit-learn.
    """
    from scipy.stats import rankdata

    if is_true.all() or not is_true.any():
        return 1.0
    rank = rankdata(-probability, "max")[is_true]
    rank_among_true = rankdata(-probability[is_true], "max")
    return float((rank_among_true / rank).mean())


def best_constant_score(rows: Sequence[Sequence[str]], metric: str) -> float:
    """The score of the best constant set or ranking of labels on these texts."""
    import numpy as np

    from bench.probing.targets import constant_labels

    labels = [tuple(row) for row in rows]
    if not any(labels):
        return 0.0
    predicted = constant_labels(labels, len(labels), takes_all=metric == "macro_f1")
    nothing = np.zeros(len(labels), dtype=bool)
    return multilabel_score((metric,), labels, predicted, nothing, {}).value


def _rows(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(str(label) for label in row) for row in frame["labels"]]
