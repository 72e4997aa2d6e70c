"""Rows 27 and 28: labelled data that cannot be used, and what guessing scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError
from tests.probing.data.test_user_tasks import load
from tests.probing.families.test_families import NOISE, Classes, FakeReader, splits, text_frame

ROWS = [{"text": f"text number {i}", "label": "ab"[i % 2]} for i in range(60)]
UNUSABLE = {
    "one class": ([row | {"label": "a"} for row in ROWS], "all 48 labels .* are 'a'"),
    "3 rows": (ROWS[:3], "3"),
    "no row": ([], "no rows"),
    "NaN": ([*ROWS[:40], ROWS[40] | {"label": math.nan}], "1 of 41 rows have no label.* row 41"),
    "no label": ([*ROWS[:40], {"text": "x"}], "1 of 41 rows have no label.* row 41"),
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("what", UNUSABLE)
def test_fault_27_unusable_labels_are_one_clear_error(what: str, tmp_path: Path) -> None:
    rows, says = UNUSABLE[what]
    path = write(tmp_path / "labels.jsonl", rows)
    with pytest.raises(BenchError, match=says):
        load(f"classify:{path}")


def test_fault_27_a_label_of_test_that_train_does_not_have_is_an_error_and_said(
    tmp_path: Path,
) -> None:
    rows = [row | {"part": "train" if i < 40 else "test"} for i, row in enumerate(ROWS)]
    rows.append({"text": "unseen", "label": "c", "part": "test"})
    path = write(tmp_path / "labels.jsonl", rows)
    _, found = load(f"classify:{path},split=part")
    assert "1 of 21 test labels (4.8%) do not occur in train and count as errors" in found.notes[0]


def test_fault_28_shuffled_labels_are_at_chance():
    train, test = text_frame(400, 1), text_frame(1_000, 2)
    generator = np.random.default_rng(0)
    for frame in (train, test):
        frame["label"] = generator.permutation(frame["label"])
    score = Classes().score(FakeReader(), splits(train, test), NOISE)
    assert abs(score.value - 0.5) < 4 * score.stderr


def test_fault_27_the_details_report_test_texts_that_are_in_train():
    train, test = text_frame(200, 1), text_frame(100, 2)
    test.loc[:24, "text"] = train["text"][:25]
    score = Classes().score(FakeReader(), splits(train, test), NOISE)
    assert score.details["leak"]["share"] == 0.25
    clean = score.outcomes["outcome"][25:].mean()
    assert score.details["leak"]["clean_value"] == pytest.approx(clean)
