"""The verdict and the next step agree with the table, on own labels first."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.records.store import read_runs
from bench.reporting.conclusions.verdict import Verdict, verdict
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score
from tests.reporting.figures.test_figures import compare
from tests.reporting.test_text import answers, small


def verdict_of(out: Path, **keys: Any) -> Verdict:
    return verdict(compare(out, **keys).tables[0], "my out")


def test_a_clear_winner(tmp_path: Path) -> None:
    clear = small(tmp_path, {"token": 0.2, "span": 0.9, "untrained": 0.1})
    found = verdict_of(clear)
    (line,) = found.lines
    assert re.fullmatch(
        r"sense: span \(9\d\.\d\) is significantly above every other objective, and above "
        r"untrained by 8\d\.\d points\. Below it: token\.",
        line,
    )
    assert found.next_step.text.startswith("4 x the budget, to see whether the lead holds")
    words = shlex.split(found.next_step.command)
    assert words[:6] == ["bench", "run", "--objective", "span", "--objective", "token"]
    assert words[words.index("--budget") + 1] == "8000000"
    assert words[-2:] == ["--out", "my out"]


def test_a_tie_and_the_seeds_that_would_decide_it(tmp_path: Path) -> None:
    for objective, level in (("token", 0.50), ("span", 0.53), ("untrained", 0.1)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            make_score(folder, "sense", answers(level + seed / 50, "sense", objective, 0, 4000))
    found = verdict_of(tmp_path)
    assert "span" in found.lines[0]
    assert "leads, not distinguishable from token, and above untrained by" in found.lines[0]
    assert "more seeds of span and token (about" in found.next_step.text
    assert "would show a difference of" in found.next_step.text
    command = shlex.split(found.next_step.command)
    last = int(command[command.index("--seeds") + 1].split("-")[1])
    assert f"{last + 1 - 3} more seeds" in found.next_step.text


def test_nothing_is_best_that_is_not_above_the_untrained_encoder(tmp_path: Path) -> None:
    found = verdict_of(small(tmp_path, {"token": 0.2, "span": 0.5, "untrained": 0.9}))
    assert "no objective is worth its pretraining here yet: the highest, span (" in found.lines[0]
    assert "is below untrained by" in found.lines[0]
    reason = "because on sense nothing is significantly above untrained"
    assert found.next_step.text.startswith(f"4 x the budget, {reason}")


def test_one_seed_two_objectives_and_none(tmp_path: Path) -> None:
    one = verdict_of(small(tmp_path / "a", {"token": 0.1, "span": 0.9, "untrained": 0.1}, seeds=1))
    assert "one seed shows no difference; the highest is span" in one.lines[0]
    assert one.next_step.text.startswith("two more seeds of each objective (about")
    assert "--seeds 0-2" in one.next_step.command
    alone = verdict_of(small(tmp_path / "b", {"span": 0.9, "untrained": 0.1}))
    assert "is the only objective, and above untrained by" in alone.lines[0]
    nothing = verdict_of(small(tmp_path / "c", {"untrained": 0.1}))
    assert nothing.lines == ("No pretrained objective finished, so there is nothing to rank.",)
    assert str(nothing) == nothing.lines[0]


def test_own_labels_come_first_and_baselines_are_named(tmp_path: Path) -> None:
    for objective, level in (("token", 0.6), ("span", 0.55), ("untrained", 0.5)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            make_score(folder, "sense", answers(level, "sense", objective, seed))
            make_score(folder, "mine", answers(level, "mine", objective, seed), is_own=True)
    words = answers(0.85, "mine", "words", 0)
    make_score(tmp_path, "mine", words, baseline="bag_of_words", is_own=True)
    table = TableSet.from_records(read_runs(tmp_path), _baselines(tmp_path)).tables[0]
    first, second = verdict(table).lines
    assert first.startswith("mine (your labels): no objective is worth its pretraining here yet")
    assert "below bag_of_words by" in first
    assert second.startswith("sense: ")
    assert "nothing is significantly above bag_of_words" in verdict(table).next_step.text


def _baselines(out: Path) -> list[Any]:
    from bench.records.scores import read_baselines

    return read_baselines(out)


@pytest.mark.parametrize("text", ["text", "repr", "html"])
def test_every_format_has_the_verdict(tmp_path: Path, text: str) -> None:
    from bench.reporting.rendering.overview import overview_html, overview_text
    from bench.reporting.text import render

    compared = compare(small(tmp_path, {"token": 0.2, "span": 0.9, "untrained": 0.1}))
    shown = {"text": render, "repr": overview_text, "html": overview_html}[text](compared)
    flat = " ".join(shown.split())
    assert "is significantly above every other objective" in flat
    assert ("Next: 4 x the budget" in flat) == (text != "repr")  # a screen has no room for it


def test_a_command_is_one_line_in_the_terminal(tmp_path: Path) -> None:
    from bench.reporting.text import render

    compared = compare(small(tmp_path, {"token": 0.2, "span": 0.9, "untrained": 0.1}))
    lines = [line for line in render(compared, width=60).splitlines() if "bench run" in line]
    (line,) = lines
    assert "--out" in line
    assert "--objective span" in line


def test_a_continued_checkpoint_is_compared_with_itself(tmp_path: Path) -> None:
    for objective, level in (("token", 0.5), ("span", 0.55), ("untrained", 0.1)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            for task in ("sense", "order"):
                make_score(folder, task, answers(level + seed / 50, task, objective, 0, 4000))
    table = compare(tmp_path).tables[0]
    assert "above the untrained encoder (order and sense)" in verdict(table, "out").lines[0]
    for row in table.rows:
        for run in row.runs:
            run.data["spec"]["init"] = {"family": "bert", "sha256": "0" * 64}
    assert "above the checkpoint itself (order and sense)" in verdict(table, "out").lines[0]


def test_no_gain_is_stated_without_an_untrained_encoder(tmp_path: Path) -> None:
    """Else every task would count, because nothing is there that an objective is not above."""
    for objective, level in (("token", 0.5), ("span", 0.55), ("untrained", 0.1)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            for task in ("sense", "order"):
                if (objective, task) != ("untrained", "order"):
                    make_score(folder, task, answers(level + seed / 50, task, objective, 0, 4000))
    make_score(tmp_path, "sense", answers(0.2, "sense", "majority", 0, 4000), baseline="majority")
    said = verdict(compare(tmp_path).tables[0], "out").lines[0]
    assert "On 1 of 2 tasks" in said
    assert "above the untrained encoder and every baseline (sense)" in said
    for run in tmp_path.glob("runs/untrained-*"):
        shutil.rmtree(run)
    said = verdict(compare(tmp_path, baseline=None).tables[0], "out").lines[0]
    assert "No untrained encoder is among the records, so no gain over it is stated." in said
    assert "significantly above" not in said.split("No untrained")[1]


def test_an_untrained_encoder_of_other_seeds_is_not_beaten(tmp_path: Path) -> None:
    for objective, level, seeds in (("token", 0.8, (0, 1, 2)), ("untrained", 0.7, (5, 6, 7))):
        for seed in seeds:
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            make_score(folder, "sense", answers(level, "sense", objective, seed))
    (line,) = verdict_of(tmp_path).lines
    assert "no objective is worth its pretraining here yet" in line
    assert "is without a seed in common with untrained" in line


def test_the_verdict_says_which_objective_and_baseline_it_lacks(tmp_path: Path) -> None:
    levels = {"token": 0.5, "span": 0.7, "rtd": 0.9, "untrained": 0.1}
    for objective, level in levels.items():
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            for task in ("one", "two", "three"):
                if (objective, task) != ("rtd", "three"):
                    make_score(folder, task, answers(level, task, objective, seed, 4000))
    make_score(tmp_path, "one", answers(0.2, "one", "m", 0, 4000), baseline="majority")
    (line,) = verdict_of(tmp_path).lines
    assert "span is significantly above every other objective; below it: token; " in line
    assert "not compared: rtd (no score on three). " in line
    assert (
        "and every baseline (one, two and three; no baseline was scored on two and three)." in line
    )


def test_nothing_is_significantly_best_below_the_untrained_encoder(tmp_path: Path) -> None:
    for objective, level in (("token", 0.1), ("span", 0.35), ("untrained", 0.9)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            for task in ("one", "two"):
                make_score(folder, task, answers(level, task, objective, seed, 4000), chance=0.5)
    (line,) = verdict_of(tmp_path).lines
    assert "no objective is best on any" in line
    assert "On none of the 2" in line


def test_own_labels_are_not_among_the_tasks_together(tmp_path: Path) -> None:
    levels = {"token": (0.8, 0.62), "span": (0.6, 0.72), "untrained": (0.3, 0.3)}
    for objective, (own, other) in levels.items():
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            for task in ("m1", "m2", "m3"):
                make_score(folder, task, answers(own, task, objective, seed), is_own=True)
            for task in ("a", "b"):
                make_score(folder, task, answers(other, task, objective, seed))
    *_, line = verdict_of(tmp_path).lines
    assert line.startswith("Over 2 tasks together: span is significantly above every other")
    (table,) = compare(tmp_path).tables
    assert [(one.name, len(one.tasks)) for one in table.aggregates] == [
        ("all tasks", 5),
        ("all but your labels", 2),
    ]


def test_a_suite_is_not_all_tasks(tmp_path: Path) -> None:
    """`span` lacks a task, so nothing is said about all tasks together."""
    for objective, level in (("token", 0.8), ("span", 0.6), ("untrained", 0.3)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            for task in ("a", "b", "c"):
                if objective != "span" or task != "c":
                    make_score(folder, task, answers(level, task, objective, seed))
    suites = {"part": ["a", "b"]}
    found = verdict(TableSet.from_records(read_runs(tmp_path), suites=suites).tables[0])
    assert "together" not in found.lines[0]
    assert found.lines[0].startswith("On 3 tasks: significantly best: token on a and b")


def test_what_is_not_compared_on_one_task_is_named(tmp_path: Path) -> None:
    for objective, level in (("token", 0.9), ("span", 0.3), ("untrained", 0.1)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed, tokens=1000 * (objective != "untrained"))
            make_score(folder, "sense", answers(level, "sense", objective, seed))
    for seed in range(3):
        make_run(tmp_path, "causal", seed)
        make_run(tmp_path, "rtd", seed, status="diverged")
    first, second = verdict_of(tmp_path).lines
    assert first == "Diverged, so not counted: rtd (3 of 3 seeds)."
    assert second.endswith("Not compared, for want of a score: causal.")


def test_more_seeds_are_other_seeds(tmp_path: Path) -> None:
    for objective, level in (("token", 0.5), ("span", 0.6), ("untrained", 0.1)):
        folder = make_run(tmp_path, objective, 5, tokens=1000 * (objective != "untrained"))
        make_score(folder, "sense", answers(level, "sense", objective, 5))
    command = shlex.split(verdict_of(tmp_path).next_step.command)
    assert command[command.index("--seeds") + 1] == "0,1,5"
