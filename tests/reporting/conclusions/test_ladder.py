"""Ladders: which tables are rungs, and how well a rung predicts the order at the next one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.reporting.conclusions.ladder import TOGETHER, Ladder, ladders_of, rung_name
from bench.reporting.text import render
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, compare

TOKENS = {"tiny": 1_000_000, "mini": 4_000_000, "small": 16_000_000}
LOW = {"token": 20, "span": 50, "causal": 70}
HIGH = {"token": 30, "span": 55, "causal": 90}
"""The order of LOW, in points."""
REVERSED = {"token": 90, "span": 55, "causal": 30}


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a test need not survive a power failure, and fsync is most of their time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def rung(
    out: Path, size: str, corpus: str = "micro", tuned: str = "", **tasks: Mapping[str, int]
) -> None:
    """Two seeds of each objective, with these points on 100 examples of each task."""
    for objective in dict.fromkeys(name for points in tasks.values() for name in points):
        for seed in range(2):
            spec: dict[str, Any] = {}
            if tuned:
                spec["spec"] = {"size": size, "seed": seed, "tuned": [tuned]}
            folder = make_run(
                out, objective, seed, size=size, corpus=corpus, tokens=TOKENS[size],
                budget_tokens=float(TOKENS[size]), learning_rate=2e-3 if tuned else 4e-3, **spec,
            )  # fmt: skip
            for task, points in tasks.items():
                if objective in points:
                    number = points[objective]
                    make_score(folder, task, [1.0] * number + [0.0] * (100 - number))


def ladder_of(out: Path) -> Ladder:
    (ladder,) = ladders_of(compare(out).tables)
    return ladder


def agreement(out: Path, task: str = "sense") -> tuple[int, float]:
    """Number of objectives and decision accuracy of the lowest rung."""
    count, found = ladder_of(out).agreement(0)[task]
    return count, found.value


def test_rungs_rise_in_flops(tmp_path: Path) -> None:
    rung(tmp_path, "mini", sense=HIGH)
    rung(tmp_path, "tiny", sense=LOW)
    ladder = ladder_of(tmp_path)
    assert [rung_name(table) for table in ladder.tables] == [
        "tiny, 1.0M tokens",
        "mini, 4.0M tokens",
    ]
    assert ladder.flops == [6.5e11, 2.6e12]


def test_one_size_is_no_ladder(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    assert ladders_of(compare(tmp_path).tables) == []


def test_two_budgets_of_one_size_are_no_ladder(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    make_score(make_run(tmp_path, "token", budget_tokens=2e6))
    tables = compare(tmp_path).tables
    assert len(tables) == 2
    assert ladders_of(tables) == []


def test_two_corpora_are_no_ladder(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    rung(tmp_path, "mini", corpus="wikitext", sense=HIGH)
    assert ladders_of(compare(tmp_path).tables) == []


def test_two_corpora_at_two_sizes_are_two_ladders(tmp_path: Path) -> None:
    for corpus in ("micro", "wikitext"):
        rung(tmp_path / corpus, "tiny", corpus, sense=LOW)
        rung(tmp_path / corpus, "mini", corpus, sense=HIGH)
    tables = [table for name in ("micro", "wikitext") for table in compare(tmp_path / name).tables]
    found = ladders_of(tables)
    assert [[table in ladder.tables for table in tables] for ladder in found] == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_tuned_and_shared_settings_are_two_ladders(tmp_path: Path) -> None:
    """Else the step from shared to tuned settings would be one from a rung to the next."""
    for tuned in ("", "training.learning_rate=0.001,0.002"):
        for size in ("tiny", "mini"):
            rung(tmp_path, size, tuned=tuned, sense=LOW)
    ladders = ladders_of(compare(tmp_path).tables)
    names = [rung_name(table) for ladder in ladders for table in ladder.tables]
    assert names == ["tiny, 1.0M tokens", "mini, 4.0M tokens"] * 2


def test_a_rung_without_scores_is_none(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    make_run(tmp_path, "token", size="mini", corpus="micro")
    assert ladders_of(compare(tmp_path).tables) == []


def test_the_same_order_agrees(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    rung(tmp_path, "mini", sense=HIGH)
    assert agreement(tmp_path) == (3, 1.0)


def test_the_reversed_order_does_not_agree(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    rung(tmp_path, "mini", sense=REVERSED)
    assert agreement(tmp_path) == (3, 0.0)


def test_one_exchanged_pair_of_three_leaves_two_thirds(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    rung(tmp_path, "mini", sense={"token": 30, "span": 90, "causal": 55})
    assert agreement(tmp_path)[1] == pytest.approx(2 / 3)


def test_an_objective_of_one_rung_does_not_count(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW | {"whole_word": 10})
    rung(tmp_path, "mini", sense=HIGH)
    assert agreement(tmp_path) == (3, 1.0)


def test_an_order_that_seeds_leave_open_has_a_wide_interval(tmp_path: Path) -> None:
    for size in ("tiny", "mini"):
        for objective in ("token", "span"):
            for seed in range(3):
                folder = make_run(
                    tmp_path, objective, seed, size=size, tokens=TOKENS[size], corpus="micro"
                )
                level = 0.5 + (objective == "span") / 100 + seed / 10
                make_score(folder, "sense", answers(level, "sense", objective, seed))
    _, found = ladder_of(tmp_path).agreement(0)["sense"]
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_best_predictor_is_first(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", bad=LOW, good=LOW, sense={"token": 20, "span": 70, "causal": 50})
    rung(tmp_path, "mini", bad=REVERSED, good=HIGH, sense=HIGH)
    found = ladder_of(tmp_path).agreement(0)
    assert [name for name in found if name != TOGETHER] == ["good", "sense", "bad"]


def test_all_tasks_together_are_a_predictor(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", one={"token": 90, "span": 60}, two={"token": 60, "span": 70})
    rung(tmp_path, "mini", one={"token": 70, "span": 80}, two={"token": 90, "span": 70})
    # The means are 75 and 65 at the first rung, 80 and 75 at the second; each task reverses.
    assert {name: found.value for name, (_, found) in ladder_of(tmp_path).agreement(0).items()} == {
        TOGETHER: 1.0, "one": 0.0, "two": 0.0,
    }  # fmt: skip


def test_three_rungs_are_extrapolated_along_a_line(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense={"token": 20, "span": 60})
    rung(tmp_path, "mini", sense={"token": 40, "span": 65})
    assert ladder_of(tmp_path).extrapolated() == {}
    rung(tmp_path, "small", sense={"token": 60, "span": 70})
    ladder = ladder_of(tmp_path)
    assert ladder.next_flops == pytest.approx(4 * ladder.flops[-1])
    found = {name: one.value for name, one in ladder.extrapolated()["sense"].items()}
    assert found == pytest.approx({"token": 0.8, "span": 0.75})


def test_the_text_shows_each_step_with_its_pairs(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    rung(tmp_path, "mini", sense=HIGH)
    text = render(compare(tmp_path))
    section = text[text.index("A ladder of 2 rungs: does the small ranking hold?") :]
    assert "does the order hold?" in section
    (line,) = [line for line in section.splitlines() if line.startswith("tiny, 1.0M tokens")]
    assert " ".join(line.split()) == (
        "tiny, 1.0M tokens -> mini, 4.0M tokens sense 3 1.00 (1.00 to 1.00)"
    )


def test_the_text_of_one_size_has_no_ladder(tmp_path: Path) -> None:
    rung(tmp_path, "tiny", sense=LOW)
    assert "ladder" not in render(compare(tmp_path))


def test_another_version_of_a_task_is_not_compared(tmp_path: Path) -> None:
    for size, data in (("tiny", "ab"), ("mini", "cd")):
        for objective, level in (("token", 0.2), ("span", 0.5), ("causal", 0.8)):
            for seed in range(2):
                folder = make_run(
                    tmp_path, objective, seed, size=size, corpus="micro", tokens=TOKENS[size]
                )
                make_score(folder, "same", answers(level, "same", objective, seed))
                sense = answers(level, "sense", objective, seed)
                make_score(folder, "sense", sense, data_sha256=data * 32)
    ladder = ladder_of(tmp_path)
    assert set(ladder.agreement(0)) == {"same"}
    assert ladder.scores("sense") == {}
    assert len(ladder.scores("same")) == 3
    text = " ".join(render(compare(tmp_path)).split())
    assert "Not compared, because data, probe or code differ between rungs: sense" in text


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    for size in ("tiny", "mini"):
        for objective, number in (("token", 20), ("span", 50)):
            folder = make_run(tmp_path, objective, size=size, corpus="micro", tokens=TOKENS[size])
            make_score(folder, "sense", [1.0] * number + [0.0] * (100 - number))
    assert "sense 1 1.00 (one seed)" in " ".join(render(compare(tmp_path)).split())
