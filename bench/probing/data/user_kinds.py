"""A label file as a task: which rows are train and test, and what is said about them.

Only explicit information in a file is used: no column is found by its position, and no split by a
column's name. Where a split has to be made, equal texts stay together, so it leaks nothing. Rows
that cannot be used are refused or counted, never dropped in silence: `notes` has a sentence about
each repair.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import as_splits
from bench.probing.data.label_files.column import Column
from bench.probing.data.label_files.formats import read_rows
from bench.probing.data.label_files.values import has_no_label, is_missing, items_of, plain_label
from bench.probing.data.user_files import LabelFile, find_splits, rows_to_test
from bench.probing.task import DataRoot, Splits, Task
from bench.settings import sha256_json

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 50
"""Fewer rows cannot be divided 80 to 20 with enough test examples."""
SPLIT_NAMES = {
    "train": ("train", "training", "trn", "tr"),
    "test": ("test", "testing", "tst", "te", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "development", "dev", "va"),
}


@dataclasses.dataclass(frozen=True)
class FileSplits(Splits):
    """The examples of a label file."""

    notes: tuple[str, ...] = ()
    """Sentences about repairs and rows that were left out."""


def notes_of(splits: Splits) -> tuple[str, ...]:
    """Sentences for the user about the examples."""
    return splits.notes if isinstance(splits, FileSplits) else ()


class UserTask(Task):
    """A task of the user's files, from an argument of `--task`."""

    is_own: ClassVar[bool] = True

    file: ClassVar[LabelFile]
    reference: ClassVar[str]
    """The argument of `--task`, valid from any folder."""
    columns: ClassVar[tuple[str, ...]]
    """The family's columns, the labels last; each is also an option, for its name in the file."""
    metrics: ClassVar[tuple[str, ...]]
    """The metrics that the option `metric` may name."""
    options: ClassVar[tuple[str, ...]] = ("name", "metric", "split", "group", "seed")
    """The other options."""
    file_options: ClassVar[tuple[str, ...]] = ()
    """The columns that are files of their own, not names in the file."""

    def check(self, splits: Splits) -> None:
        """Check the examples as the family does.

        Raises:
            BenchError: They are unusable; says which rows were repaired or left out before.
        """
        try:
            super().check(splits)
        except BenchError as error:
            raise BenchError(f"{error}{_in_brackets(notes_of(splits))}") from None


