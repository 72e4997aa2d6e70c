"""Tables from records on disk: rows, columns, scores, differences, warnings and notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.records.scores import read_baselines
from bench.records.store import read_runs
from bench.reporting.long_form import long_form
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from tests.records.test_store import HASH, make_run, make_score
from tests.reporting.test_text import answers, compare, full, row_of, small

__all__ = ["full"]  # a fixture


def test_the_order_of_rows_and_columns(full: TableSet) -> None:
    (table,) = full.tables
    assert [row.name for row in table.rows] == [
        "token", "causal", "causal, bidirectional", "rtd", "span[mean_length=4]", "untrained",
        "majority", "bag_of_words", "window_of_words",
    ]  # fmt: skip
    names = [column.name for column in table.columns]
    assert names == ["sense", "agreement original", "agreement word_l2r", "entities"]


def test_every_row_of_the_long_form_is_complete(full: TableSet) -> None:
    rows = json.loads(render(full, "json"))
    keys = "objective task metric mean low high seeds chance tokens predictions flops seconds"
    for row in rows:
        assert {*keys.split()} <= row.keys()
        if row["status"] == "ok":
            assert row["low"] < row["mean"] < row["high"]
        else:
            assert row["mean"] is row["low"] is row["high"] is None
    assert len(rows) == 6 * 4 + 3 + 4
    baseline = next(row for row in rows if row["objective"] == "majority")
    assert (baseline["tokens"], baseline["seconds"], baseline["seeds"]) == (0, 0, 0)
    assert baseline["kind"] == "baseline"


def test_two_policies_are_two_columns(full: TableSet) -> None:
    original, other = (row_of(full, "token", f"agreement {r}") for r in ("original", "word_l2r"))
    assert original["task"] == other["task"] == "agreement"
    assert original["mean"] > other["mean"] + 0.02
    assert original["difference"] is None
    # Paired by example: examples that are hard for all cancel, so the interval is narrower.
    difference = row_of(full, "span[mean_length=4]", "agreement word_l2r")["difference"]
    assert difference["minimum_detectable_difference"] < 0.9 * (original["high"] - original["low"])


def test_a_further_metric_does_not_have_the_chance_level_of_the_first(tmp_path: Path) -> None:
    values = {"f1": [0.8, 0.01], "accuracy": [0.7, 0.01]}
    outcomes = answers(0.7, "mrpc", "token", 0)
    folder = make_run(tmp_path, "token")
    make_score(folder, "mrpc", outcomes, second=outcomes, metric="f1", metrics=values, chance=0.6)
    metrics = {
        column.name: (column.metric, column.chance)
        for column in compare(tmp_path).tables[0].columns
    }
    assert metrics == {"mrpc f1": ("f1", 0.6), "mrpc accuracy": ("accuracy", None)}


def test_a_diverged_seed_is_left_out_with_a_warning(full: TableSet) -> None:
    row = row_of(full, "rtd")
    assert (row["seeds"], row["excluded"]) == (2, {"diverged": [1]})
    text = render(full)
    assert "left out of the means: rtd, seed 1 (diverged)" in text
    assert "2 of 3" in text


def test_not_applicable_is_never_zero(full: TableSet) -> None:
    row = row_of(full, "rtd", "agreement original")
    assert (row["status"], row["mean"]) == ("not_applicable", None)
    line = next(line for line in render(full).splitlines() if line.startswith("rtd "))
    assert "n/a" in line


def test_the_best_is_marked_only_if_it_is_significantly_different(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.5, "span": 0.9}), "token")
    assert compared.tables[0].best == {"sense": "span"}
    assert row_of(compared, "span")["best"]
    assert row_of(compared, "span")["difference"]["significant"]
    assert compared.tables[0].notes == []


def test_without_a_best_the_minimum_detectable_difference_is_noted(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.5, "span": 0.51, "causal": 0.3}), "token")
    assert compared.tables[0].best == {}
    gap = compared.tables[0].difference("span", "token", "sense")
    assert gap is not None
    smallest = gap.minimum_detectable_difference
    (note,) = compared.tables[0].notes
    assert note == (
        f"sense: span and token are not distinguishable: span is {gap.mean * 100:.1f} higher; "
        f"the minimum detectable difference is {smallest * 100:.1f}"
    )
    assert row_of(compared, "span")["difference"]["minimum_detectable_difference"] == pytest.approx(
        smallest
    )


def test_an_objective_with_one_seed_prevents_a_best(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.3, "span": 0.9})
    make_score(make_run(tmp_path, "rtd"), "sense", answers(0.2, "sense", "rtd", 0))
    compared = compare(tmp_path)
    assert compared.tables[0].best == {}
    assert "one seed is never significant" in " ".join(render(compared).split())


def test_a_seed_of_one_objective_only_may_reverse_the_order(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5, "span": 0.55}, seeds=2)
    make_score(make_run(tmp_path, "token", 2), "sense", answers(0.9, "sense", "token", 2))
    assert "token has the higher mean, but is 10.0 lower on their 2 common seeds" in " ".join(
        render(compare(tmp_path)).split()
    )


def test_one_seed_has_a_warning(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.1, "span": 0.9}, seeds=1), "token")
    assert compared.tables[0].best == {}
    assert row_of(compared, "span")["difference"]["significant"] is False
    for format in ("table", "markdown", "latex"):
        text = " ".join(render(compared, format).split()).replace(r"$\pm$", "±")  # type: ignore[arg-type]
        assert "ONE SEED (token, span): the ± covers test examples only" in text
        assert text.index("ONE SEED") < text.index("scores")
        assert "--seeds 0-2" in text


def test_an_objective_below_a_baseline_is_noted(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5, "span": 0.9, "untrained": 0.2})
    make_score(tmp_path, "sense", answers(0.95, "sense", "bag", 0), baseline="bag_of_words")
    notes = compare(tmp_path).tables[0].notes
    assert notes == ["sense: the best objective, span, is not significantly above bag_of_words"]


def test_a_task_missing_in_some_runs(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5, "span": 0.9})
    for run in read_runs(tmp_path, ["token-tiny-s0", "token-tiny-s2"]):
        make_score(run.folder, "entities", answers(0.4, "entities", "token", run.data["seed"]))
    compared = compare(tmp_path, "span")
    assert row_of(compared, "span", "entities")["status"] == "missing"
    assert row_of(compared, "token", "entities")["difference"] is None
    line = next(line for line in render(compared).splitlines() if line.startswith("token"))
    assert "(n=2)" in line


def test_an_objective_without_a_finished_run_is_shown(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    make_score(make_run(tmp_path, "span", status="diverged"))  # its score does not count
    compared = compare(tmp_path)
    assert row_of(compared, "span")["status"] == "diverged"
    line = next(line for line in render(compared).splitlines() if line.startswith("span"))
    assert line.split() == ["span", "0", "of", "1", "diverged"]


def with_details(out: Path, task: str, details: dict[str, dict[str, Any]], **keys: Any) -> Path:
    """A seed of each objective with these details of its score on a task."""
    for objective, own in details.items():
        known = sorted((out / "runs").glob(f"{objective}-*"))
        folder = known[0] if known else make_run(out, objective)
        make_score(folder, task, details=own, **keys)
    return out


def warned(out: Path, word: str) -> list[str]:
    """The warnings of the only table that have a word."""
    (table,) = compare(out).tables
    return [warning for warning in table.warnings if word in warning]


def test_cut_texts_are_a_warning_with_the_largest_share(tmp_path: Path) -> None:
    shares = {"token": {"texts": 200, "truncated_texts": 25},
              "span": {"texts": 200, "truncated_texts": 50}}  # fmt: skip
    assert warned(with_details(tmp_path, "sense", shares), "cut") == [
        "sense: 25.0% of the texts are longer than what was read of them, and were cut (baselines "
        "without an encoder read all); raise --set encoder.max_length="
    ]


@pytest.mark.parametrize(("cut", "warnings"), [(0, 0), (4, 0), (5, 1), (1_000, 1)])
def test_cut_texts_are_a_warning_from_a_half_per_cent_on(
    tmp_path: Path, cut: int, warnings: int
) -> None:
    details = {"token": {"texts": 1_000, "truncated_texts": cut}}
    assert len(warned(with_details(tmp_path, "sense", details), "cut")) == warnings


def test_every_task_has_its_own_share_of_cut_texts(tmp_path: Path) -> None:
    with_details(tmp_path, "sense", {"token": {"texts": 100, "truncated_texts": 10}})
    with_details(tmp_path, "entities", {"token": {"texts": 100, "truncated_texts": 30}})
    with_details(tmp_path, "agreement", {"token": {"truncated_texts": 30}})  # of an unknown number
    starts = [warning.split(" of the texts")[0] for warning in warned(tmp_path, "cut")]
    assert sorted(starts) == ["entities: 30.0%", "sense: 10.0%"]


def test_cut_texts_are_shown_in_the_comparison(tmp_path: Path) -> None:
    with_details(tmp_path, "sense", {"token": {"texts": 100, "truncated_texts": 10}})
    assert "sense: 10.0% of the texts are longer" in " ".join(render(compare(tmp_path)).split())


LIMITS = {
    "is_edge": "sense: fine-tuning was best at the highest or lowest learning rate for {names}; "
    "widen --set finetune.learning_rates=",
    "is_at_last_epoch": "sense: fine-tuning was best at the last epoch for {names}; "
    "raise --set finetune.max_epochs=",
}


@pytest.mark.parametrize("key", LIMITS)
def test_a_limit_of_fine_tuning_is_a_warning_with_the_objectives(tmp_path: Path, key: str) -> None:
    details = {"token": {key: True}, "span": {key: True}, "causal": {key: False}, "rtd": {}}
    found = warned(with_details(tmp_path, "sense", details), "fine-tuning")
    assert found == [LIMITS[key].format(names="span and token")]


def test_fine_tuning_within_its_limits_has_no_warning(tmp_path: Path) -> None:
    details = {"token": {"is_edge": False, "is_at_last_epoch": False}}
    assert warned(with_details(tmp_path, "sense", details), "fine-tuning") == []


def test_a_limit_that_two_seeds_reach_names_the_objective_once(tmp_path: Path) -> None:
    for seed in range(2):
        make_score(make_run(tmp_path, "token", seed), "sense", details={"is_edge": True})
    assert warned(tmp_path, "fine-tuning") == [LIMITS["is_edge"].format(names="token")]


def test_both_limits_of_fine_tuning_are_two_warnings(tmp_path: Path) -> None:
    details = {"token": {"is_edge": True, "is_at_last_epoch": True}}
    found = warned(with_details(tmp_path, "sense", details), "fine-tuning")
    assert found == [text.format(names="token") for text in LIMITS.values()]


def test_collapsed_seeds_of_fine_tuning_are_counted(tmp_path: Path) -> None:
    seeds = [{"seed": seed, "dev": 0.5, "epochs": 3, "collapsed": True} for seed in range(3)]
    details = {"token": {"seeds": seeds, "collapsed_seeds": [1]},
               "span": {"seeds": seeds, "collapsed_seeds": [0, 1, 2]}}  # fmt: skip
    assert warned(with_details(tmp_path, "sense", details), "collapsed") == [
        "sense, span, seed 0: 3 of 3 fine-tuning seeds collapsed; the mean is over all of them",
        "sense, token, seed 0: 1 of 3 fine-tuning seeds collapsed; the mean is over the others",
    ]


def test_runs_that_are_not_comparable_have_separate_tables(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    for keys in ({"size": "mini"}, {"learning_rate": 1e-3}):
        folder = make_run(tmp_path, "span", **keys)  # type: ignore[arg-type]
        make_score(folder, "sense", answers(0.9, "sense", "span", 0))
    compared = compare(tmp_path, "token")
    assert [len(table.rows) for table in compared.tables] == [1, 1, 1]
    titles = [table.title for table in compared.tables]
    assert titles[0].startswith("Table 1 of 3: corpus micro (abababab), size mini, budget 2.0M")
    assert "they differ in size, training.learning_rate" in titles[0]
    assert "training.learning_rate 0.001" in titles[1]
    assert "no token among these runs" in render(compared)
    only_size = [run for run in read_runs(tmp_path) if "0.001" not in str(run.data["spec"])]
    title = TableSet.from_records(only_size).tables[0].title
    assert title.endswith("Not comparable with the other: they differ in size.")


def test_edited_objective_code_is_another_row(tmp_path: Path) -> None:
    for seed, code in enumerate([HASH, "cd" * 32]):
        make_score(make_run(tmp_path, "span", seed, code=code))
    names = [row.name for row in compare(tmp_path).tables[0].rows]
    assert len(names) == 2
    assert all(name.startswith("span #") for name in names)


def test_other_data_or_probe_is_another_column(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    make_score(folder, probe_settings={"limit": 100, "c": 1})
    make_score(folder, probe_settings={"limit": None, "c": 1})
    make_score(folder, probe_settings={"limit": None, "c": 1}, data_sha256="cd" * 32)
    names = {column.name for column in compare(tmp_path).tables[0].columns}
    assert names == {
        "sense (limit=100, data abababab)",
        "sense (limit=None, data abababab)",
        "sense (limit=None, data cdcdcdcd)",
    }


def test_requested_tasks_are_the_columns_in_their_order(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    for task in ("agreement", "entities", "sense"):
        make_score(folder, task)
    columns = compare(tmp_path, tasks=["sense", "agreement", "unheard_of"]).tables[0].columns
    assert [column.name for column in columns] == ["sense", "agreement"]
    assert len(compare(tmp_path).tables[0].columns) == 3


def test_a_baseline_on_other_data_is_left_out(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    make_score(tmp_path, "sense", baseline="majority", data_sha256="cd" * 32)
    make_score(tmp_path, "sense", baseline="bag_of_words", probe_settings={"c": 3})
    assert [row.name for row in compare(tmp_path).tables[0].rows][1:] == ["bag_of_words"]


def test_a_public_encoder_after_a_stage_on_another_corpus_is_left_out(tmp_path: Path) -> None:
    hashes = {"corpus_sha256": HASH, "tokenizer_sha256": HASH}
    encoder, probe = {"name": "minilm", "sha256": "ef" * 32}, {"probe": "contrastive"}
    for seed in range(2):
        make_score(make_run(tmp_path, seed=seed), probe_settings=probe)
    stages = {"a": None, "b": hashes | {"corpus_sha256": "cd" * 32}, "c": hashes}
    for name, stage in stages.items():
        outcomes = (1.0, 1.0, 1.0, float(name == "c"))
        make_score(
            tmp_path, "sense", outcomes, baseline=f"encoder_{name}", probe_settings=probe,
            encoder=encoder | {"stage": stage},
        )  # fmt: skip
    (table,) = TableSet.from_records(read_runs(tmp_path), read_baselines(tmp_path)).tables
    (row,) = (row for row in table.rows if row.is_public)
    interval = table.cells[row.name, table.columns[0].name].interval
    assert interval is not None
    assert interval.mean == 1.0


def test_values_that_are_not_means_of_outcomes_are_compared_as_values(tmp_path: Path) -> None:
    for objective, value in (("token", 0.5), ("span", 0.7)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed)
            outcomes = answers(0.5, "x", objective, seed)
            make_score(folder, "sense", outcomes, value=value + seed / 100, stderr=0.01)
    gap = row_of(compare(tmp_path, "token"), "span")["difference"]
    assert gap["mean"] == pytest.approx(0.2)
    # Both variances between seeds are 1e-4, with 2 + 2 degrees of freedom in all.
    sampling = 1.959964**2 * 2e-4
    assert gap["minimum_detectable_difference"] == pytest.approx(
        (2.776445**2 * 2e-4 / 3 + sampling) ** 0.5, rel=1e-5
    )
    own = row_of(compare(tmp_path, "token", intervals="own"), "span")["difference"]
    # The differences of the three seeds are all 0.2, so only the sampling error is left.
    assert own["minimum_detectable_difference"] == pytest.approx(sampling**0.5, rel=1e-5)


def test_a_run_given_twice_counts_once(tmp_path: Path) -> None:
    runs = read_runs(small(tmp_path, {"token": 0.5}))
    assert long_form(TableSet.from_records(runs + runs)) == long_form(TableSet.from_records(runs))
