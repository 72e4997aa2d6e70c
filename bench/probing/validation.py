"""Checks that examples are usable, before an encoder is trained for them.

Nothing is repaired silently: rows dropped here would make two users' scores on "the same" data
differ.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.probing.task import Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Bool

MIN_ROWS = 10
"""With fewer examples no choice, fit or comparison is possible."""


def leak_mask(train_texts: Sequence[str], test_texts: Sequence[str]) -> Bool[np.ndarray, " N"]:
    """The test texts that are also in train, or share thirteen words in a row with a train text."""
    return _leak_mask(tuple(train_texts), tuple(test_texts))


@functools.lru_cache(maxsize=2)
def _leak_mask(train_texts: tuple[str, ...], test_texts: tuple[str, ...]) -> Bool[np.ndarray, " N"]:
    """Cached, because each baseline and each probe needs it for the same texts."""
    import numpy as np

    from bench.probing.overlap import shares_words

    known = set(train_texts)
    is_copy = np.array([text in known for text in test_texts], dtype=bool)
    mask: Bool[np.ndarray, " N"] = is_copy | shares_words(train_texts, test_texts)
    mask.setflags(write=False)
    return mask


def check_columns(task: str, splits: Splits, columns: Sequence[str]) -> None:
    """Check both splits: the columns, no missing values, enough rows, labels that train has.

    Raises:
        BenchError: Names task, split and the first bad row; or no label of test occurs in train.
    """
    check_frame(task, "train", splits.train, columns)
    check_frame(task, "test", splits.test, columns)
    for column in {"label", "labels"} & set(columns):
        known, tested = (_labels(frame[column]) for frame in (splits.train, splits.test))
        if known and tested and not known & tested:
            raise BenchError(
                f"{task}: none of the labels of the test split ({_names(tested)}) occurs in train "
                f"({_names(known)}), so every prediction would be wrong; write the labels of both "
                "splits in the same way, or use an edition with labels for the test split"
            )


def check_scores(task: str, splits: Splits, columns: Sequence[str]) -> None:
    """Check both splits as `check_columns`, and that their column `score` has different numbers.

    Raises:
        BenchError: Names task and split, and the row where there is one.
    """
    check_columns(task, splits, columns)
    for split, frame in (("train", splits.train), ("test", splits.test)):
        scores = frame["score"]
        if scores.dtype.kind not in "iuf":
            raise BenchError(
                f"{task}: the column score of the {split} split contains {scores.iloc[0]!r}; every "
                "score must be a number"
            )
        if scores.nunique() < 2:
            raise BenchError(
                f"{task}: all {len(frame)} scores of the {split} split are {scores.iloc[0]}; a "
                "rank correlation needs different scores"
            )


def _labels(values: Iterable[Any]) -> set[str]:
    """The labels of a column, which are names or lists of names."""
    rows = (value if _is_list(value) else [value] for value in values)
    return {str(label) for row in rows for label in row if label is not None}


def _is_list(value: Any) -> bool:
    """Whether a cell holds several values: a list, a tuple or an array."""
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1


def _names(labels: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(labels)[:4])) + (", ..." if len(labels) > 4 else "")


def check_frame(task: str, split: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that one split has the columns, no missing values and enough rows.

    Raises:
        BenchError: Names task, split and the first bad row.
    """
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise BenchError(
            f"{task}: the {split} split lacks the columns {lacking}: it has "
            f"{list(frame.columns)}, but the task needs {list(columns)}"
        )
    if len(frame) < MIN_ROWS:
        raise BenchError(
            f"{task}: the {split} split has {len(frame)} rows, but at least {MIN_ROWS} are needed; "
            "give more data or raise --limit"
        )
    for column in columns:
        bad = frame[column].isna().to_numpy().nonzero()[0]
        if len(bad):
            raise BenchError(
                f"{task}: {len(bad)} of {len(frame)} rows of the {split} split have no {column}, "
                f"the first is row {bad[0]}; remove or complete them"
            )


def check_labels(task: str, labels: Sequence[Any]) -> None:
    """Check that there are at least two classes.

    Raises:
        BenchError: Only one class; names it.
    """
    classes = {str(label) for label in labels}
    if len(classes) < 2:
        raise BenchError(
            f"{task}: all {len(labels)} labels of the train split are {min(classes)!r}; "
            "a probe needs at least two classes"
        )
