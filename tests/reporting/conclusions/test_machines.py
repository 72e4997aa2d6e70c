"""Records of several machines: one table where replicated runs agree, else one for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records.store import read_runs
from bench.reporting.rendering.blocks import table_blocks
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score

HERE = {"hardware": {"cpu": "Here"}}
THERE = {"hardware": {"cpu": "There"}}


def add(
    out: Path, objective: str, seed: int, share: float, machine: dict[str, Any], **keys: Any
) -> None:
    """A run with this share of right answers."""
    right = np.arange(200) < round(200 * share)
    make_score(make_run(out, objective, seed=seed, **machine, **keys), outcomes=right)


def compare(*folders: Path) -> TableSet:
    """The comparison of the records of some machines."""
    return TableSet.from_records([run for out in folders for run in read_runs(out)])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Two objectives with three seeds, of which two lie 4 points apart."""
    for seed, share in enumerate((0.70, 0.74, 0.72)):
        add(tmp_path / "here", "token", seed, share, HERE)
        add(tmp_path / "here", "span", seed, share - 0.2, HERE)
    return tmp_path / "here"


def test_machines_that_agree_share_a_table(here: Path, tmp_path: Path) -> None:
    add(tmp_path / "there", "token", 0, 0.71, THERE)
    add(tmp_path / "there", "causal", 0, 0.60, THERE)
    (table,) = compare(here, tmp_path / "there").tables
    assert {row.name for row in table.rows} == {"token", "span", "causal"}
    (note,) = [note for note in table.notes if "machines" in note]
    assert note.startswith("machines cross-checked (Here, threads unknown")
    assert ": 1 score of runs that were done on two of them differ no more" in note


def test_a_replicated_run_counts_once(here: Path, tmp_path: Path) -> None:
    add(tmp_path / "there", "token", 0, 0.71, THERE)
    (table,) = compare(here, tmp_path / "there").tables
    interval = table.cells["token", "sense"].interval
    assert interval is not None
    assert (interval.seeds, interval.mean) == (3, pytest.approx(0.72))


def test_machines_that_differ_have_a_table_each(here: Path, tmp_path: Path) -> None:
    add(tmp_path / "there", "token", 0, 0.95, THERE)
    first, second = compare(here, tmp_path / "there").tables
    assert "they differ in machine" in first.title
    assert "machine There, threads unknown" in second.title


def test_a_table_has_the_note_of_its_own_machines(here: Path, tmp_path: Path) -> None:
    """The run that differs has the same id as those that agree."""
    add(tmp_path / "there", "token", 0, 0.71, THERE)
    add(tmp_path / "elsewhere", "token", 0, 0.95, {"hardware": {"cpu": "Elsewhere"}})
    pooled, alone = compare(here, tmp_path / "there", tmp_path / "elsewhere").tables
    assert any("cross-checked" in note for note in pooled.notes)
    assert not any("cross-checked" in text for text in [*alone.notes, *alone.warnings])


def test_without_a_common_run_the_table_says_so(here: Path, tmp_path: Path) -> None:
    add(tmp_path / "there", "causal", 0, 0.60, THERE)
    (table,) = compare(here, tmp_path / "there").tables
    (warning,) = [text for text in table.warnings if "machines" in text]
    assert warning.startswith("machines not cross-checked")


def test_an_untrained_encoder_is_no_cross_check(here: Path, tmp_path: Path) -> None:
    """It was not trained on either machine."""
    add(here, "untrained", 0, 0.5, HERE, tokens=0)
    add(tmp_path / "there", "untrained", 0, 0.5, THERE, tokens=0)
    add(tmp_path / "there", "causal", 0, 0.60, THERE)
    (table,) = compare(here, tmp_path / "there").tables
    assert any("not cross-checked" in text for text in table.warnings)


def test_the_costs_name_the_machine_where_there_are_several(here: Path, tmp_path: Path) -> None:
    (alone,) = compare(here).tables
    assert "machine" not in table_blocks(alone)[-1].header
    add(tmp_path / "there", "causal", 0, 0.60, THERE)
    (table,) = compare(here, tmp_path / "there").tables
    assert table_blocks(table)[-1].header[-1] == "machine"
