"""Pair classification: one label for two texts, each read by itself.

A text goes through the encoder once, whatever it is paired with, so that a frozen encoder is asked
what it knows of each; reading both in one row would ask whether it can compare, which none of the
objectives but next-sentence prediction ever does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.families.probed import FittedTask
from bench.probing.task import Score, Span, Splits

if TYPE_CHECKING:
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples

COLUMNS = ("text", "text_pair", "label")
SPANS = {"span": "text", "span_pair": "text_pair"}


class PairClassification(FittedTask):
    """A task whose splits have the columns `text`, `text_pair` and `label`.

    The optional columns `span` and `span_pair`, character ranges [start, end), ask about one word
    of each text instead of the texts. The metric is `accuracy`, `f1` (of the label "1"; accuracy
    is shown beside it) or `matthews`.
    """

    family: ClassVar[str] = "pair classification"
    metric: ClassVar[str] = "accuracy"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, spans inside their texts, two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.data.validation import check_columns, check_labels

        has_spans = "span" in splits.train.columns
        check_columns(self.name, splits, (*COLUMNS, *(SPANS if has_spans else ())))
        check_labels(self.name, list(splits.train["label"]))
        for split, frame in (("train", splits.train), ("test", splits.test)):
            for column, of in SPANS.items() if has_spans else ():
                for i, (span, text) in enumerate(zip(frame[column], frame[of], strict=True)):
                    start, end = span
                    if not 0 <= start < end <= len(text):
                        raise BenchError(
                            f"{self.name}: row {i} of {split} has {column} [{start}, {end}), which "
                            f"is no part of its {of} of {len(text)} characters"
                        )

    def examples(self, frame: pd.DataFrame) -> Examples:
        """A label a pair, which is its own type."""
        from bench.probing.examples import Examples, both_and_alikeness

        texts, others = ([str(text) for text in frame[column]] for column in COLUMNS[:2])
        spans, other_spans = (_spans(frame, column) for column in SPANS)
        return Examples(
            texts,
            [str(label) for label in frame["label"]],
            types=[f"{text}\n{other}" for text, other in zip(texts, others, strict=True)],
            spans=spans,
            pairs=others,
            pair_spans=other_spans,
            join=both_and_alikeness,
        )

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority and bag of words: the two texts' TF-IDF vectors, joined as an encoder's are."""
        from bench.probing.baselines import bag_of_pairs, majority

        self.check(splits)
        labels = [str(label) for label in splits.train["label"]]
        pairs = [
            list(zip(f["text"], f["text_pair"], strict=True)) for f in (splits.train, splits.test)
        ]
        answers = {
            "majority": [majority(labels)] * len(splits.test),
            "bag_of_words": bag_of_pairs(pairs[0], labels, pairs[1]),
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
        overlap = leaked(as_one(splits.train), as_one(splits.test))
        return label_score(self.metric, wanted, predicted, overlap, details)


def as_one(frame: pd.DataFrame) -> list[str]:
    """Both texts of each pair in one string, to be looked up."""
    return [f"{a}\n{b}" for a, b in zip(frame["text"], frame["text_pair"], strict=True)]


def _spans(frame: pd.DataFrame, column: str) -> list[list[Span]] | None:
    if column not in frame.columns:
        return None
    return [[(int(start), int(end))] for start, end in frame[column]]
