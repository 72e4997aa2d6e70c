"""Tuned rows: the trials, their cost, choices at an edge, and the orders that tuning reverses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.reporting.conclusions.tuned import trial_rows
from bench.reporting.table import Table
from bench.reporting.text import render
from tests.records.test_store import HASH, make_run, make_score
from tests.reporting.test_text import compare

LABEL = "training.learning_rate=0.001,0.002,0.004"
NO_REVERSAL = "Tuning reverses no pair"


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a test need not survive a power failure, and fsync is most of their time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def trials(rate: float = 0.002, **keys: Any) -> dict[str, Any]:
    """Three trials as in the record of a run, of which the last one diverged."""
    name = "training.learning_rate"
    return {
        "settings": [LABEL],
        "on": "loss",
        "trials": [[f"{name}=0.001", 5.0], [f"{name}=0.002", 4.25], [f"{name}=0.004", None]],
        "chosen": f"{name}={rate}",
        "edges": [],
        "tokens": 30_000.0,
        "seconds": 12.4,
    } | keys


def build(
    out: Path,
    points: Mapping[str, int | tuple[int, ...]],
    tuning: Mapping[str, Any] | None = None,
    budget: float = 2e6,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Two seeds of each objective, with these points on 100 examples of each task."""
    rate, own = 4e-3 if tuning is None else 2e-3, dict(settings or {})
    for objective, numbers in points.items():
        for seed in range(2):
            spec: dict[str, Any] = {
                "objective": objective, "settings": own, "objective_code": HASH, "seed": seed,
                "size": "tiny", "training": {"learning_rate": rate},
                "budget": {"axis": "tokens", "amount": budget},
            }  # fmt: skip
            tuned = {} if tuning is None else {"tuned": [LABEL]}
            folder = make_run(
                out, objective, seed, objective + "[rate=0.3]" * bool(own), own,
                learning_rate=rate, budget_tokens=budget,
                tokens=1000 * (objective != "untrained"), spec=spec | tuned,
                tuning=tuning if objective != "untrained" else None,
            )  # fmt: skip
            for place, number in enumerate(numbers if isinstance(numbers, tuple) else (numbers,)):
                make_score(folder, f"task_{place}", [1.0] * number + [0.0] * (100 - number))
    return out


def tables_of(out: Path) -> tuple[Table, Table]:
    """The table with shared settings, and the tuned one."""
    shared, tuned = sorted(compare(out).tables, key=lambda table: bool(trial_rows(table)))
    return shared, tuned


def test_a_reversal_is_named_with_both_differences(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50, "causal": 20})
    build(tmp_path, {"token": 60, "span": 75, "causal": 20}, trials())
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0] == (
        "ranks with shared settings: token > span > causal; with tuned settings: span > token > "
        "causal. Reversed by tuning: span and token (shared -30.0, tuned +15.0)"
    )


def test_every_reversed_pair_is_named(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50, "causal": 20})
    build(tmp_path, {"token": 20, "span": 50, "causal": 80}, trials())
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0].endswith(
        "Reversed by tuning: causal and span (shared -30.0, tuned +30.0); causal and token (shared "
        "-60.0, tuned +60.0); span and token (shared -30.0, tuned +30.0)"
    )


def test_the_same_order_is_no_reversal(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50})
    build(tmp_path, {"token": 90, "span": 85}, trials())
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0] == (
        "ranks with shared settings: token > span; with tuned settings: token > span. "
        f"{NO_REVERSAL}"
    )


def test_over_several_tasks_their_mean_is_compared(tmp_path: Path) -> None:
    """On the first task alone nothing is reversed. From chance (50) to the best of a task, token
    has 100 and 100 (tuned 100 and 25), and span 50 and 33.3 (tuned 75 and 100).
    """
    build(tmp_path, {"token": (90, 80), "span": (70, 60)})
    build(tmp_path, {"token": (90, 60), "span": (80, 90)}, trials())
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0].endswith("Reversed by tuning: span and token (shared -58.3, tuned +25.0)")


def test_the_untrained_encoder_has_no_rank(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50, "untrained": 65})
    build(tmp_path, {"token": 80, "span": 50, "untrained": 10}, trials())
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0].endswith(NO_REVERSAL)


def test_variants_of_an_objective_are_told_apart(tmp_path: Path) -> None:
    build(tmp_path, {"span": 80, "token": 50})
    build(tmp_path, {"span": 80, "token": 50}, trials())
    for tuning in (None, trials()):
        build(tmp_path, {"span": 20}, tuning, settings={"rate": 0.3})
    _, tuned = tables_of(tmp_path)
    order = "span > token > span[rate=0.3]"
    assert tuned.notes[0] == (
        f"ranks with shared settings: {order}; with tuned settings: {order}. {NO_REVERSAL}"
    )


