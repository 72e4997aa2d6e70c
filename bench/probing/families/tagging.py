"""Tagging: labels of words, predicted from the first sub-token of each.

The family covers tagging of every word, spans in B-/I-/O labels, and tasks about a single word of a
sentence (all other labels are None).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.families.probed import ProbedTask
from bench.probing.protocol import ProbeSettings
from bench.probing.task import Score, Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples
    from bench.probing.reader.batching import Span

Row = Sequence[str | None]


class Tagging(ProbedTask):
    """A task with the columns `words` and `labels`, lists of equal length.

    A word with the label None is context only. The text is the words joined by spaces. The metric
    is `accuracy` over labelled words or `span_f1` over B-/I-/O spans.
    """

    family: ClassVar[str] = "tagging"
    metric: ClassVar[str] = "accuracy"
    probe_settings: ProbeSettings = ProbeSettings(max_train_examples=8_000)

    def check(self, splits: Splits) -> None:
        """Check columns, lengths, missing values, at least two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_columns, check_labels

        check_columns(self.name, splits, ("words", "labels"))
        for split, frame in (("train", splits.train), ("test", splits.test)):
            rows = zip(frame["words"], frame["labels"], strict=True)
            for i, (words, labels) in enumerate(rows):
                if any(label != label for label in labels):
                    raise BenchError(
                        f"{self.name}: row {i} of {split} has a label that is NaN; give None for a "
                        "word without a label"
                    )
                if len(words) != len(labels):
                    raise BenchError(
                        f"{self.name}: row {i} of {split} has {len(words)} words and "
                        f"{len(labels)} labels; give None for a word without a label"
                    )
            if not all_labels(frame):
                raise BenchError(f"{self.name}: no word of the {split} split has a label")
        check_labels(self.name, all_labels(splits.train))

    def num_labels(self, frame: pd.DataFrame) -> np.ndarray:
        """The number of labelled words of each row."""
        import numpy as np

        return np.array([len(_labels_of(row)) for row in frame["labels"]])

    def examples(self, frame: pd.DataFrame) -> Examples:
        """One label per labelled word; the type of a label is its word.

        With one label per text the label is about the text. The few ambiguous words would be the
        only types, and random labels of those are easier than any real task, so the type is the
        text.
        """
        from bench.probing.examples import Examples

        texts, spans = texts_and_spans(frame)
        labels = all_labels(frame)
        types = texts if all(len(words) == 1 for words in spans) else labelled_words(frame)
        return Examples(texts, labels, types=types, spans=spans)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority, bag of words, window of words.

        Where each sentence has one label, the bag is the sentence's. Where it has many, a bag
        cannot distinguish them, so the prediction is the most frequent label of the word.
        """
        from bench.probing.baselines import (
            bag_of_words,
            majority,
            most_frequent_label,
            window_of_words,
            windows_of,
        )

        self.check(splits)
        train, test = splits.train, splits.test
        labels = all_labels(train)
        windows = [windows_of(list(f["words"]), list(f["labels"])) for f in (train, test)]
        if all(len(_labels_of(row)) == 1 for frame in (train, test) for row in frame["labels"]):
            bag = bag_of_words(texts_and_spans(train)[0], labels, texts_and_spans(test)[0])
        else:
            bag = most_frequent_label(labelled_words(train), labels, labelled_words(test))
        predictions = {
            "majority": [majority(labels)] * len(windows[1]),
            "bag_of_words": bag,
            "window_of_words": window_of_words(windows[0], labels, windows[1]),
        }
        return {
            name: self.score_predictions(splits, predicted, {"train_labels": len(labels)})
            for name, predicted in predictions.items()
        }

    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """The score by the metric of the examples; each sentence is an example."""
        from bench.probing.metrics import label_counts, ratio_score, span_counts
        from bench.probing.validation import leak_mask

        labels = [_plain(row) for row in splits.test["labels"]]
        following = iter(predicted)
        rows: list[Row] = [
            [None if label is None else next(following) for label in row] for row in labels
        ]
        count = {"accuracy": label_counts, "span_f1": span_counts}[self.metric_of(splits)]
        is_leaked = leak_mask(texts_and_spans(splits.train)[0], texts_and_spans(splits.test)[0])
        return ratio_score(count(labels, rows), is_leaked, details)


def all_labels(frame: pd.DataFrame) -> list[str]:
    """All labels that are not None, row after row."""
    return list(itertools.chain.from_iterable(_labels_of(row) for row in frame["labels"]))


def labelled_words(frame: pd.DataFrame) -> list[str]:
    """The words that have a label, row after row."""
    return [
        str(word)
        for words, labels in zip(frame["words"], frame["labels"], strict=True)
        for word, label in zip(words, labels, strict=True)
        if label is not None
    ]


def texts_and_spans(frame: pd.DataFrame) -> tuple[list[str], list[list[Span]]]:
    """Each row's words as a text, and the character ranges of the words that have a label."""
    texts, spans = [], []
    for words, labels in zip(frame["words"], frame["labels"], strict=True):
        texts.append(" ".join(words))
        ends = list(itertools.accumulate((len(word) + 1 for word in words), initial=0))
        spans.append(
            [
                (begin, end - 1)
                for begin, end, label in zip(ends, ends[1:], labels, strict=False)
                if label is not None
            ]
        )
    return texts, spans


def _labels_of(row: Row) -> list[str]:
    return [str(label) for label in row if label is not None]


def _plain(row: Row) -> list[str | None]:
    """Labels as strings: data sets give NumPy arrays, integers and their own string types."""
    return [None if label is None else str(label) for label in row]
