"""Score over budget, from records to tables, files of numbers and the figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.reporting.curves import whole_command
from bench.reporting.figures.curves import over_budget
from bench.reporting.long_form import long_form
from bench.reporting.rendering.curve_blocks import curve_blocks
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from tests.records.test_store import make_run, make_score
from tests.reporting.figures.test_figures import numbers_of
from tests.reporting.test_text import answers, compare

LEVELS = {
    "causal": {1e5: 0.5, 2e5: 0.55, 4e5: 0.6},
    "token": {1e5: 0.15, 2e5: 0.3, 4e5: 0.95},
    "span": {2e5: 0.3, 4e5: 0.5},
}


def build(out: Path, untrained: tuple[float, ...] = (4e5,), seeds: int = 3) -> Path:
    """A curve of three budgets; the smallest lacks one objective."""
    for seed in range(seeds):
        for objective, levels in LEVELS.items():
            for budget, level in levels.items():
                folder = make_run(out, objective, seed, tokens=int(budget), budget_tokens=budget)
                make_score(folder, "sense", answers(level, "sense", objective, seed))
        for budget in untrained:
            folder = make_run(out, "untrained", seed, tokens=0, budget_tokens=budget)
            make_score(folder, "sense", answers(0.1, "sense", "untrained", seed))
            make_score(folder, "scored_once", answers(0.1, "scored_once", "untrained", seed))
    make_score(out, "sense", answers(0.3, "sense", "majority", 0), baseline="majority")
    return out


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    return compare(build(tmp_path_factory.mktemp("results")), "untrained")


def test_every_budget_has_a_table_with_the_untrained_encoder(compared: TableSet) -> None:
    (curve,) = compared.curves
    assert curve.budgets == [1e5, 2e5, 4e5]
    assert curve.tables == compared.tables[::-1]  # the largest budget is read first
    for table in compared.tables:
        names = [row.name for row in table.rows]
        assert names[-2:] == ["untrained", "majority"]
        assert len(table.rows[-2].runs) == 3
        assert table.difference_to == "untrained"
    # A task that only an untrained encoder of another budget was scored on is no column.
    columns = [[column.name for column in table.columns] for table in compared.tables]
    assert columns == [["sense", "scored_once"], ["sense"], ["sense"]]
    assert sum(row["display_name"] == "untrained" for row in long_form(compared)) == 4


def test_a_budget_with_its_own_untrained_encoder_uses_it(tmp_path: Path) -> None:
    tables = compare(build(tmp_path, (1e5, 4e5), seeds=1)).tables
    budgets = [
        {run.data["budget"]["amount"] for row in table.rows if row.kind == "untrained"
         for run in row.runs} for table in tables
    ]  # fmt: skip
    assert budgets[0] == {4e5}
    assert budgets[2] == {1e5}


def test_other_corpora_and_single_budgets_are_no_curve(tmp_path: Path) -> None:
    for number, budget in enumerate((1e5, 2e5)):
        folder = make_run(tmp_path, "token", budget_tokens=budget, corpus_sha256=f"{number}" * 64)
        make_score(folder, "sense")
    table_set = compare(tmp_path)
    assert table_set.curves == []
    assert "together" not in render(table_set)


def test_score_over_budget_follows_the_tables(compared: TableSet) -> None:
    text = render(compared)
    section = text[text.index("Tables 1 to 3 together") :]
    first, second, third = (
        table.cells["token", "sense"].interval.mean * 100  # type: ignore[union-attr]
        for table in compared.curves[0].tables
    )
    (row,) = [line for line in section.splitlines() if line.startswith("sense: token")]
    assert [part.split()[0] for part in row.split("   ") if "±" in part] == [
        f"{first:.1f}", f"{second:.1f}", f"{third:.1f}"
    ]  # fmt: skip
    (missing,) = [line for line in section.splitlines() if line.startswith("sense: span")]
    assert " - " in missing
    assert section.index("score over tokens") < section.index("crossings")


def test_the_crossing_is_in_every_format(compared: TableSet) -> None:
    crossed = [row for row in long_form(compared) if row["crossings"]]
    assert {row["display_name"] for row in crossed} >= {"token", "causal"}
    (crossing,) = [one for one in crossed[0]["crossings"] if one["ahead_before"] == "causal"
                   and one["ahead_after"] == "token"]  # fmt: skip
    assert crossing["shown"]
    assert 2e5 < crossing["low"] < crossing["at"] < crossing["high"] < 4e5
    assert {row["budget"] for row in crossed} == {400_000}
    (line,) = [
        line for line in render(compared).splitlines()
        if line.startswith("sense") and "causal" in line and "token" in line
    ]  # fmt: skip
    assert "k to " in line
    assert "ahead after" in render(compared, "markdown")
    assert "ahead after" in render(compared, "latex")
    assert json.dumps(crossed[0]["crossings"], sort_keys=True).replace('"', '""') in render(
        compared, "csv"
    )


def test_the_figure_has_all_points_and_all_costs(compared: TableSet) -> None:
    drawn = over_budget(compared.curves[0])
    assert drawn is not None
    assert drawn.svg.count('id="axes_') == 4  # a task without trained scores has no row
    assert "token passes causal at" in drawn.alt
    data = numbers_of(drawn).query("column == 'sense'").set_index(["display_name", "budget"])
    for table, budget in zip(compared.curves[0].tables, compared.curves[0].budgets, strict=True):
        interval = table.cells["token", "sense"].interval
        assert interval is not None
        assert data.loc[("token", budget), "mean"] == pytest.approx(interval.mean)
        assert data.loc[("token", budget), "tokens"] == budget


def test_the_budget_to_reach_a_final_score_lies_on_the_curve(tmp_path: Path) -> None:
    """`span` rises by 20 points with each doubling, so it has 50 points 1.5 doublings after 1e5."""
    points = {"token": (10, 20, 50), "span": (20, 40, 60), "causal": (10, 20, 40)}
    for objective, levels in points.items():
        for budget, level in zip((1e5, 2e5, 4e5), levels, strict=True):
            for seed in range(2):
                folder = make_run(
                    tmp_path, objective, seed, tokens=int(budget), budget_tokens=budget
                )
                make_score(folder, "sense", [1.0] * level + [0.0] * (100 - level))
    table_set = compare(tmp_path, "token")
    (block,) = [b for b in curve_blocks(table_set.curves[0]) if b.heading.startswith("budget to")]
    assert block.heading == "budget to reach token"
    share = f"{2**1.5 * 1e5 / 4e5:.2f}"
    assert share == "0.71"
    assert sorted(block.rows) == [["causal", "> 1"], ["span", f"{share} ({share} to {share})"]]
    assert (
        "share of 400k tokens at which an objective reaches the final score of token"
        in " ".join(render(table_set).split())
    )


def test_a_share_says_no_more_than_the_budgets_that_were_run(tmp_path: Path) -> None:
    """One seed has no interval; `span` lacks the smallest budget, and `causal` the others."""
    points = {
        "token": {1e5: 50, 2e5: 60, 4e5: 70},
        "span": {2e5: 80, 4e5: 90},
        "causal": {1e5: 50},
        "prefix_lm": {1e5: 50, 2e5: 60, 4e5: 80},
    }
    for objective, levels in points.items():
        for budget, level in levels.items():
            folder = make_run(tmp_path, objective, tokens=int(budget), budget_tokens=budget)
            make_score(folder, "sense", [1.0] * level + [0.0] * (100 - level))
    (curve,) = compare(tmp_path, "token").curves
    (block,) = [b for b in curve_blocks(curve) if b.heading.startswith("budget to")]
    assert sorted(block.rows) == [
        ["causal", "> 0.25"],
        ["prefix_lm", "0.71 (one seed)"],
        ["span", "at most 0.50"],
    ]


def test_one_command_makes_the_whole_curve(compared: TableSet) -> None:
    for table in compared.tables:
        assert whole_command(compared.curves, table) == (compared.tables[0], " --curve 3")
    assert whole_command([], compared.tables[1]) == (compared.tables[1], "")
