"""Text classification: one label a text, read off its pooled features by a linear probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.probes import Labelled, ProbeSettings, chosen_units, linear_probe
from bench.probing.task import POOLINGS, Reader, Score, Splits, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bench.pretraining.noise import Noise


class TextClassification(Task):
    """A task whose splits have the columns `text` and `label`; the metric is accuracy."""

    family: ClassVar[str] = "text classification"
    metric: ClassVar[str] = "accuracy"
    probe: ClassVar[ProbeSettings] = ProbeSettings()

    def check(self, splits: Splits) -> None:
        """Columns, missing values, at least two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.checks import check_columns, check_labels

        check_columns(self.name, splits, ("text", "label"))
        check_labels(self.name, list(splits.train["label"]))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Probe the pooled features; layer, pooling and C are chosen on a part of train."""
        import numpy as np

        self.check(splits)
        train, test = splits.train, splits.test
        chosen = chosen_units(
            np.ones(len(train), dtype=int), noise, "probe.train", self.probe.max_train_examples
        )
        (read, cut), (asked, cut_test) = (
            _labelled(reader, frame) for frame in (train.iloc[chosen], test)
        )
        predicted, details = linear_probe(read, asked, POOLINGS, noise, self.probe)
        return self._score(splits, predicted, details | {"truncated_texts": cut + cut_test})

    def controls(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority and bag of words."""
        from bench.probing.controls import bag_of_words, majority

        self.check(splits)
        labels = [str(label) for label in splits.train["label"]]
        texts, test_texts = list(splits.train["text"]), list(splits.test["text"])
        answers = {
            "majority": [majority(labels)] * len(test_texts),
            "bag_of_words": bag_of_words(texts, labels, test_texts),
        }
        return {
            name: self._score(splits, predicted, {"train_labels": len(labels)})
            for name, predicted in answers.items()
        }

    def _score(self, splits: Splits, predicted: Sequence[str], details: dict[str, Any]) -> Score:
        import numpy as np

        from bench.probing.checks import leaked
        from bench.probing.measures import ratio_score

        wanted = [str(label) for label in splits.test["label"]]
        right = np.array([a == b for a, b in zip(wanted, predicted, strict=True)], dtype=float)
        overlap = leaked(list(splits.train["text"]), list(splits.test["text"]))
        return ratio_score((right, np.ones(len(right))), overlap, details)


def _labelled(reader: Reader, frame: pd.DataFrame) -> tuple[Labelled, int]:
    """The texts' features with their labels, and how many texts were cut."""
    import numpy as np

    texts = [str(text) for text in frame["text"]]
    features = reader.features(texts)
    labels = [str(label) for label in frame["label"]]
    read = Labelled(features.pooled, labels, types=texts, units=np.arange(len(texts)))
    return read, features.truncated
