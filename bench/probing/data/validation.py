"""What makes examples unusable, said before an encoder is trained for them.

Nothing is mended in silence: rows dropped here would make two people's scores on "the same" data
differ.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.probing.task import Splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Bool

MIN_ROWS = 10
"""Fewer examples leave nothing to choose, fit or compare on."""


def leaked(train_texts: Sequence[str], test_texts: Sequence[str]) -> Bool[np.ndarray, " N"]:
    """Which test texts stand in the training split, as they are or with thirteen words in a row."""
    return _leaked(tuple(train_texts), tuple(test_texts))


@functools.lru_cache(maxsize=2)
def _leaked(train_texts: tuple[str, ...], test_texts: tuple[str, ...]) -> Bool[np.ndarray, " N"]:
    """Remembered: each control and each way of reading asks it again of the same texts."""
    import numpy as np

    from bench.probing.data.overlap import shares_words

    known = set(train_texts)
    is_copy = np.array([text in known for text in test_texts], dtype=bool)
    found: Bool[np.ndarray, " N"] = is_copy | shares_words(train_texts, test_texts)
    found.setflags(write=False)
    return found


def check_columns(task: str, splits: Splits, columns: Sequence[str]) -> None:
    """Both splits have the columns, no missing values and enough rows.

    Raises:
        BenchError: Names task, split and the first bad row.
    """
    check_frame(task, "train", splits.train, columns)
    check_frame(task, "test", splits.test, columns)


def check_frame(task: str, split: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """One split has the columns, no missing values and enough rows.

    Raises:
        BenchError: Names task, split and the first bad row.
    """
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise BenchError(
            f"{task}: the {split} split lacks the columns {lacking}: found "
            f"{list(frame.columns)}, wanted {list(columns)}"
        )
    if len(frame) < MIN_ROWS:
        raise BenchError(
            f"{task}: the {split} split has {len(frame)} rows, at least {MIN_ROWS} are needed; "
            "give more data or raise --limit"
        )
    for column in columns:
        bad = frame[column].isna().to_numpy().nonzero()[0]
        if len(bad):
            raise BenchError(
                f"{task}: {len(bad)} of {len(frame)} rows of the {split} split have no {column}, "
                f"the first is row {bad[0]}; drop or mend them"
            )


def check_labels(task: str, labels: Sequence[Any]) -> None:
    """There is something to tell apart.

    Raises:
        BenchError: Fewer than two classes; names the one.
    """
    classes = {str(label) for label in labels}
    if len(classes) < 2:
        raise BenchError(
            f"{task}: all {len(labels)} labels of the train split are {min(classes)!r}; "
            "a probe needs two classes at least"
        )
