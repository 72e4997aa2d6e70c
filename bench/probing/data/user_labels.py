"""Kinds of label files with labels or numbers of whole texts and of pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.errors import BenchError
from bench.probing.data.label_files.column import Column
from bench.probing.data.label_files.values import (
    NO_LABEL,
    holds_written_lists,
    is_missing,
    plain_label,
)
from bench.probing.data.user_kinds import FileTask, best_constant, column_of
from bench.probing.families.classification import TextClassification
from bench.probing.families.clustering import Clustering
from bench.probing.families.multilabel import MultilabelClassification, best_constant_score
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.regression import TextRegression
from bench.probing.families.similarity import Similarity

if TYPE_CHECKING:
    import pandas as pd

    from bench.probing.task import Splits

FEW_NUMBERS = 20
"""More different numbers with decimals are no classes."""
SEPARATORS = ("|", ";", ",")
_IS_LABELLED = {"1": True, "0": False, "true": True, "false": False}


class ClassLabels(FileTask):
    """One label per text, or per pair of texts."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "matthews")
    stratum: ClassVar[str | None] = "label"
    for_numbers: ClassVar[str]
    """The kind for numbers in place of classes."""
    for_lists: ClassVar[str]
    """The way out where a text has several labels."""

    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        import pandas as pd

        values = {role: columns[role].texts() for role in self.columns[:-1]}
        labels = columns["label"].labels(self.for_lists)
        self._check_classes(labels, columns["label"])
        return pd.DataFrame({**values, "label": labels})

    def _agree(
        self, train: pd.DataFrame, test: pd.DataFrame, notes: list[str]
    ) -> tuple[pd.DataFrame, pd.DataFrame, str]:
        """Leave out and count rows with the label -100, or -1 where no row of train has it."""
        known = set(train["label"])
        frames: list[pd.DataFrame] = []
        for part, frame in (("train", train), ("test", test)):
            none = {NO_LABEL[0], *(set(NO_LABEL) - known)}
            is_none = frame["label"].isin(none)
            if is_none.any():
                notes.append(
                    f"{part} part: {is_none.sum()} of {len(frame)} rows have no label "
                    f"({', '.join(sorted(set(frame['label'][is_none])))}) and are left out"
                )
            frames.append(frame[~is_none])
        return super()._agree(frames[0], frames[1], notes)

    def _labels(self, frame: pd.DataFrame) -> list[str]:
        return list(frame["label"])

    def _chance(self, test: pd.DataFrame, metric: str) -> float | None:
        return best_constant(list(test["label"]), metric, self.file.path)

    def _check_classes(self, labels: list[str], column: Column) -> None:
        """Refuse numbers and texts in the place of classes; say that -1 is a class.

        Raises:
            BenchError: Most labels occur once, or they are many numbers with decimals.
        """
        classes = set(labels)
        numbers = [label for label in classes if _is_number(label)]
        has_decimals = any("." in label for label in numbers)
        is_numeric = len(numbers) == len(classes)
        if len(classes) > FEW_NUMBERS and (is_numeric and has_decimals):
            raise BenchError(
                f"{column.path}: the labels are {len(classes)} different numbers in {len(labels)} "
                f"rows, such as {sorted(classes)[0]}; numbers are for {self.for_numbers}"
            )
        if len(classes) > max(FEW_NUMBERS, len(labels) / 2):
            hint = f"numbers are for {self.for_numbers}" if is_numeric else "name another column"
            raise BenchError(
                f"{column.path}: {len(labels)} rows have {len(classes)} different labels, such as "
                f"{min(classes)[:40]!r}, so most classes have one example; {hint}"
            )
        if "-1" in classes and "0" in classes and len(classes) > 2 and is_numeric:
            column.notes.append(
                f"{labels.count('-1')} of {len(labels)} rows have the label -1, which is a class "
                "here; remove the rows if it means that there is no label"
            )


class ClassificationFile(ClassLabels, TextClassification):
    """One label per text."""

    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    for_numbers: ClassVar[str] = "score:FILE,score=COLUMN"
    for_lists: ClassVar[str] = "one label per text is needed, and multilabel:FILE reads several"


class PairFile(ClassLabels, PairClassification):
    """One label per pair of texts."""

    columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    for_numbers: ClassVar[str] = "similarity:FILE,score=COLUMN"
    for_lists: ClassVar[str] = "one label per pair is needed"


