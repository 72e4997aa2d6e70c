from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.records.scores import read_baselines
from bench.records.store import read_runs
from bench.reporting.figures import cost, forest, style
from bench.reporting.figures import data as figure_data
from bench.reporting.figures import scores as figures_of_scores
from bench.reporting.figures.data import FigureData
from bench.reporting.figures.style import Figure
from bench.reporting.figures.workers import ReportFigures
from bench.reporting.long_form import long_form
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers

HOSTILE = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "$\\frac{x", "_own", "n" * 300]


def with_curve(folder: Path, losses: list[float]) -> Path:
    tokens = np.linspace(0, 1000, len(losses))
    pd.DataFrame({"tokens": tokens, "validation_loss": losses}).to_parquet(folder / "curve.parquet")
    return folder


def make_results(out: Path, names: list[str], tasks: int = 2, seeds: int = 2) -> Path:
    """Objectives of rising skill, and the untrained one."""
    for number, name in enumerate([*names, "untrained"]):
        is_trained = name != "untrained"
        for seed in range(seeds):
            objective = f"named_{number}" if is_trained else "untrained"
            nats = {"log_vocabulary": 6.7, "unigram": 4.8}
            folder = make_run(
                out, objective, seed, name, tokens=1000 * (number + 1) if is_trained else 0,
                reference_nats=nats,
            )  # fmt: skip
            with_curve(folder, [6.7, 5.0 - number / 10])
            level = 0.5 + 0.4 * (number + 1) / (len(names) + 1) if is_trained else 0.5
            for task in range(tasks):
                grid = [[0.5, 0.5 + level / 10], [level, 0.1]]
                details = {"grid": grid, "criterion": "accuracy"}
                make_score(folder, f"task_{task}", answers(level, str(task), name, seed),
                           details=details)  # fmt: skip
    for task in range(tasks):
        make_score(out, f"task_{task}", answers(0.4, str(task), "m", 0), baseline="majority")
    return out


def compare(out: Path, baseline: str | None = "untrained") -> TableSet:
    return TableSet.from_records(read_runs(out), read_baselines(out), baseline)


