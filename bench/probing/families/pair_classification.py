"""Pair classification: one label per pair of texts, each encoded alone.

A text goes through the encoder once, whatever it is paired with, so the task tests the features of
each text. Both texts in one row would test whether the encoder can compare them, which no objective
but next-sentence prediction trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.families.probed import ProbedTask
from bench.probing.task import Score, Splits

if TYPE_CHECKING:
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples
    from bench.probing.reader.batching import Span

COLUMNS = ("text", "text_pair", "label")
SPANS = {"span": "text", "span_pair": "text_pair"}


class PairClassification(ProbedTask):
    """A task with the columns `text`, `text_pair` and `label`.

    With the optional columns `span` and `span_pair`, character ranges [start, end), the label is
    about one word of each text instead of the texts. The metric is `accuracy`, `f1` (of the label
    "1"; accuracy is shown beside it) or `matthews`.
    """

    family: ClassVar[str] = "pair classification"
    metric: ClassVar[str] = "accuracy"

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, spans inside their texts, two classes, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_columns, check_labels

        has_spans = "span" in splits.train.columns
        check_columns(self.name, splits, (*COLUMNS, *(SPANS if has_spans else ())))
        check_labels(self.name, list(splits.train["label"]))
        for split, frame in (("train", splits.train), ("test", splits.test)):
            for column, of in SPANS.items() if has_spans else ():
                for i, (span, text) in enumerate(zip(frame[column], frame[of], strict=True)):
                    start, end = span
                    if not 0 <= start < end <= len(text):
                        raise BenchError(
                            f"{self.name}: row {i} of {split} has {column} [{start}, {end}), but "
                            f"its {of} has {len(text)} characters; give a range inside the text"
                        )

    def examples(self, frame: pd.DataFrame) -> Examples:
        """One label per pair; the type of a label is its pair."""
        from bench.probing.examples import Examples, ordered_join

        texts, others = ([str(text) for text in frame[column]] for column in COLUMNS[:2])
        spans, other_spans = (_spans(frame, column) for column in SPANS)
        return Examples(
            texts,
            [str(label) for label in frame["label"]],
            types=[f"{text}\n{other}" for text, other in zip(texts, others, strict=True)],
            spans=spans,
            pairs=others,
            pair_spans=other_spans,
            join=ordered_join,
        )

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Majority and bag of words: the two texts' TF-IDF vectors, joined as an encoder's are."""
        from bench.probing.baselines import bag_of_pairs, majority

        self.check(splits)
        labels = [str(label) for label in splits.train["label"]]
        pairs = [
            list(zip(f["text"], f["text_pair"], strict=True)) for f in (splits.train, splits.test)
        ]
        predictions = {
            "majority": [majority(labels)] * len(splits.test),
            "bag_of_words": bag_of_pairs(pairs[0], labels, pairs[1]),
        }
        return {
            name: self.score_predictions(splits, predicted, {"train_labels": len(labels)})
            for name, predicted in predictions.items()
        }

    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """The score of one label per pair, by the metric of the examples."""
        from bench.probing.metrics import label_score
        from bench.probing.validation import leak_mask

        labels = [str(label) for label in splits.test["label"]]
        is_leaked = leak_mask(as_one(splits.train), as_one(splits.test))
        return label_score(self.metric_of(splits), labels, predicted, is_leaked, details)


def as_one(frame: pd.DataFrame) -> list[str]:
    """Both texts of each pair in one string."""
    return [f"{a}\n{b}" for a, b in zip(frame["text"], frame["text_pair"], strict=True)]


def _spans(frame: pd.DataFrame, column: str) -> list[list[Span]] | None:
    if column not in frame.columns:
        return None
    return [[(int(start), int(end))] for start, end in frame[column]]