class ClusteringFile(ClassLabels, Clustering):
    """One label per text; a fifth of the texts, or the train part, serves for choices."""

    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    metrics: ClassVar[tuple[str, ...]] = ("v_measure",)
    for_numbers: ClassVar[str] = "score:FILE,score=COLUMN"
    for_lists: ClassVar[str] = "one label per text is needed, and multilabel:FILE reads several"

    def _divide(self, rows: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """20 to 80: nothing is fitted, so the larger part is clustered and reported."""
        larger, smaller = super()._divide(rows, notes)
        return smaller, larger

    def _chance(self, test: pd.DataFrame, metric: str) -> float | None:
        return None  # the family measures it

    def _note_unseen(self, splits: Splits, notes: list[str]) -> None:
        """No label is learnt, so one that is not in train is no error."""


class NumberedTexts(FileTask):
    """One number per text, or per pair of texts."""

    metrics: ClassVar[tuple[str, ...]] = ("spearman",)

    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        import pandas as pd

        values = {role: columns[role].texts() for role in self.columns[:-1]}
        return pd.DataFrame({**values, "score": columns["score"].numbers()})


class SimilarityFile(NumberedTexts, Similarity):
    """One number per pair of texts."""

    columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "score")


class ScoreFile(NumberedTexts, TextRegression):
    """One number per text."""

    columns: ClassVar[tuple[str, ...]] = ("text", "score")


class MultilabelFile(FileTask, MultilabelClassification):
    """Any number of labels per text.

    A list, a string with `|`, `;` or `,` between labels, or a column of 0 and 1 for each label
    (`labels=toxic+insult`).
    """

    columns: ClassVar[tuple[str, ...]] = ("text", "labels")
    metrics: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "lrap")

    def _rows(self, path: Path, notes: list[str]) -> pd.DataFrame:
        """All rows; several columns of 0 and 1 become one column of lists."""
        import pandas as pd

        rows = super()._rows(path, notes)
        joined = self._name_of("labels")
        if "+" not in joined or joined in rows.columns:
            return rows
        names = joined.split("+")
        values = [column_of(rows, name, path, "labels") for name in names]
        labels = []
        for place, cells in zip(rows.index, zip(*values, strict=True), strict=True):
            marks = [plain_label(str(cell)).lower() for cell in cells]
            unknown = [i for i, mark in enumerate(marks) if mark not in _IS_LABELLED]
            if unknown:
                raise BenchError(
                    f"{path}, row {int(place) + 1}: the column {names[unknown[0]]!r} has the value "
                    f"{str(cells[unknown[0]])[:20]!r}; a label's own column has 1 or 0 in each "
                    "row; remove the rows that nobody labelled"
                )
            labels.append(
                [name for name, mark in zip(names, marks, strict=True) if _IS_LABELLED[mark]]
            )
        return rows.assign(**{joined: pd.Series(labels, rows.index, dtype=object)})

    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        import pandas as pd

        column = columns["labels"]
        values = [
            [] if is_missing(value) else [value] if isinstance(value, (int, float)) else value
            for value in column.values
        ]
        written = [value for value in values if isinstance(value, str)]
        mark = next((m for m in SEPARATORS if any(m in value for value in written)), None)
        if mark is not None and not holds_written_lists(written):
            column.notes.append(f"the labels of a text are divided at {mark!r}")
        column = dataclasses.replace(column, values=values)
        labels = []
        for i, items in enumerate(column.lists(lambda text: text.split(mark))):
            if any(is_missing(item) or isinstance(item, (list, dict)) for item in items):
                raise column.error(i, f"each label must be a name, not one of {str(items)[:60]}")
            labels.append(sorted({plain_label(str(item)) for item in items}))
        if not all(labels):
            column.notes.append(f"{labels.count([])} of {len(labels)} texts have no label")
        if all(len(row) == 1 for row in labels):
            raise BenchError(
                f"{column.path}: every text has one label; classify:FILE,label="
                f"{self._name_of('labels')} is the kind for that"
            )
        return pd.DataFrame({"text": columns["text"].texts(), "labels": labels})

    def _labels(self, frame: pd.DataFrame) -> list[str]:
        return [label for row in frame["labels"] for label in row]

    def _chance(self, test: pd.DataFrame, metric: str) -> float:
        return best_constant_score(list(test["labels"]), metric)


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
