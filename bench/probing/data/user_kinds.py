"""The kinds of label files: columns, split, metric and chance level of each.

Only explicit information in a file is used: no column is found by its position, and no split by a
column's name. Where a split has to be made, equal texts stay together, so it leaks nothing.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import as_splits
from bench.probing.data.user_files import LabelFile, find_splits, read_rows, rows_to_test
from bench.probing.families.classification import TextClassification
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.similarity import Similarity
from bench.probing.families.span_extraction import SpanExtraction
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Splits, Task
from bench.settings import sha256_json

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 50
"""Fewer rows cannot be divided 80 to 20 with enough test examples."""
SPLIT_NAMES = {
    "train": ("train", "training", "tr"),
    "test": ("test", "te"),
    "validation": ("validation", "valid", "val", "dev", "va"),
}


class FileTask(Task):
    """Loads a label file for its family; the subclasses define the columns."""

    is_own: ClassVar[bool] = True

    file: ClassVar[LabelFile]
    reference: ClassVar[str]
    """The argument of `--task`, valid from any folder."""
    columns: ClassVar[tuple[str, ...]]
    """The family's columns; each is also an option, for the name of the column in the file."""
    metrics: ClassVar[tuple[str, ...]]
    """The metrics that the option `metric` may name."""
    stratum: ClassVar[str | None] = None
    """The column whose values are equally frequent in both parts of a new split."""
    unit: ClassVar[str] = "text"
    """The column whose equal values stay together in a new split."""
    chance: ClassVar[float | None] = None
    """Only the labels determine it: the best constant prediction for the test part."""

    def require(self, data: DataRoot) -> None:
        """Check that the file exists, or both files of a folder."""
        find_splits(self.file.path)

    def load(self, data: DataRoot) -> Splits:
        """Read the rows, use or make a split, and determine metric and chance level."""
        paths = find_splits(self.file.path)
        if "" in paths:
            train, test = self._divide(read_rows(paths[""]))
        else:
            train, test = (self._columns_of(read_rows(path), path) for path in paths.values())
        splits = as_splits(train, test, data)
        metric = self.file.options.get("metric") or self._metric(splits)
        return dataclasses.replace(
            splits,
            sha256=sha256_json([splits.sha256, metric]),
            metric=metric,
            chance=self._chance(splits.test, metric),
        )

    def _divide(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """By the column of the option `split`; or 80 to 20, whole groups, stratified."""
        options, path = self.file.options, self.file.path
        frame = self._columns_of(rows, path)
        if "split" in options:
            parts = split_column(rows, options["split"], path)
            return frame[parts == "train"], frame[parts == "test"]
        if len(frame) < MIN_ROWS:
            raise BenchError(
                f"{path} has {len(frame)} rows, but at least {MIN_ROWS} are needed to divide them "
                "into train and test; give more rows, a folder with train and test, or "
                "split=COLUMN"
            )
        if "group" in options:
            units = [str(value) for value in column_of(rows, options["group"], path, "group")]
        else:
            units = [_text_of(value) for value in frame[self.unit]]
        strata = [""] * len(frame)
        if self.stratum is not None:
            strata = [str(value) for value in frame[self.stratum]]
        is_test = rows_to_test(units, strata, seed=int(options.get("seed", 0)))
        if is_test.all() or not is_test.any():
            raise BenchError(
                f"{path} cannot be divided: all rows are one group; give split=COLUMN or another "
                "group=COLUMN"
            )
        return frame[~is_test], frame[is_test]

    def _columns_of(self, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
        """The family's columns under its names, without missing values."""
        import pandas as pd

        columns = {}
        for column in self.columns:
            values = column_of(rows, self.file.options.get(column, column), path, column)
            bad = [i for i, value in enumerate(values) if _is_missing(value)]
            if bad:
                raise BenchError(
                    f"{path}: {len(bad)} of {len(rows)} rows have no {column}, the first is row "
                    f"{bad[0] + 1}; remove or complete them"
                )
            columns[column] = [
                self._value(column, value, f"{path}, row {i}")
                for i, value in enumerate(values, start=1)
            ]
        return self._validate(pd.DataFrame(columns), path)

    def _value(self, column: str, value: Any, where: str) -> Any:
        return str(value)

    def _validate(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        return frame

    def _metric(self, splits: Splits) -> str:
        """The metric where the option `metric` is not given."""
        return self.metrics[0]

    def _chance(self, test: pd.DataFrame, metric: str) -> float:
        return 0.0

    def _best_constant(self, labels: Sequence[str], metric: str) -> float:
        """The score of the best constant prediction."""
        shares = {label: labels.count(label) / len(labels) for label in set(labels)}
        if metric == "f1":
            if "1" not in shares:
                raise BenchError(
                    f"{self.file.path}: the metric f1 needs the label '1', but the test part has "
                    f"only {sorted(shares)[:5]}; remove metric=f1, or rename the class to 1"
                )
            return 2 * shares["1"] / (1 + shares["1"])
        return max(shares.values(), default=0.0) if metric == "accuracy" else 0.0


class ClassificationFile(FileTask, TextClassification):
    """One label per text."""

    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "matthews")
    stratum: ClassVar[str | None] = "label"

    def _chance(self, test: pd.DataFrame, metric: str) -> float:
        return self._best_constant(list(test["label"]), metric)


class PairFile(FileTask, PairClassification):
    """One label per pair of texts."""

    columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "matthews")
    stratum: ClassVar[str | None] = "label"

    def _chance(self, test: pd.DataFrame, metric: str) -> float:
        return self._best_constant(list(test["label"]), metric)


class SimilarityFile(FileTask, Similarity):
    """One number per pair of texts."""

    columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "score")
    metrics: ClassVar[tuple[str, ...]] = ("spearman",)

    def _value(self, column: str, value: Any, where: str) -> Any:
        if column != "score":
            return str(value)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise BenchError(f"{where}: the score {str(value)[:40]!r} is not a finite number")
        return number


