"""`bench plan` warns about everything that `run` would, and estimates the seeds of a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.experiment import resolve
from bench.plan import make_plan, render
from bench.registry import Registry


def plan(tmp_path: Path, detect: float | None = None, **options: Any) -> Any:
    known = {"tasks": "none", "device": "cpu"} | options
    return make_plan(resolve("token", Registry(), **known), tmp_path, detect)


def test_a_column_that_run_would_refuse_is_refused(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "\n".join(f"a text {i},{i % 2}" for i in range(60)))
    with pytest.raises(BenchError, match="no column 'no'"):
        plan(tmp_path, tasks=None, task=f"classify:{labels},label=no")
    plan(tmp_path, tasks=None, task=f"classify:{labels}")


def test_more_memory_than_the_machine_has_is_a_warning(tmp_path: Path) -> None:
    found = plan(tmp_path, size="base", settings=["training.batch_tokens=16777216"])
    assert "GB of memory, and this machine has" in render(found)
    assert not plan(tmp_path).warnings


def test_times_are_in_a_unit_that_a_person_would_choose(tmp_path: Path) -> None:
    assert " days of pretraining with " in render(plan(tmp_path, budget="100G"))
    assert " minutes of pretraining with " in render(plan(tmp_path, budget="20M"))


def test_the_seeds_of_a_difference_come_from_the_reference_results(tmp_path: Path) -> None:
    found = plan(tmp_path, 10.0, tasks="micro").detection
    assert found.source == "the reference results (micro)"
    assert set(found.seeds) == {
        "agreement", "entities", "sense_left", "sense_right", "swapped_words", "word_class"
    }  # fmt: skip
    fewer = plan(tmp_path, 20.0, tasks="micro").detection
    assert all(
        few <= many
        for few, many in zip(fewer.seeds.values(), found.seeds.values(), strict=True)
        if few is not None and many is not None
    )
    with pytest.raises(BenchError, match="above 0"):
        plan(tmp_path, 0.0)


def test_epochs_are_known_once_the_corpus_is_prepared(tmp_path: Path) -> None:
    assert "10 epochs per run" in render(plan(tmp_path, budget="10epochs"))
