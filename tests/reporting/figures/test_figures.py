from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.records.store import read_baselines, read_runs
from bench.reporting.comparison import Comparison, comparison
from bench.reporting.figures import cost as figures_cost
from bench.reporting.figures import data as frames
from bench.reporting.figures import scores as figures_scores
from bench.reporting.figures import style as figures
from bench.reporting.figures.data import Numbers
from bench.reporting.figures.gallery import Gallery
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers

HOSTILE = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "$\\frac{x", "_own", "n" * 300]


def with_curve(folder: Path, losses: list[float]) -> Path:
    tokens = np.linspace(0, 1000, len(losses))
    pd.DataFrame({"tokens": tokens, "validation_loss": losses}).to_parquet(folder / "curve.parquet")
    return folder


def make_results(out: Path, labels: list[str], tasks: int = 2, seeds: int = 2) -> Path:
    """Objectives of rising skill, and the untrained one."""
    for number, label in enumerate([*labels, "untrained"]):
        is_trained = label != "untrained"
        for seed in range(seeds):
            objective = f"named_{number}" if is_trained else "untrained"
            nats = {"log_vocabulary": 6.7, "unigram": 4.8}
            folder = make_run(
                out, objective, seed, label, tokens=1000 * (number + 1) if is_trained else 0,
                reference_nats=nats,
            )  # fmt: skip
            with_curve(folder, [6.7, 5.0 - number / 10])
            level = 0.5 + 0.4 * (number + 1) / (len(labels) + 1) if is_trained else 0.5
            for task in range(tasks):
                grid = [[0.5, 0.5 + level / 10], [level, 0.1]]
                details = {"grid": grid, "criterion": "accuracy"}
                make_score(folder, f"task_{task}", answers(level, str(task), label, seed),
                           details=details)  # fmt: skip
    for task in range(tasks):
        make_score(out, f"task_{task}", answers(0.4, str(task), "m", 0), baseline="majority")
    return out


def compare(out: Path, baseline: str | None = "untrained") -> Comparison:
    return comparison(read_runs(out), read_baselines(out), baseline)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(make_results(tmp_path_factory.mktemp("results"), ["token", *HOSTILE]))


@pytest.fixture(scope="module")
def rows(compared: Comparison) -> Numbers:
    return frames.scores(compared.tables[0])


def drawn_of(compared: Comparison, name: str) -> figures.Figure | None:
    """The figure of this name that the page of these records has, if it has one."""
    (drawn,) = Gallery().of(compared.tables)
    return next((figure for figure in drawn if figure.name == name), None)


def numbers_of(drawn: figures.Figure) -> pd.DataFrame:
    data = pd.read_csv(io.StringIO(drawn.csv))
    return data.assign(display_name=data["display_name"].str.removeprefix("'"))


def test_a_drawing_stands_in_a_page(compared: Comparison, rows: Numbers) -> None:
    drawn = figures_scores.dots(rows)
    inline = drawn.inline()
    root = ElementTree.fromstring(inline)
    assert root.attrib["role"] == "img"
    assert "separably best" in root.attrib["aria-label"]
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert ids
    assert all(name.startswith("scores-") for name in ids)
    for color, variable in figures.VARIABLES.items():
        assert color not in inline
        assert (f"var({variable})" in inline) is (color in drawn.svg)
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert "$\\frac{x" in texts  # as it is, by no formula parser
    assert "<script>" not in inline
    assert max(len(text or "") for text in texts) <= 30
    assert drawn.png.startswith(b"\x89PNG")


