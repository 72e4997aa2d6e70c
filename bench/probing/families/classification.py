"""Text classification: one label per text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.families.probed import ProbedTask
from bench.probing.task import Score, Splits

if TYPE_CHECKING:
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples


class TextClassification(ProbedTask):
    """A task with the columns `text` and `label`.

    The metric is `accuracy`, `f1` (of the label "1"; accuracy is shown beside it) or `matthews`
    (the correlation; accuracy is among the details).
    """

    family: ClassVar[str] = "text classification"
    metric: ClassVar[str] = "accuracy"

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, at least two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_columns, check_labels

        check_columns(self.name, splits, ("text", "label"))
        check_labels(self.name, list(splits.train["label"]))

    def examples(self, frame: pd.DataFrame) -> Examples:
        """One label per text; the type of a label is its text."""
        from bench.probing.examples import Examples

        texts = [str(text) for text in frame["text"]]
        return Examples(texts, [str(label) for label in frame["label"]], types=texts)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority and bag of words."""
        from bench.probing.baselines import bag_of_words, majority

        self.check(splits)
        labels = [str(label) for label in splits.train["label"]]
        texts, test_texts = list(splits.train["text"]), list(splits.test["text"])
        predictions = {
            "majority": [majority(labels)] * len(test_texts),
            "bag_of_words": bag_of_words(texts, labels, test_texts),
        }
        return {
            name: self.score_predictions(splits, predicted, {"train_labels": len(labels)})
            for name, predicted in predictions.items()
        }

    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """The score of one label per text, by the metric of the examples."""
        from bench.probing.metrics import label_score
        from bench.probing.validation import leak_mask

        labels = [str(label) for label in splits.test["label"]]
        is_leaked = leak_mask(list(splits.train["text"]), list(splits.test["text"]))
        return label_score(self.metric_of(splits), labels, predicted, is_leaked, details)
