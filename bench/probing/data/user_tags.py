"""Label files of tagging: one label per word, or spans in a scheme such as BIO."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.label_files.column import Column
from bench.probing.data.label_files.schemes import SCHEMES, scheme_of, to_iob2
from bench.probing.data.label_files.values import NO_LABEL, is_missing, plain_label
from bench.probing.data.user_kinds import FileTask, best_constant
from bench.probing.families.tagging import Tagging

if TYPE_CHECKING:
    import pandas as pd

_TYPED = re.compile("[A-Z][-_].")
_SPACES = re.compile("[ \t\r\n]+")  # a no-break space is part of its word


class TaggingFile(FileTask, Tagging):
    """One label per word: lists, or strings split at spaces; null and -100 are no label."""

    columns: ClassVar[tuple[str, ...]] = ("words", "labels")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "span_f1")
    unit: ClassVar[str] = "words"

    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        import pandas as pd

        words, labels = (columns[role].lists(_split) for role in self.columns)
        for i, (row, own) in enumerate(zip(words, labels, strict=True)):
            if len(row) != len(own):
                raise columns["labels"].error(
                    i, f"{len(row)} words and {len(own)} labels; give null for a word without a "
                    "label"
                )  # fmt: skip
            nested = [item for item in (*row, *own) if isinstance(item, (list, dict))]
            if nested:
                raise columns["words"].error(
                    i, f"each word and each label must be a text, not {str(nested[0])[:60]}"
                )
            empty = [place for place, word in enumerate(row, start=1) if is_missing(word)]
            if empty:
                raise columns["words"].error(i, f"word {empty[0]} is empty; remove it")
        plain = [[_plain(label) for label in row] for row in labels]
        return pd.DataFrame(
            {"words": [[str(word) for word in row] for row in words], "labels": plain}
        )

    def _agree(
        self, train: pd.DataFrame, test: pd.DataFrame, notes: list[str]
    ) -> tuple[pd.DataFrame, pd.DataFrame, str]:
        """Spans where all labels belong to a scheme, translated to B-, I- and O.

        Raises:
            BenchError: The option asks for spans, and the labels belong to no scheme.
        """
        rows = [*train["labels"], *test["labels"]]
        metric, scheme = self.file.options.get("metric"), scheme_of(rows)
        if metric == "span_f1" and scheme is None:
            labels = sorted({label for row in rows for label in row if label is not None})
            raise BenchError(
                f"{self.file.path}: the metric span_f1 needs labels of one scheme "
                f"({', '.join(SCHEMES)}), such as O, B-name, I-name; the labels are "
                f"{', '.join(map(repr, labels[:8]))}"
            )
        if metric is None and scheme is None:
            notes += _stray_note(rows)
        if metric == "accuracy" or scheme is None:
            return train, test, "accuracy"
        translated: list[Any] = [
            [to_iob2(row) for row in frame["labels"]] for frame in (train, test)
        ]
        if [*translated[0], *translated[1]] != rows:
            name = "IOB1" if scheme == "IOB" else scheme
            notes.append(f"the labels are read as {name} and written as B-, I- and O (IOB2)")
        pairs = zip((train, test), translated, strict=True)
        train, test = (frame.assign(labels=labels) for frame, labels in pairs)
        return train, test, "span_f1"

    def _labels(self, frame: pd.DataFrame) -> list[str]:
        return [label for row in frame["labels"] for label in row if label is not None]

    def _chance(self, test: pd.DataFrame, metric: str) -> float:
        return best_constant(self._labels(test), metric, self.file.path)


def _split(text: str) -> list[Any]:
    return [item for item in _SPACES.split(text) if item]


def _stray_note(rows: list[list[str | None]]) -> list[str]:
    """Says which labels keep labels of spans from being read as spans."""
    labels = {label for row in rows for label in row if label is not None}
    stray = sorted(label for label in labels if scheme_of([["O", "B-x", label]]) is None)
    if not stray or not any(_TYPED.match(label) for label in labels - set(stray)):
        return []
    return [
        f"the labels are no spans, and the metric is accuracy, because {', '.join(stray[:5])} "
        f"belongs to none of the schemes {', '.join(SCHEMES)}"
    ]


def _plain(label: Any) -> str | None:
    """A label, or None where the word is not asked for."""
    if is_missing(label):
        return None
    text = plain_label(str(label))
    return None if text == NO_LABEL[0] else text