class TaggingFile(FileTask, Tagging):
    """One label per word: lists, or strings split at spaces; null for a word without a label."""

    columns: ClassVar[tuple[str, ...]] = ("words", "labels")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "span_f1")
    unit: ClassVar[str] = "words"

    def _value(self, column: str, value: Any, where: str) -> Any:
        items = value.split() if isinstance(value, str) else _items(value)
        if items is None:
            raise BenchError(f"{where}: {column} must be a list, or a string with spaces")
        return [None if _is_missing(item) and column == "labels" else str(item) for item in items]

    def _validate(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        for i, (words, labels) in enumerate(zip(frame["words"], frame["labels"], strict=True), 1):
            if len(words) != len(labels):
                raise BenchError(
                    f"{path}, row {i}: {len(words)} words and {len(labels)} labels; give null for "
                    "a word without a label"
                )
        return frame

    def _metric(self, splits: Splits) -> str:
        """Spans where all labels are O, B-KIND or I-KIND."""
        labels = {label for row in splits.train["labels"] for label in row if label is not None}
        is_spans = all(re.fullmatch(r"O|[BI]-.+", label) for label in labels) and len(labels) > 1
        return "span_f1" if is_spans and labels - {"O"} else "accuracy"

    def _chance(self, test: pd.DataFrame, metric: str) -> float:
        labels = [label for row in test["labels"] for label in row if label is not None]
        return self._best_constant(labels, metric)


class AnswerFile(FileTask, SpanExtraction):
    """Answers that occur in a context; the place of a string is its first occurrence."""

    columns: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    metrics: ClassVar[tuple[str, ...]] = ("f1",)
    unit: ClassVar[str] = "context"

    def _value(self, column: str, value: Any, where: str) -> Any:
        if column != "answers":
            return str(value)
        if isinstance(value, Mapping) and "text" in value:  # SQuAD's layout
            starts = _items(value.get("answer_start", ())) or []
            value = [
                {"text": text, "start": start}
                for text, start in zip(_items(value["text"]) or [], starts, strict=False)
            ]
        items = [value] if isinstance(value, str) else _items(value)
        if not items:
            raise BenchError(f"{where}: answers must be a string, or a list of at least one answer")
        return items

    def _validate(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        import pandas as pd

        answers = [
            [_locate(item, context, f"{path}, row {i}") for item in items]
            for i, (items, context) in enumerate(
                zip(frame["answers"], frame["context"], strict=True), start=1
            )
        ]
        rest = {column: list(frame[column]) for column in ("question", "context")}
        return pd.DataFrame({**rest, "answers": answers})


def column_of(rows: pd.DataFrame, name: str, path: Path, role: str) -> list[Any]:
    """A column's values.

    Raises:
        BenchError: No such column; names those there are.
    """
    if name not in rows.columns:
        present = ", ".join(repr(column) for column in rows.columns[:20])
        raise BenchError(
            f"{path} has no column {name!r}; its columns are {present}. Name the right one with "
            f",{role}=COLUMN"
        )
    return list(rows[name])


def split_column(rows: pd.DataFrame, name: str, path: Path) -> Any:
    """The part of each row, `train`, `test` or `validation`.

    Without test rows, the validation rows are the test part.

    Raises:
        BenchError: A value that names no part, or a part without rows.
    """
    import numpy as np

    parts = {spelling: part for part, spellings in SPLIT_NAMES.items() for spelling in spellings}
    values = [str(value).strip().lower() for value in column_of(rows, name, path, "split")]
    unknown = [value for value in values if value not in parts]
    if unknown:
        raise BenchError(
            f"{path}: the column {name!r} has the value {unknown[0][:40]!r} in "
            f"{unknown.count(unknown[0])} rows; the values must be train, test or validation"
        )
    part_of_row = np.array([parts[value] for value in values])
    if "test" not in part_of_row:
        part_of_row[part_of_row == "validation"] = "test"
    for part in ("train", "test"):
        if part not in part_of_row:
            raise BenchError(
                f"{path}: the column {name!r} names no row {part}; train and test are needed"
            )
    return part_of_row


def _locate(item: Any, context: str, where: str) -> dict[str, Any]:
    """An answer with its place."""
    text = str(item.get("text", "") if isinstance(item, Mapping) else item)
    start = item.get("start") if isinstance(item, Mapping) else None
    place = context.find(text) if start is None else int(start) if str(start).isdigit() else -1
    if not text or place < 0 or context[place : place + len(text)] != text:
        raise BenchError(
            f"{where}: the answer {text[:60]!r} is not in its context at the given place; answers "
            "must be copied from the context"
        )
    return {"text": text, "start": place}


def _items(value: Any) -> list[Any] | None:
    """A list, a tuple or an array as a list; None for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, (list, tuple)) else None


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(str(item) for item in value)


def _is_missing(value: Any) -> bool:
    """None, NaN, or a text of nothing but spaces."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value)) or _is_na(value)


def _is_na(value: Any) -> bool:
    """Whether it is one of pandas' two missing values that are not floats."""
    return type(value).__name__ in ("NAType", "NaTType")