@pytest.mark.slow
def test_dots_say_what_they_leave_out(rows: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = [rows.frame().assign(column=f"task_{number}") for number in range(6)]
    many = pd.concat(copies).drop_duplicates(["display_name", "column"])
    monkeypatch.setattr(figures_scores, "MOST_DOTS", 1)
    drawn = figures_scores.dots(Numbers(list(many), many.to_numpy().tolist()))
    assert "The first 4 of 6 tasks" in drawn.caption
    assert drawn.svg.count('id="axes_') == 4
    assert len(numbers_of(drawn)) == len(many)


def test_a_heat_map_draws_the_differences_of_the_comparison(
    compared: Comparison, rows: Numbers
) -> None:
    drawn = figures_scores.heat_map(rows, "untrained")
    assert drawn is not None
    data = numbers_of(drawn).set_index(["display_name", "column"])
    for row in compared.long_form():
        if row["kind"] == "trained":
            found = data.loc[row["display_name"], row["column"]]
            assert found["difference_mean"] == row["difference"]["mean"]
            assert f">{row['difference']['mean'] * 100:+.1f}" in drawn.svg
    assert "untrained" not in data.index.get_level_values("display_name")
    bare = figures_scores.heat_map(rows, None)
    assert bare is not None
    assert bare.title.endswith("score")


def test_the_front_is_what_nothing_beats() -> None:
    assert figures_cost.pareto_front([1, 2, 2, 3, 4], [10, 30, 40, 40, 50]) == [0, 2, 4]
    assert figures_cost.pareto_front([5, 5], [1, 1]) == [0]
    assert figures_cost.pareto_front([], []) == []


@pytest.fixture(scope="module")
def points(rows: Numbers) -> pd.DataFrame:
    shown = rows.frame()[["display_name", "kind", "column", "mean", "low", "high"]]
    one = shown.query("column == 'task_0' and kind != 'control'").reset_index(drop=True)
    return one.assign(**dict.fromkeys(frames.AXES, 1000 * (one.index + 1)))


def test_costs_name_the_front(points: pd.DataFrame) -> None:
    numbers = Numbers(list(points), points.to_numpy().tolist())
    drawn = figures_cost.costs(numbers, "task_0")
    assert "Front for seconds: token" in drawn.alt
    assert drawn.svg.count('id="axes_') == len(frames.AXES)


@pytest.mark.slow
def test_of_many_costs_only_the_front_is_named(points: pd.DataFrame) -> None:
    many = pd.concat([points[points["kind"] == "trained"]] * 6, ignore_index=True)
    many = many.assign(display_name=[f"o{i}" for i in range(len(many))])
    numbers = Numbers(list(many), many.to_numpy().tolist())
    assert f"of {len(many)} rows, those on a front" in figures_cost.costs(numbers, "task_0").caption


def test_a_view_is_not_flattened_by_an_interval() -> None:
    low, high = figures.view([50, 60], [-500, 40], [600, 70])
    assert 30 < low < 50
    assert 60 < high < 90
    assert figures.view([], [], [])[0] < figures.view([], [], [])[1]


def test_layers_take_the_best_pooling_and_the_mean_of_seeds(tmp_path: Path) -> None:
    for seed, best in ((0, 0.6), (1, 0.8)):
        details = {"grid": [[0.5, 0.4], [0.1, best]], "criterion": "matthews"}
        make_score(make_run(tmp_path, "token", seed), details=details)
    compared = compare(tmp_path, None)
    found = frames.layers(compared.tables[0]).frame()
    assert found["score"].tolist() == [0.5, pytest.approx(0.7)]
    assert found["layer"].tolist() == [0, 1]
    drawn = drawn_of(compared, "layers")
    assert drawn is not None
    assert "matthews" in drawn.svg


@pytest.mark.parametrize("grid", [None, [], [1, 2], [[]], [["a"]], "x", [[0.5], 3]])
def test_a_grid_that_is_none_is_left_out(tmp_path: Path, grid: object) -> None:
    make_score(make_run(tmp_path), details={"grid": grid})
    assert drawn_of(compare(tmp_path, None), "layers") is None


def test_each_objective_has_its_own_panel_of_loss(compared: Comparison) -> None:
    drawn = drawn_of(compared, "curves")
    assert drawn is not None
    assert len(numbers_of(drawn)["display_name"].unique()) == 1 + len(HOSTILE)
    assert drawn.svg.count('id="axes_') == 1 + len(HOSTILE)
    assert "ranks nobody" in drawn.caption


def test_a_damaged_curve_is_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "curve.parquet").write_bytes(b"PAR1 no PAR1")
    assert drawn_of(compare(tmp_path, None), "curves") is None
    other = make_run(tmp_path, "span")
    pd.DataFrame({"tokens": ["a"], "validation_loss": [None]}).to_parquet(other / "curve.parquet")
    assert drawn_of(compare(tmp_path, None), "curves") is None


def test_labels_are_printable_and_short() -> None:
    assert figures.short_text("a\n\u202eb") == "a??b"
    assert figures.short_text("_x") == " _x"
    assert len(figures.short_text("n" * 300)) == figures.LONGEST_LABEL


def test_rows_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for objective, attention in (("causal", "bidirectional"), ("token", "native")):
        label = "causal" if objective == "causal" else "causal, bidirectional"
        make_score(make_run(tmp_path, objective, display_name=label), attention=attention)
    make_score(make_run(tmp_path, "span", display_name="majority"))
    make_score(tmp_path, baseline="majority")
    (table,) = (compared := compare(tmp_path, None)).tables
    names = [entry.name for entry in table.rows]
    assert len(names) == len({*names})
    assert {"causal, bidirectional", "causal, bidirectional (2)", "majority (2)"} <= {*names}
    assert table.cells["majority (2)", table.columns[0].name].interval is not None
    assert drawn_of(compared, "heat_map") is not None