@pytest.fixture(scope="module")
def table_set(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    return compare(make_results(tmp_path_factory.mktemp("results"), ["token", *HOSTILE]))


@pytest.fixture(scope="module")
def rows(table_set: TableSet) -> FigureData:
    return figure_data.scores(table_set.tables[0])


def figure_of(table_set: TableSet, name: str) -> Figure | None:
    """The figure of this name on the page of these records, if there is one."""
    (figures,) = ReportFigures().of(table_set.tables)
    return next((figure for figure in figures if figure.name == name), None)


def numbers_of(figure: Figure) -> pd.DataFrame:
    data = pd.read_csv(io.StringIO(figure.csv))
    return data.assign(display_name=data["display_name"].str.removeprefix("'"))


@pytest.mark.slow
def test_a_figure_is_shown_inline_in_a_page(table_set: TableSet, rows: FigureData) -> None:
    figure = figures_of_scores.dots(rows)
    inline = figure.inline()
    root = ElementTree.fromstring(inline)
    assert root.attrib["role"] == "img"
    assert "significantly best" in root.attrib["aria-label"]
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert ids
    assert all(name.startswith("scores-") for name in ids)
    for color, variable in style.VARIABLES.items():
        assert color not in inline
        assert (f"var({variable})" in inline) is (color in figure.svg)
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert "$\\frac{x" in texts  # unchanged: no formula parser reads it
    assert "<script>" not in inline
    assert max(len(text or "") for text in texts) <= 30
    assert figure.png.startswith(b"\x89PNG")


@pytest.mark.slow
def test_dots_say_how_many_tasks_they_show(
    rows: FigureData, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = [rows.frame().assign(column=f"task_{number}") for number in range(6)]
    many = pd.concat(copies).drop_duplicates(["display_name", "column"])
    monkeypatch.setattr(figures_of_scores, "MAX_DOTS", 1)
    figure = figures_of_scores.dots(FigureData(list(many), many.to_numpy().tolist()))
    assert "the first 4 of 6 tasks" in figure.caption
    assert figure.svg.count('id="axes_') == 4
    assert len(numbers_of(figure)) == len(many)


def test_a_heat_map_draws_the_differences_of_the_comparison(
    table_set: TableSet, rows: FigureData
) -> None:
    figure = figures_of_scores.heat_map(rows, "untrained")
    assert figure is not None
    data = numbers_of(figure).set_index(["display_name", "column"])
    for row in long_form(table_set):
        if row["kind"] == "trained":
            numbers = data.loc[row["display_name"], row["column"]]
            assert numbers["difference_mean"] == row["difference"]["mean"]
            assert f">{row['difference']['mean'] * 100:+.1f}" in figure.svg
    assert "untrained" not in data.index.get_level_values("display_name")
    of_scores = figures_of_scores.heat_map(rows, None)
    assert of_scores is not None
    assert of_scores.title.endswith("score")


def test_tasks_that_tell_objectives_apart_have_the_first_panels(rows: FigureData) -> None:
    for signal, first in (({}, "task_0"), ({"task_0": 0.5, "task_1": 2.0}, "task_1")):
        figure = forest.forest(rows, "untrained", tuple(signal.items()))
        assert figure is not None
        assert numbers_of(figure)["column"][0] == first
        assert f"rows. {first}:" in figure.alt


def test_the_front_has_points_of_rising_cost_and_score() -> None:
    assert cost.pareto_front([1, 2, 2, 3, 4], [10, 30, 40, 40, 50]) == [0, 2, 4]
    assert cost.pareto_front([5, 5], [1, 1]) == [0]
    assert cost.pareto_front([], []) == []


@pytest.fixture(scope="module")
def points(rows: FigureData) -> pd.DataFrame:
    shown = rows.frame()[["display_name", "kind", "column", "mean", "low", "high"]]
    task = shown.query("column == 'task_0' and kind != 'baseline'").reset_index(drop=True)
    return task.assign(**dict.fromkeys(figure_data.AXES, 1000 * (task.index + 1)))


def test_costs_name_the_front(points: pd.DataFrame) -> None:
    numbers = FigureData(list(points), points.to_numpy().tolist())
    figure = cost.costs(numbers, "task_0")
    assert "Front for seconds: token" in figure.alt
    assert figure.svg.count('id="axes_') == len(figure_data.AXES)


@pytest.mark.slow
def test_with_many_costs_only_the_front_is_named(points: pd.DataFrame) -> None:
    many = pd.concat([points[points["kind"] == "trained"]] * 6, ignore_index=True)
    many = many.assign(display_name=[f"o{i}" for i in range(len(many))])
    numbers = FigureData(list(many), many.to_numpy().tolist())
    assert (
        f"of {len(many)} rows have names, those on a front" in cost.costs(numbers, "task_0").caption
    )


def test_a_wide_interval_does_not_set_the_limits_of_an_axis() -> None:
    low, high = style.axis_limits([50, 60], [-500, 40], [600, 70])
    assert 30 < low < 50
    assert 60 < high < 90
    assert style.axis_limits([], [], [])[0] < style.axis_limits([], [], [])[1]


@pytest.mark.slow
def test_layers_take_the_best_pooling_and_the_mean_of_seeds(tmp_path: Path) -> None:
    for seed, best in ((0, 0.6), (1, 0.8)):
        details = {"grid": [[0.5, 0.4], [0.1, best]], "criterion": "matthews"}
        make_score(make_run(tmp_path, "token", seed), details=details)
    table_set = compare(tmp_path, None)
    data = figure_data.layers(table_set.tables[0]).frame()
    assert data["score"].tolist() == [0.5, pytest.approx(0.7)]
    assert data["layer"].tolist() == [0, 1]
    figure = figure_of(table_set, "layers")
    assert figure is not None
    assert "matthews" in figure.svg


@pytest.mark.parametrize("grid", [[], [[]]])
def test_an_empty_grid_is_left_out(tmp_path: Path, grid: object) -> None:
    make_score(make_run(tmp_path), details={"grid": grid})
    assert figure_of(compare(tmp_path, None), "layers") is None


@pytest.mark.slow
def test_each_objective_has_its_own_panel_of_loss(table_set: TableSet) -> None:
    figure = figure_of(table_set, "curves")
    assert figure is not None
    assert len(numbers_of(figure)["display_name"].unique()) == 1 + len(HOSTILE)
    assert figure.svg.count('id="axes_') == 1 + len(HOSTILE)
    assert "do not rank" in figure.caption


def test_a_damaged_curve_is_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "curve.parquet").write_bytes(b"PAR1 no PAR1")
    assert figure_of(compare(tmp_path, None), "curves") is None
    other = make_run(tmp_path, "span")
    pd.DataFrame({"tokens": ["a"], "validation_loss": [None]}).to_parquet(other / "curve.parquet")
    assert figure_of(compare(tmp_path, None), "curves") is None


def test_short_texts_are_printable_and_short() -> None:
    assert style.short_text("a\n\u202eb") == "a??b"
    assert style.short_text("_x") == " _x"
    assert len(style.short_text("n" * 300)) == style.MAX_LABEL_LENGTH


def test_rows_with_equal_names_get_different_names(tmp_path: Path) -> None:
    for objective, attention in (("causal", "bidirectional"), ("token", "native")):
        name = "causal" if objective == "causal" else "causal, bidirectional"
        make_score(make_run(tmp_path, objective, display_name=name), attention=attention)
    make_score(make_run(tmp_path, "span", display_name="majority"))
    make_score(tmp_path, baseline="majority")
    (table,) = (table_set := compare(tmp_path, None)).tables
    names = [row.name for row in table.rows]
    assert len(names) == len({*names})
    assert {"causal, bidirectional", "causal, bidirectional (2)", "majority (2)"} <= {*names}
    assert table.cells["majority (2)", table.columns[0].name].interval is not None
    assert figure_of(table_set, "heat_map") is not None