class FileTask(UserTask):
    """Loads a label file for its family; the subclasses define the columns."""

    stratum: ClassVar[str | None] = None
    """The column whose values are equally frequent in both parts of a new split."""
    unit: ClassVar[str] = "text"
    """The column whose equal values stay together in a new split."""
    chance: ClassVar[float | None] = None
    """Only the labels determine it: the best constant prediction for the test part."""

    def require(self, data: DataRoot) -> None:
        """Check that the file exists, or the files of a folder."""
        find_splits(self.file.path)

    def load(self, data: DataRoot) -> Splits:
        """Read the rows, use or make a split, and determine metric and chance level."""
        notes: list[str] = []
        train, test = self._parts(notes)
        train, test, metric = self._agree(train, test, notes)
        splits = as_splits(train, test, data)
        self._note_unseen(splits, notes)
        return FileSplits(
            splits.train,
            splits.test,
            sha256_json([splits.sha256, metric]),
            metric=metric,
            chance=self._chance(splits.test, metric),
            notes=tuple(dict.fromkeys(notes)),
        )

    def _rows(self, path: Path, notes: list[str]) -> pd.DataFrame:
        """All rows of one file."""
        return read_rows(path, notes)

    @abstractmethod
    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        """The examples, indexed by the place of their rows in the columns.

        Raises:
            BenchError: A value that cannot be used; names its row.
        """

    def _agree(
        self, train: pd.DataFrame, test: pd.DataFrame, notes: list[str]
    ) -> tuple[pd.DataFrame, pd.DataFrame, str]:
        """Both parts as the family needs them, and the metric."""
        return train, test, self.file.options.get("metric") or self.metrics[0]

    def _labels(self, frame: pd.DataFrame) -> list[str]:
        """The labels of a part that are names of classes."""
        return []

    def _chance(self, test: pd.DataFrame, metric: str) -> float | None:
        return 0.0

    def _parts(self, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train and test: a folder's files, the column of the option `split`, or a new split."""
        paths = find_splits(self.file.path)
        rows = {part: self._rows(path, notes) for part, path in paths.items()}
        if "" in rows and "split" not in self.file.options:
            return self._divide(rows[""], notes)
        if "" in rows:
            path = self.file.path
            of_row = split_column(rows[""], self.file.options["split"], path)
            rows = {part: rows[""][of_row == part] for part in SPLIT_NAMES if part in of_row}
            paths = dict.fromkeys(rows, path)
        test = self._labelled_part(rows, paths, notes)
        frames = []
        for part in ("train", test):
            own: list[str] = []
            frames.append(self._examples(rows[part], paths[part], own))
            notes += [f"{part} part: {note}" for note in own]
        return frames[0], frames[1]

    def _labelled_part(
        self, rows: Mapping[str, pd.DataFrame], paths: Mapping[str, Path], notes: list[str]
    ) -> str:
        """The part to test on: `test`, or `validation` where the test labels are withheld.

        Raises:
            BenchError: No part has labels.
        """
        role = self.columns[-1]
        name = self._name_of(role)
        given = column_of(rows["train"], name, paths["train"], role)
        known = {_label_of(value) for value in given if items_of(value) is None}

        def is_withheld(value: Any) -> bool:
            return is_missing(value) or (has_no_label(value) and _label_of(value) not in known)

        withheld = []
        for part in ("test", "validation"):
            if part not in rows:
                continue
            values = list(rows[part][name]) if name in rows[part].columns else []
            if all(map(is_withheld, values)):
                shown = f"all are {str(values[0])[:20]!r}" if values else f"no column {name!r}"
                withheld.append(f"the {part} part has no labels ({shown})")
                continue
            if withheld:
                notes.append(f"{withheld[0]}, so the {part} part is tested on")
            return part
        raise BenchError(
            f"{self.file.path}: {' and '.join(withheld)}; use an edition of the data with labels, "
            "or give a validation part"
        )

    def _divide(self, rows: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """80 to 20, whole groups, stratified.

        Raises:
            BenchError: Too few rows, or all rows are one group.
        """
        options, path = self.file.options, self.file.path
        frame = self._examples(rows, path, notes)
        if len(frame) < MIN_ROWS:
            raise BenchError(
                f"{path} has {len(frame)} rows, but at least {MIN_ROWS} are needed to divide them "
                "into train and test; give more rows, a folder with train and test, or "
                f"split=COLUMN{_in_brackets(notes)}"
            )
        if "group" in options:
            rows = rows.loc[frame.index]
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

    def _examples(self, rows: pd.DataFrame, path: Path, notes: list[str]) -> pd.DataFrame:
        """The family's examples of some rows, with the index of the rows."""
        numbers = [int(place) + 1 for place in rows.index]
        columns = {}
        for role in self.columns:
            values = column_of(rows, self._name_of(role), path, role)
            columns[role] = Column(path, role, values, numbers, notes)
        frame = self._read(columns)
        return frame.set_axis(rows.index[frame.index], axis=0)

    def _name_of(self, role: str) -> str:
        """The name of a column in the file."""
        return self.file.options.get(role, role)

    def _note_unseen(self, splits: Splits, notes: list[str]) -> None:
        """Say which share of the test labels no probe can predict."""
        known, labels = set(self._labels(splits.train)), self._labels(splits.test)
        unseen = [label for label in labels if label not in known]
        if unseen:
            names = ", ".join(map(repr, sorted(set(unseen))[:5]))
            notes.append(
                f"{len(unseen)} of {len(labels)} test labels ({len(unseen) / len(labels):.1%}) do "
                f"not occur in train and count as errors: {names}"
            )


def column_of(rows: pd.DataFrame, name: str, path: Path, role: str) -> list[Any]:
    """A column's values.

    Raises:
        BenchError: No such column; names those there are.
    """
    if name not in rows.columns:
        present = ", ".join(repr(column) for column in rows.columns[:20])
        way_out = f"Name the right one with ,{role}=COLUMN"
        if len(rows.columns) == 1 and (marks := set(rows.columns[0]) & set(";|\t")):
            way_out = f"Save it with commas in place of {min(marks)!r}"
        raise BenchError(f"{path} has no column {name!r}; its columns are {present}. {way_out}")
    return list(rows[name])


def split_column(rows: pd.DataFrame, name: str, path: Path) -> Any:
    """The part of each row, `train`, `test` or `validation`.

    Without test rows, the validation rows are the test part.

    Raises:
        BenchError: A value that names no part, or a part without rows.
    """
    import numpy as np

    parts = {spelling: part for part, spellings in SPLIT_NAMES.items() for spelling in spellings}
    values = [_label_of(value).lower() for value in column_of(rows, name, path, "split")]
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


def best_constant(labels: Sequence[str], metric: str, path: Path) -> float:
    """The score of the best constant prediction.

    Raises:
        BenchError: The metric is f1, and no label is 1.
    """
    shares = {label: labels.count(label) / len(labels) for label in set(labels)}
    if metric == "f1":
        if "1" not in shares:
            raise BenchError(
                f"{path}: the metric f1 needs the label '1', but the test part has only "
                f"{sorted(shares)[:5]}; remove metric=f1, or rename the class to 1"
            )
        return 2 * shares["1"] / (1 + shares["1"])
    return max(shares.values(), default=0.0) if metric == "accuracy" else 0.0


def _in_brackets(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _label_of(value: Any) -> str:
    return plain_label(str(value))


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(str(item) for item in value)
