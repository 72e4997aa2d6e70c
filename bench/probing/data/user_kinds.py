"""What a file of one's own may hold, by kind: its columns, its split, its metric, what guessing is.

Nothing is guessed about a file but where it says so itself: no column by its position, no split by
a column's name. Where a split has to be made, equal texts stay together, so that it leaks nothing.
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
from bench.probing.data.partition import rows_to_test
from bench.probing.data.user_files import find_splits, read_rows
from bench.probing.families.classification import TextClassification
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.similarity import Similarity
from bench.probing.families.span_extraction import SpanExtraction
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Splits, Task
from bench.settings import sha256_json

if TYPE_CHECKING:
    import pandas as pd

    from bench.probing.data.user_tasks import LabelFile

MIN_ROWS = 50
"""Fewer cannot be parted 80 to 20 with enough to test on."""
SPLIT_NAMES = {
    "train": ("train", "training", "tr"),
    "test": ("test", "te"),
    "validation": ("validation", "valid", "val", "dev", "va"),
}


class FromFile(Task):
    """Reads a file's columns as its family's; the classes below say which."""

    file: ClassVar[LabelFile]
    reference: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    """The family's columns: each is an option too, for what the file calls it."""
    metrics: ClassVar[tuple[str, ...]]
    stratum: ClassVar[str | None] = None
    """The column to be as frequent in both parts where a split is made."""
    unit: ClassVar[str] = "text"
    """The column whose equal values stay together where a split is made."""
    chance: ClassVar[float] = math.nan
    """Known once the labels are: the best constant answer on the test part."""

    def require(self, data: DataRoot) -> None:
        """The file, or both of a folder's."""
        find_splits(self.file.path)

    def load(self, data: DataRoot) -> Splits:
        """Read, take the split that is given or make one, and see what guessing scores."""
        paths = find_splits(self.file.path)
        if "" in paths:
            train, test = self._parted(read_rows(paths[""]))
        else:
            train, test = (self._chosen(read_rows(path), path) for path in paths.values())
        splits = as_splits(train, test, data)
        cls = type(self)
        cls.metric = self.file.options.get("metric") or self._metric(splits)
        cls.chance = self._chance(splits.test)
        return dataclasses.replace(splits, sha256=sha256_json([splits.sha256, cls.metric]))

    def _parted(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """By the column of the option `split`; or 80 to 20, whole groups, stratified."""
        options, path = self.file.options, self.file.path
        frame = self._chosen(rows, path)
        if "split" in options:
            parts = split_column(rows, options["split"], path)
            return frame[parts == "train"], frame[parts == "test"]
        if len(frame) < MIN_ROWS:
            raise BenchError(
                f"{path} has {len(frame)} rows: too few to be parted into train and test, "
                f"{MIN_ROWS} at least; or give a folder with train and test, or split=COLUMN"
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
                f"{path} cannot be parted: all rows are one group; give split=COLUMN or another "
                "group=COLUMN"
            )
        return frame[~is_test], frame[is_test]

    def _chosen(self, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
        """The family's columns under its names, nothing missing."""
        import pandas as pd

        found = {}
        for column in self.columns:
            values = column_of(rows, self.file.options.get(column, column), path, column)
            bad = [i for i, value in enumerate(values) if _is_missing(value)]
            if bad:
                raise BenchError(
                    f"{path}: {len(bad)} of {len(rows)} rows have no {column}, the first is row "
                    f"{bad[0] + 1}; drop or mend them"
                )
            found[column] = [
                self._value(column, value, f"{path}, row {i}")
                for i, value in enumerate(values, start=1)
            ]
        return self._checked(pd.DataFrame(found), path)

    def _value(self, column: str, value: Any, where: str) -> Any:
        return str(value)

    def _checked(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        return frame

    def _metric(self, splits: Splits) -> str:
        return self.metrics[0]

    def _chance(self, test: pd.DataFrame) -> float:
        return 0.0

    def _best_constant(self, labels: Sequence[str]) -> float:
        """What the best constant answer scores in the metric."""
        shares = {label: labels.count(label) / len(labels) for label in set(labels)}
        if self.metric == "f1":
            if "1" not in shares:
                raise BenchError(
                    f"{self.file.path}: F1 is of the label '1', and the test part has only "
                    f"{sorted(shares)[:5]}; leave metric= out, or name the class sought 1"
                )
            return 2 * shares["1"] / (1 + shares["1"])
        return max(shares.values(), default=0.0) if self.metric == "accuracy" else 0.0


class Classify(FromFile, TextClassification):
    """One label a text."""

    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "matthews")
    stratum: ClassVar[str | None] = "label"

    def _chance(self, test: pd.DataFrame) -> float:
        return self._best_constant(list(test["label"]))


class Pair(FromFile, PairClassification):
    """One label two texts."""

    columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "matthews")
    stratum: ClassVar[str | None] = "label"

    def _chance(self, test: pd.DataFrame) -> float:
        return self._best_constant(list(test["label"]))


class Alike(FromFile, Similarity):
    """One number two texts."""

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
            raise BenchError(f"{where}: the score {str(value)[:40]!r} is no number")
        return number


class Tag(FromFile, Tagging):
    """One label a word: lists, or strings cut at spaces; null for a word that is not asked."""

    columns: ClassVar[tuple[str, ...]] = ("words", "labels")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "span_f1")
    unit: ClassVar[str] = "words"

    def _value(self, column: str, value: Any, where: str) -> Any:
        items = value.split() if isinstance(value, str) else _items(value)
        if items is None:
            raise BenchError(f"{where}: {column} must be a list, or a string cut at spaces")
        return [None if _is_missing(item) and column == "labels" else str(item) for item in items]

    def _checked(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        for i, (words, labels) in enumerate(zip(frame["words"], frame["labels"], strict=True), 1):
            if len(words) != len(labels):
                raise BenchError(
                    f"{path}, row {i}: {len(words)} words and {len(labels)} labels; give null for "
                    "a word that is not asked"
                )
        return frame

    def _metric(self, splits: Splits) -> str:
        """Spans where the labels are written as spans are: O, B-KIND, I-KIND."""
        labels = {label for row in splits.train["labels"] for label in row if label is not None}
        is_spans = all(re.fullmatch(r"O|[BI]-.+", label) for label in labels) and len(labels) > 1
        return "span_f1" if is_spans and labels - {"O"} else "accuracy"

    def _chance(self, test: pd.DataFrame) -> float:
        return self._best_constant(
            [label for row in test["labels"] for label in row if label is not None]
        )


class Answer(FromFile, SpanExtraction):
    """Answers that stand in a context; a string is looked up where it first occurs."""

    columns: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    metrics: ClassVar[tuple[str, ...]] = ("f1",)
    unit: ClassVar[str] = "context"

    def _value(self, column: str, value: Any, where: str) -> Any:
        if column != "answers":
            return str(value)
        if isinstance(value, Mapping) and "text" in value:  # as SQuAD lays them out
            starts = _items(value.get("answer_start", ())) or []
            value = [
                {"text": text, "start": start}
                for text, start in zip(_items(value["text"]) or [], starts, strict=False)
            ]
        items = [value] if isinstance(value, str) else _items(value)
        if not items:
            raise BenchError(f"{where}: answers must be a string, or a list of at least one")
        return items

    def _checked(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        import pandas as pd

        located = [
            [_located(item, context, f"{path}, row {i}") for item in items]
            for i, (items, context) in enumerate(
                zip(frame["answers"], frame["context"], strict=True), start=1
            )
        ]
        rest = {column: list(frame[column]) for column in ("question", "context")}
        return pd.DataFrame({**rest, "answers": located})


def column_of(rows: pd.DataFrame, name: str, path: Path, role: str) -> list[Any]:
    """A column's values.

    Raises:
        BenchError: No such column; names those there are.
    """
    if name not in rows.columns:
        there = ", ".join(repr(column) for column in rows.columns[:20])
        raise BenchError(
            f"{path} has no column {name!r}, but {there}; say which it is: ,{role}=COLUMN"
        )
    return list(rows[name])


def split_column(rows: pd.DataFrame, name: str, path: Path) -> Any:
    """Each row's part, `train`, `test` or `validation`; validation is the test if there is none.

    Raises:
        BenchError: A value that names no part, or a part without rows.
    """
    import numpy as np

    parts = {spelling: part for part, spellings in SPLIT_NAMES.items() for spelling in spellings}
    values = [str(value).strip().lower() for value in column_of(rows, name, path, "split")]
    strange = [value for value in values if value not in parts]
    if strange:
        raise BenchError(
            f"{path}: the column {name!r} says {strange[0][:40]!r} in "
            f"{strange.count(strange[0])} rows; train, test and validation are known"
        )
    found = np.array([parts[value] for value in values])
    if "test" not in found:
        found[found == "validation"] = "test"
    for part in ("train", "test"):
        if part not in found:
            raise BenchError(f"{path}: no row is {part} by its column {name!r}")
    return found


def _located(item: Any, context: str, where: str) -> dict[str, Any]:
    """An answer with the place it stands at."""
    text = str(item.get("text", "") if isinstance(item, Mapping) else item)
    start = item.get("start") if isinstance(item, Mapping) else None
    place = context.find(text) if start is None else int(start) if str(start).isdigit() else -1
    if not text or place < 0 or context[place : place + len(text)] != text:
        raise BenchError(f"{where}: the answer {text[:60]!r} does not stand in its context")
    return {"text": text, "start": place}


def _items(value: Any) -> list[Any] | None:
    """A list, a tuple or an array as a list; None of anything else."""
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
    """Whether it is one of the two marks that pandas has for nothing and that are no floats."""
    return type(value).__name__ in ("NAType", "NaTType")
