"""Text classification: one label a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.families.probed import FittedTask
from bench.probing.task import Score, Splits

if TYPE_CHECKING:
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples


class TextClassification(FittedTask):
    """A task whose splits have the columns `text` and `label`.

    The metric is `accuracy`, `f1` (of the label "1"; accuracy is shown beside it) or `matthews`
    (the correlation; accuracy is among the details).
    """

    family: ClassVar[str] = "text classification"
    metric: ClassVar[str] = "accuracy"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, at least two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.data.validation import check_columns, check_labels

        check_columns(self.name, splits, ("text", "label"))
        check_labels(self.name, list(splits.train["label"]))

    def examples(self, frame: pd.DataFrame) -> Examples:
        """A label a text, which is its own type."""
        from bench.probing.examples import Examples

        texts = [str(text) for text in frame["text"]]
        return Examples(texts, [str(label) for label in frame["label"]], types=texts)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority and bag of words."""
        from bench.probing.baselines import bag_of_words, majority

        self.check(splits)
        labels = [str(label) for label in splits.train["label"]]
        texts, test_texts = list(splits.train["text"]), list(splits.test["text"])
        answers = {
            "majority": [majority(labels)] * len(test_texts),
            "bag_of_words": bag_of_words(texts, labels, test_texts),
        }
        return {
            name: self.answered(splits, predicted, {"train_labels": len(labels)})
            for name, predicted in answers.items()
        }

    def answered(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """By the task's metric."""
        from bench.probing.data.validation import leaked
        from bench.probing.metrics import label_score

        wanted = [str(label) for label in splits.test["label"]]
        overlap = leaked(list(splits.train["text"]), list(splits.test["text"]))
        return label_score(self.metric, wanted, predicted, overlap, details)
