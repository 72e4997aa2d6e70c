"""Races: what a look drops, when a race ends, and how many runs it spends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.corpus.microworld import Micro
from bench.engines import racing
from bench.engines.execution import RunResult
from bench.engines.jobs import BaselinesJob, Evaluation, JobState
from bench.engines.racing import Race, run_race
from bench.errors import BenchError
from bench.experiment import Experiment, resolve
from bench.probing.task import DataRoot
from bench.records.store import read_runs
from tests.conftest import REGISTRY
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, small

NOT_USED: Any = None
"""The prepared corpus of a race that trains nothing."""


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a test need not survive a power failure, and fsync is most of their time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def look(out: Path, race: Race, number: int = 1, detect: float | None = None) -> bool:
    """One look of a race at all runs of a folder."""
    ids = [run.data["id"] for run in read_runs(out)]
    return racing._look(ids, [], out, race, number, len(race.alive), detect)


def experiment(objectives: str, seeds: str, tasks: str = "sense_left") -> Experiment:
    return resolve(objectives, REGISTRY, seeds=seeds, tasks=tasks, device="cpu")


def raced(
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    levels: Mapping[str, float],
    seeds: str,
    detect: float | None = None,
) -> Counter[str]:
    """Race objectives whose records are written instead of trained; their numbers of runs."""

    def execute(part: Experiment, prepared: Any, out: Path, *_: Any) -> RunResult:
        states = []
        for name, objective in part.objectives.items():
            for seed in part.seeds:
                folder = make_run(out, name, seed, tokens=1000 * objective.trains)
                level = levels.get(name, 0.1)
                make_score(folder, "sense_left", answers(level, "sense", name, seed))
                job = BaselinesJob(Evaluation(out, DataRoot()))
                states.append(JobState(job, status="finished", run_id=folder.name))
        return RunResult(states, ["sense"])

    monkeypatch.setattr(racing, "execute", execute)
    result = run_race(experiment(",".join(levels), seeds), NOT_USED, out, detect, progress=False)
    return Counter(run_id.split("-")[0] for run_id in result.run_ids)


def test_an_objective_clearly_below_is_dropped(tmp_path: Path) -> None:
    race = Race(alive=["token", "span", "whole_word"], dropped={})
    look(small(tmp_path, {"token": 0.2, "span": 0.9, "whole_word": 0.88, "untrained": 0.1}), race)
    assert race.dropped == {"token": 1}
    assert race.alive == ["span", "whole_word"]


def test_equal_objectives_are_not_dropped(tmp_path: Path) -> None:
    race = Race(alive=["token", "span", "whole_word"], dropped={})
    look(small(tmp_path, {"token": 0.6, "span": 0.6, "whole_word": 0.6}), race)
    assert race.dropped == {}
    assert race.alive == ["token", "span", "whole_word"]


def test_nothing_is_dropped_after_one_seed(tmp_path: Path) -> None:
    """One seed says nothing of the variance between seeds."""
    race = Race(alive=["token", "span"], dropped={})
    look(small(tmp_path, {"token": 0.2, "span": 0.9}, seeds=1), race)
    assert race.dropped == {}


def test_a_diverged_objective_is_dropped(tmp_path: Path) -> None:
    small(tmp_path, {"span": 0.6, "whole_word": 0.6})
    for seed in range(3):
        make_run(tmp_path, "token", seed, status="diverged")
    race = Race(alive=["token", "span", "whole_word"], dropped={})
    look(tmp_path, race, number=2)
    assert race.dropped == {"token": 2}
    assert race.alive == ["span", "whole_word"]


def test_an_objective_without_any_record_is_dropped(tmp_path: Path) -> None:
    race = Race(alive=["token", "span", "whole_word"], dropped={})
    look(small(tmp_path, {"span": 0.6, "whole_word": 0.6}), race)
    assert race.dropped == {"token": 1}


def test_a_later_look_keeps_what_was_dropped_before(tmp_path: Path) -> None:
    race = Race(alive=["span", "whole_word"], dropped={"token": 1})
    look(small(tmp_path, {"token": 0.95, "span": 0.2, "whole_word": 0.9}), race, number=2)
    assert race.dropped == {"token": 1, "span": 2}
    assert race.alive == ["whole_word"]


@pytest.mark.parametrize(("detect", "is_reached"), [(60.0, True), (0.5, False)])
def test_a_race_is_decided_if_the_difference_would_be_seen(
    detect: float, is_reached: bool, tmp_path: Path
) -> None:
    race = Race(alive=["token", "span"], dropped={})
    found = look(small(tmp_path, {"token": 0.6, "span": 0.6}), race, detect=detect)
    assert found is is_reached
    assert race.alive == ["token", "span"]


def test_over_several_tasks_their_mean_decides(tmp_path: Path) -> None:
    """The best on the first task, which is the lowest on two others, is dropped."""
    levels = {"token": (0.2, 0.8, 0.8), "span": (0.2, 0.8, 0.8), "whole_word": (0.6, 0.2, 0.2)}
    for objective, shares in levels.items():
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000)
            for task, share in zip(("one", "two", "three"), shares, strict=True):
                make_score(folder, task, answers(share, task, objective, seed), chance=0.05)
    race = Race(alive=[*levels], dropped={})
    look(tmp_path, race)
    assert race.dropped == {"whole_word": 1}


def test_the_seeds_of_a_dropped_objective_go_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = {"token": 0.1, "span": 0.6, "whole_word": 0.6}
    runs = raced(tmp_path, monkeypatch, levels, "0-3")
    # The grid has 12 runs: 3 x 2 at the first look, and then 2 at each of three further looks.
    assert runs == {"token": 2, "span": 5, "whole_word": 5, "untrained": 5}


def test_a_race_of_equals_spends_what_the_grid_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = raced(tmp_path, monkeypatch, {"token": 0.6, "span": 0.6}, "3,5-7")
    assert runs == {"token": 4, "span": 4, "untrained": 4}
    assert {run.data["seed"] for run in read_runs(tmp_path)} == {3, 5, 6, 7}


def test_a_race_ends_with_one_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = raced(tmp_path, monkeypatch, {"token": 0.1, "span": 0.9}, "0-4")
    assert runs == {"token": 2, "span": 2, "untrained": 2}


def test_a_race_ends_where_the_difference_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = raced(tmp_path, monkeypatch, {"token": 0.6, "span": 0.6}, "0-4", detect=99.0)
    assert runs == {"token": 2, "span": 2, "untrained": 2}


@pytest.mark.parametrize(
    ("objectives", "seeds", "tasks"),
    [
        ("token,span", "0", "sense_left"),
        ("token,span", "0-1", "sense_left"),
        ("token", "0-4", "sense_left"),
        ("token,span", "0-4", "none"),
    ],
)
def test_a_race_needs_objectives_seeds_and_a_task(
    objectives: str, seeds: str, tasks: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match="--race needs two objectives, a task, and more than 2"):
        run_race(experiment(objectives, seeds, tasks), NOT_USED, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_race_ends_in_the_table_of_its_runs(tmp_path: Path) -> None:
    compared = bench.run(
        "token,span", corpus=Micro(num_words=20_000), budget="20k", seeds=3, tasks="word_class",
        limit=60, settings={"encoder": {"hidden_size": 32, "num_layers": 2}}, device="cpu",
        race=True, out=tmp_path, progress=False,
    )  # fmt: skip
    runs = Counter(run.data["objective"] for run in read_runs(tmp_path))
    assert runs["token"] + runs["span"] in (4, 6)  # after the first look, or all of the grid
    (table,) = compared.tables
    (column,) = table.columns
    assert column.task == "word_class"
    scored = {row.name: len(row.runs) for row in table.ranked(column.name) if row.runs}
    assert scored == runs


def test_only_the_tasks_of_the_command_decide(tmp_path: Path) -> None:
    for name, wanted, other in (("token", 0.3, 0.9), ("span", 0.8, 0.1)):
        for seed in range(3):
            folder = make_run(tmp_path, name, seed)
            make_score(folder, "other", answers(other, "other", name, seed), is_own=True)
            make_score(folder, "wanted", answers(wanted, "wanted", name, seed), is_own=True)
    ids = [run.data["id"] for run in read_runs(tmp_path)]
    race = Race(alive=["token", "span"], dropped={})
    racing._look(ids, ["wanted"], tmp_path, race, 1, 2, None)
    assert race.alive == ["span"]


def test_a_race_in_which_nothing_can_be_compared_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_score(make_run(tmp_path, "causal"), "sense_left", [1.0, 0.0])  # of another command
    rounds = []

    def execute(*_: Any) -> RunResult:
        rounds.append(1)
        return RunResult([], ["sense_left"])

    monkeypatch.setattr(racing, "execute", execute)
    result = run_race(experiment("token,span", "0-3"), NOT_USED, tmp_path, progress=False)
    assert result.run_ids == []
    assert len(rounds) == 1
    race = Race(alive=["token", "span"], dropped={})
    ids = [run.data["id"] for run in read_runs(tmp_path)]
    racing._look(ids, ["no_score"], tmp_path, race, 1, 2, None)
    assert race.alive == []
