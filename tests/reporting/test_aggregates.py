"""Aggregates over the tasks of a table, and the tasks and objectives that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.records.store import read_runs
from bench.reporting.aggregates import ALL
from bench.reporting.long_form import long_form
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from bench.storage import write_manifest
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, compare

LEVELS = {"token": 0.6, "span": 0.9, "untrained": 0.5}
TASKS = ("one", "two", "three")


def build(out: Path, tasks: tuple[str, ...] = TASKS, seeds: int = 2, **keys: Any) -> Path:
    for objective, level in LEVELS.items():
        for seed in range(seeds):
            folder = make_run(out, objective, seed, tokens=0 if objective == "untrained" else 1000)
            for task in tasks:
                make_score(folder, task, answers(level, task, objective, seed), **keys)
    return out


def flat(compared: TableSet) -> str:
    return " ".join(render(compared).split())


def test_aggregates_over_all_tasks_and_each_suite_that_is_a_part(tmp_path: Path) -> None:
    suites = {"all_of_it": [*TASKS, "another"], "pair": ["one", "two"], "lone": ["three"]}
    compared = compare(build(tmp_path), suites=suites)
    first, second = compared.tables[0].aggregates
    assert (first.name, first.tasks) == (ALL, ("one", "three", "two"))
    assert (second.name, second.tasks) == ("pair", ("one", "two"))
    assert first.rows == ("span", "token", "untrained")
    assert first.iqm[0] == pytest.approx(1.0)
    assert 0.0 < first.iqm[1] < 0.8
    assert first.letters["span"] != first.letters["token"]
    row = next(r for r in long_form(compared) if (r["display_name"], r["task"]) == ("span", "one"))
    assert row["aggregates"][ALL]["iqm"] == pytest.approx(1.0)
    assert row["aggregates"]["pair"]["rank"] == 1
    assert "pair: mean" in flat(compared)


def test_a_limited_task_is_marked_and_left_out(tmp_path: Path) -> None:
    build(tmp_path)
    for run in read_runs(tmp_path):
        make_score(run.folder, "some", answers(0.9, "some", "x", 0), probe_settings={"limit": 100})
    compared = compare(tmp_path)
    (aggregate,) = compared.tables[0].aggregates
    assert len(aggregate.tasks) == 3
    text = flat(compared)
    assert "! LIMITED: scored on a part of the examples only: some (limit=100)" in text
    assert "LEFT OUT: some (limit=100) (scored on 100 examples at most (--limit))" in text


def test_a_task_that_no_objective_learned_is_left_out(tmp_path: Path) -> None:
    build(tmp_path)
    for run in read_runs(tmp_path):
        for task in ("luck", "more_luck"):
            random = answers(0.5, task, run.data["objective"], run.data["seed"])
            make_score(run.folder, task, random)
    compared = compare(tmp_path)
    (aggregate,) = compared.tables[0].aggregates
    reason = "no objective is significantly above chance"
    assert aggregate.left_out == {"luck": reason, "more_luck": reason}
    assert f"LEFT OUT: luck, more_luck ({reason})" in flat(compared)  # the reason once


def test_without_a_chance_level_the_untrained_encoder_is_zero(tmp_path: Path) -> None:
    compared = compare(build(tmp_path, chance=None))
    (aggregate,) = compared.tables[0].aggregates
    assert aggregate.of("untrained")[0].mean == pytest.approx(0.0, abs=1e-12)
    alone = [run for run in read_runs(tmp_path) if run.data["objective"] != "untrained"]
    assert TableSet.from_records(alone).tables[0].aggregates == []


def test_an_objective_that_lacks_a_score_is_left_out_by_name(tmp_path: Path) -> None:
    build(tmp_path)
    make_score(make_run(tmp_path, "causal"), "one", answers(0.7, "one", "causal", 0))
    make_score(make_run(tmp_path, "rtd", status="diverged"), "one")
    (aggregate,) = compare(tmp_path).tables[0].aggregates
    assert aggregate.left_out == {
        "causal": "no score on three, two", "rtd": "no run counts (diverged)"
    }  # fmt: skip
    assert "causal (no score on three, two)" in flat(compare(tmp_path))


def test_a_task_that_does_not_apply_to_one_is_left_out_for_all(tmp_path: Path) -> None:
    build(tmp_path)
    for run in read_runs(tmp_path, ["token"]):
        make_score(run.folder, "fill", None)
    for run in read_runs(tmp_path, ["span"]):
        make_score(run.folder, "fill", answers(0.9, "fill", "span", run.data["seed"]))
    (aggregate,) = compare(tmp_path).tables[0].aggregates
    assert aggregate.left_out == {"fill": "does not apply to token"}


def test_one_objective_or_one_task_has_no_aggregate(tmp_path: Path) -> None:
    assert compare(build(tmp_path / "a", ("one",))).tables[0].aggregates == []
    whole = compare(build(tmp_path / "b"))
    only = [run for run in read_runs(tmp_path / "b") if run.data["objective"] != "token"]
    assert whole.tables[0].aggregates
    assert TableSet.from_records(only).tables[0].aggregates == []


def test_letters_and_the_minimum_detectable_difference_are_in_the_table(tmp_path: Path) -> None:
    compared = compare(build(tmp_path, ("one",), seeds=3), "token")
    (table,) = compared.tables
    assert table.letters == {("token", "one"): "b", ("span", "one"): "a", ("untrained", "one"): "c"}
    difference = table.difference("span", "token", "one")
    assert difference is not None
    assert table.detectable == {"one": pytest.approx(difference.half_width)}
    lines = render(compared).splitlines()
    assert next(line for line in lines if line.startswith("span")).endswith("a *")
    shown = next(line for line in lines if line.startswith("min. detectable"))
    assert shown.split()[-1] == f"{100 * difference.half_width:.1f}"


def test_one_seed_shares_every_letter(tmp_path: Path) -> None:
    (table,) = compare(build(tmp_path, seeds=1)).tables
    assert {*table.letters.values()} == {"a"}
    assert table.detectable == {}
    assert {*table.aggregates[0].letters.values()} == {"a"}


def test_differences_that_holm_confirms_have_two_marks(tmp_path: Path) -> None:
    for seed in range(3):  # 5, 6 and 7 of 200 wrong against none: p = .029, too much for three
        token, span = (make_run(tmp_path, name, seed) for name in ("token", "span"))
        for task in ("far", "near", "same"):
            wrong = {"far": 60, "near": 5, "same": 0}[task] + seed * (task != "same")
            make_score(token, task, [0.0] * wrong + [1.0] * (200 - wrong))
            make_score(span, task, [1.0] * 200)
    compared = compare(tmp_path, "token")
    tests = {task: compared.tables[0].tests["span", task] for task in ("far", "near", "same")}
    assert tests["near"] == (pytest.approx(0.0290831), False)
    assert tests["far"][1]
    assert not tests["same"][1]
    line = [line for line in render(compared).splitlines() if line.startswith("span")][2]
    assert [text for text in line.split() if "*" in text] == ["**", "*"]


def test_a_run_that_learned_nothing_does_not_count(tmp_path: Path) -> None:
    build(tmp_path)
    for run in read_runs(tmp_path, ["token"]):
        is_bad = run.data["seed"] == 1
        losses = [6.7, 6.0, 6.9 if is_bad else 3.0]
        curve = pa.Table.from_pylist([{"validation_loss": loss} for loss in losses])
        pq.write_table(curve, run.folder / "curve.parquet")
        write_manifest(run.folder, ["run.json", "curve.parquet"])
    compared = compare(tmp_path)
    row = next(r for r in long_form(compared) if r["display_name"] == "token")
    assert (row["seeds"], row["excluded"]) == (1, {"finished, did not learn": [1]})
    text = flat(compared)
    assert "! DID NOT LEARN: token (seed 1), which is left out of the mean: its" in text
    assert "its validation loss was 6.700 nats at the start and 6.900 at the end" in text
    assert "1 of 2" in text


def level(out: Path, name: str, tasks: dict[str, float]) -> None:
    for seed in range(3):
        folder = make_run(out, name, seed)
        for task, share in tasks.items():
            make_score(folder, task, [float(i < 2000 * share + 4 * seed) for i in range(2000)])


def test_a_task_that_no_member_solves_is_left_out(tmp_path: Path) -> None:
    """Its distance from chance is negative, which would turn the order round."""
    level(tmp_path, "token", {"one": 0.9})
    level(tmp_path, "causal", {"two": 0.9})
    for name, share in (("rtd", 0.43), ("span", 0.35)):
        level(
            tmp_path, name, {"one": share, "two": share, "three": share + 0.4, "four": share + 0.3}
        )
    compared = compare(tmp_path, baseline=None)
    (aggregate,) = compared.tables[0].aggregates
    assert aggregate.tasks == ("four", "three")
    assert aggregate.left_out["one"] == "no objective is significantly above chance"
    assert aggregate.left_out["token"].startswith("no score on")
    means = dict(zip(aggregate.rows, aggregate.iqm, strict=True))
    assert means["rtd"] > means["span"]


def test_an_objective_without_a_seed_on_every_task_is_left_out(tmp_path: Path) -> None:
    for objective, share in (("token", 0.9), ("causal", 0.8), ("span", 0.6)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed)
            for task in ("one", "two"):
                if objective != "span" or (task == "one") == (seed == 0):
                    make_score(folder, task, answers(share, task, objective, seed))
    (aggregate,) = compare(tmp_path, baseline=None).tables[0].aggregates
    assert set(aggregate.rows) == {"token", "causal"}
    assert aggregate.left_out["span"] == "no seed was scored on all tasks"


def test_an_untrained_encoder_that_lacks_scores_is_no_zero(tmp_path: Path) -> None:
    """Two tasks without a chance level; each seed of the untrained encoder has one of them."""
    for name, level in (("token", 0.8), ("span", 0.6), ("untrained", 0.2)):
        for seed in range(2):
            folder = make_run(tmp_path, name, seed, tokens=1000 * (name != "untrained"))
            for place, task in enumerate(("aa", "bb")):
                if name != "untrained" or place == seed:
                    make_score(folder, task, answers(level, task, name, seed), chance=None)
    (table,) = compare(tmp_path).tables
    assert table.aggregates == []
