"""Tagging: labels of words, read off the first sub-token of each.

Covers tagging of every word, spans in B-/I-/O labels, and tasks about a single word of a sentence
(all other labels are None).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.families.probed import FittedTask
from bench.probing.probes import ProbeSettings
from bench.probing.task import Score, Span, Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples

Row = Sequence[str | None]


class Tagging(FittedTask):
    """A task whose splits have the columns `words` and `labels`, lists of equal length.

    A label of None is not asked. The text is the words joined by spaces. The metric is
    `accuracy` over asked words or `span_f1` over B-/I-/O spans.
    """

    family: ClassVar[str] = "tagging"
    metric: ClassVar[str] = "accuracy"
    probe_settings: ClassVar[ProbeSettings] = ProbeSettings(max_train_examples=8_000)

    def check(self, splits: Splits) -> None:
        """Columns, lengths, missing values, at least two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.data.validation import check_columns, check_labels

        check_columns(self.name, splits, ("words", "labels"))
        for split, frame in (("train", splits.train), ("test", splits.test)):
            rows = zip(frame["words"], frame["labels"], strict=True)
            for i, (words, labels) in enumerate(rows):
                if any(label != label for label in labels):
                    raise BenchError(f"{self.name}: row {i} of {split} has a label that is NaN")
                if len(words) != len(labels):
                    raise BenchError(
                        f"{self.name}: row {i} of {split} has {len(words)} words and "
                        f"{len(labels)} labels; give None for a word that is not asked"
                    )
            if not asked(frame):
                raise BenchError(f"{self.name}: no word of {split} has a label")
        check_labels(self.name, asked(splits.train))

    def sizes(self, frame: pd.DataFrame) -> np.ndarray:
        """How many words of each row are asked."""
        import numpy as np

        return np.array([len(_asked(row)) for row in frame["labels"]])

    def examples(self, frame: pd.DataFrame) -> Examples:
        """A label a word asked; the word is its type.

        One label a text is a question about the text: a few ambiguous words are its only types,
        and random labels of those are easier than any real question, so the text is the type.
        """
        from bench.probing.examples import Examples

        texts, spans = texts_and_spans(frame)
        labels = asked(frame)
        types = texts if all(len(words) == 1 for words in spans) else asked_words(frame)
        return Examples(texts, labels, types=types, spans=spans)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority, bag of words, window of words.

        Where each sentence asks one word, the bag is the sentence's; where it asks many, a bag
        cannot tell them apart, so the answer is the most frequent label of the word.
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
        labels = asked(train)
        windows = [windows_of(list(f["words"]), list(f["labels"])) for f in (train, test)]
        if all(len(_asked(row)) == 1 for frame in (train, test) for row in frame["labels"]):
            bag = bag_of_words(texts_and_spans(train)[0], labels, texts_and_spans(test)[0])
        else:
            bag = most_frequent_label(asked_words(train), labels, asked_words(test))
        answers = {
            "majority": [majority(labels)] * len(windows[1]),
            "bag_of_words": bag,
            "window_of_words": window_of_words(windows[0], labels, windows[1]),
        }
        return {
            name: self.answered(splits, predicted, {"train_labels": len(labels)})
            for name, predicted in answers.items()
        }

    def answered(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """By the task's metric, a sentence an example."""
        from bench.probing.data.validation import leaked
        from bench.probing.metrics import label_counts, ratio_score, span_counts

        wanted = [_plain(row) for row in splits.test["labels"]]
        answers = iter(predicted)
        rows: list[Row] = [[None if w is None else next(answers) for w in row] for row in wanted]
        counts = {"accuracy": label_counts, "span_f1": span_counts}[self.metric](wanted, rows)
        overlap = leaked(texts_and_spans(splits.train)[0], texts_and_spans(splits.test)[0])
        return ratio_score(counts, overlap, details)


def asked(frame: pd.DataFrame) -> list[str]:
    """All labels that are asked, row after row."""
    return list(itertools.chain.from_iterable(_asked(row) for row in frame["labels"]))


def asked_words(frame: pd.DataFrame) -> list[str]:
    """The words whose labels are asked, row after row."""
    return [
        str(word)
        for words, labels in zip(frame["words"], frame["labels"], strict=True)
        for word, label in zip(words, labels, strict=True)
        if label is not None
    ]


def texts_and_spans(frame: pd.DataFrame) -> tuple[list[str], list[list[Span]]]:
    """Each row's words as a text, and the character ranges of those that are asked."""
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


def _asked(labels: Row) -> list[str]:
    return [str(label) for label in labels if label is not None]


def _plain(labels: Row) -> list[str | None]:
    """Labels as strings: data sets give NumPy arrays, integers and their own string types."""
    return [None if label is None else str(label) for label in labels]