def test_an_objective_whose_own_setting_is_tuned_is_the_same(tmp_path: Path) -> None:
    build(tmp_path, {"span": 80, "token": 50})
    build(tmp_path, {"token": 50}, trials())
    build(tmp_path, {"span": 20}, trials(), settings={"rate": 0.3})
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0].endswith("Reversed by tuning: span and token (shared +30.0, tuned -30.0)")


def test_the_note_stands_below_the_tuned_table_alone(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50})
    build(tmp_path, {"token": 50, "span": 80}, trials())
    shared, _ = tables_of(tmp_path)
    assert not [note for note in shared.notes if "tuning" in note]


def test_another_budget_is_not_compared(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50}, budget=1e6)
    build(tmp_path, {"token": 50, "span": 80}, trials())
    _, tuned = tables_of(tmp_path)
    assert not [note for note in tuned.notes if "tuning" in note]


def test_one_common_objective_has_no_order(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50})
    build(tmp_path, {"token": 50, "causal": 80}, trials())
    _, tuned = tables_of(tmp_path)
    assert not [note for note in tuned.notes if "tuning" in note]


def test_a_choice_at_an_edge_is_a_warning(tmp_path: Path) -> None:
    edge = "training.learning_rate=0.001"
    build(tmp_path, {"token": 80}, trials(0.001, edges=[edge]))
    build(tmp_path, {"span": 50}, trials())
    (table,) = compare(tmp_path).tables
    assert [text for text in table.warnings if "tuning" in text] == [
        f"token: tuning chose {edge}, at the edge of what was tried; a better value may lie "
        "outside, so widen --tune"
    ]


def test_a_choice_inside_the_bracket_is_no_warning(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50}, trials())
    (table,) = compare(tmp_path).tables
    assert not [text for text in table.warnings if "tuning" in text]


def test_trials_are_listed_with_their_cost(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "untrained": 50}, trials())
    (table,) = compare(tmp_path).tables
    assert trial_rows(table) == [
        ["token", "training.learning_rate=0.002", "0.001: 5.000; 0.002: 4.250; 0.004: diverged",
         "30.0k tokens, 12 s"]
    ]  # fmt: skip


def test_trials_of_two_settings_are_named_in_full(tmp_path: Path) -> None:
    both = "training.learning_rate=0.001, training.weight_decay=0.1"
    settings = [LABEL, "training.weight_decay=0.01,0.1"]
    build(tmp_path, {"token": 80}, trials(settings=settings, trials=[[both, 4.0]]))
    (table,) = compare(tmp_path).tables
    assert trial_rows(table)[0][2] == f"{both}: 4.000"


def test_the_text_has_warning_trials_and_reversals(tmp_path: Path) -> None:
    build(tmp_path, {"token": 80, "span": 50})
    build(tmp_path, {"token": 50, "span": 80}, trials(edges=["training.learning_rate=0.002"]))
    flat = " ".join(render(compare(tmp_path)).split())
    assert "token: tuning chose training.learning_rate=0.002, at the edge" in flat
    assert "cost of the trials" in flat
    assert "0.001: 5.000; 0.002: 4.250; 0.004: diverged" in flat
    assert "Reversed by tuning: span and token (shared -30.0, tuned +30.0)" in flat


def test_a_reversal_within_the_noise_is_called_so(tmp_path: Path) -> None:
    build(tmp_path, {"token": 70, "span": 71})
    build(tmp_path, {"token": 71, "span": 70}, trials())
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0].endswith(
        f"{NO_REVERSAL}. In another order, but not significantly so in both: span and token "
        "(shared +1.0, tuned -1.0)"
    )


def test_the_same_task_is_compared(tmp_path: Path) -> None:
    """Both tables begin with another task, and the task of both has another place in each."""
    build(tmp_path, {"token": (20, 80), "span": (90, 50)})
    build(tmp_path, {"token": (20, 50), "span": (90, 80)}, trials())
    for score in tmp_path.glob("runs/*/scores/*"):
        data = json.loads(score.read_text()) if score.suffix == ".json" else {"task": ""}
        run = json.loads((score.parents[1] / "run.json").read_text())
        if data["task"] == "task_0" and "tuned" in run["spec"]:
            score.unlink()
    _, tuned = tables_of(tmp_path)
    assert tuned.notes[0].endswith("Reversed by tuning: span and token (shared -30.0, tuned +30.0)")
