"""Tables from records on disk.

The golden files hold what `bench compare` prints for one small set of records, in each format.
After a wanted change, `BENCH_REGENERATE_GOLDEN=1 pytest tests/test_reporting_tables.py` writes
them anew; read the difference before committing it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.records.store import read_baselines, read_runs
from bench.reporting.comparison import Comparison, comparison
from bench.reporting.formatting import big_number
from bench.reporting.text import Format, _pages, render
from tests.helpers.paths import GOLDEN
from tests.records.test_store import HASH, make_run, make_score

FORMATS: dict[Format, str] = {
    "table": "txt",
    "markdown": "md",
    "latex": "tex",
    "csv": "csv",
    "json": "json",
}


def answers(share: float, task: str, who: str, seed: int, count: int = 200) -> list[float]:
    """Right on about a share of the examples; examples are easy or hard for everybody."""

    def draw(*parts: object) -> float:
        return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32

    return [
        float(0.6 * draw(task, i) + 0.3 * draw(task, who, i) + 0.1 * draw(task, who, seed, i)
              < 0.15 + 0.7 * share) for i in range(count)
    ]  # fmt: skip


def compare(out: Path, baseline: str | None = None, **keys: Any) -> Comparison:
    return comparison(read_runs(out), read_baselines(out), baseline, **keys)


def small(out: Path, levels: dict[str, float], seeds: int = 3, task: str = "sense") -> Path:
    """Objectives that are right on these shares of one task."""
    for objective, level in levels.items():
        for seed in range(seeds):
            folder = make_run(out, objective, seed, tokens=0 if objective == "untrained" else 1000)
            make_score(folder, task, answers(level, task, objective, seed))
    return out


def row_of(compared: Comparison, label: str, column: str = "sense") -> dict[str, Any]:
    (row,) = [
        r for r in compared.long_form() if (r["display_name"], r["column"]) == (label, column)
    ]
    return row


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Five objectives, three seeds, three tasks, baselines, a diverged run, a second reading."""
    out = tmp_path_factory.mktemp("results")
    levels = {"token": 0.62, "span": 0.8, "causal": 0.5, "rtd": 0.64, "untrained": 0.48}
    for objective, level in levels.items():
        for seed in range(3):
            settings = {"mean_length": 4} if objective == "span" else {}
            label = "span[mean_length=4]" if settings else objective
            failed = (objective, seed) == ("rtd", 1)
            folder = make_run(
                out, objective, seed, label, settings,
                tokens=0 if objective == "untrained" else 2_000_000,
                scoring="causal" if objective == "causal" else "masked",
                status="diverged" if failed else "finished",
            )  # fmt: skip
            if failed:
                continue
            for attention in ("native", "bidirectional")[: 1 + (objective == "causal")]:
                who = objective + attention
                chosen = answers(level, "sense", who, seed)
                details = {"selectivity": 0.2 + level / 10}
                make_score(folder, "sense", chosen, attention=attention, details=details)
                spans = answers(level - 0.1, "entities", who, seed)
                make_score(folder, "entities", spans, attention=attention, metric="f1", chance=None)
            pairs = None if objective == "rtd" else answers(0.7, "agreement", objective, seed)
            second = None if pairs is None else answers(0.6, "agreement", objective, seed)
            make_score(folder, "agreement", pairs, second=second, family="minimal pairs")
    for task in ("sense", "entities"):
        for baseline, level in (("majority", 0.3), ("bag_of_words", 0.5)):
            make_score(out, task, answers(level, task, baseline, 0), baseline=baseline)
    make_score(out, "entities", answers(0.6, "entities", "window", 0), baseline="window_of_words")
    make_score(out, "agreement", [0.5] * 200, baseline="majority")
    return compare(out, "token", tasks=["sense", "agreement", "entities"])


@pytest.mark.parametrize("format", FORMATS)
def test_golden(full: Comparison, format: Format) -> None:
    path = GOLDEN / f"compare.{FORMATS[format]}"
    text = render(full, format)
    if os.environ.get("BENCH_REGENERATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_order_of_rows_and_columns(full: Comparison) -> None:
    (table,) = full.tables
    assert [entry.name for entry in table.rows] == [
        "token", "causal", "causal, bidirectional", "rtd", "span[mean_length=4]", "untrained",
        "majority", "bag_of_words", "window_of_words",
    ]  # fmt: skip
    names = [column.name for column in table.columns]
    assert names == ["sense", "agreement original", "agreement word_l2r", "entities"]


def test_every_row_of_the_long_form_is_complete(full: Comparison) -> None:
    rows = json.loads(render(full, "json"))
    wanted = "objective task metric mean low high seeds chance tokens predictions flops seconds"
    for row in rows:
        assert {*wanted.split()} <= row.keys()
        if row["status"] == "ok":
            assert row["low"] < row["mean"] < row["high"]
        else:
            assert row["mean"] is row["low"] is row["high"] is None
    assert len(rows) == 6 * 4 + 3 + 4
    control = next(row for row in rows if row["objective"] == "majority")
    assert (control["tokens"], control["seconds"], control["seeds"]) == (0, 0, 0)
    assert control["kind"] == "baseline"


def test_two_readings_are_two_columns(full: Comparison) -> None:
    original, other = (row_of(full, "token", f"agreement {r}") for r in ("original", "word_l2r"))
    assert original["task"] == other["task"] == "agreement"
    assert original["mean"] > other["mean"] + 0.02
    assert original["difference"] is None
    # Paired by example: what is hard for all cancels, and the interval is narrower for it.
    gap = row_of(full, "span[mean_length=4]", "agreement word_l2r")["difference"]
    assert gap["minimum_detectable_difference"] < 0.9 * (original["high"] - original["low"])


def test_another_metric_beside_the_task_s_has_no_chance_level_of_it(tmp_path: Path) -> None:
    values = {"f1": [0.8, 0.01], "accuracy": [0.7, 0.01]}
    outcomes = answers(0.7, "mrpc", "token", 0)
    folder = make_run(tmp_path, "token")
    make_score(folder, "mrpc", outcomes, second=outcomes, metric="f1", metrics=values, chance=0.6)
    found = {
        column.name: (column.metric, column.chance)
        for column in compare(tmp_path).tables[0].columns
    }
    assert found == {"mrpc f1": ("f1", 0.6), "mrpc accuracy": ("accuracy", None)}


def test_a_diverged_seed_is_left_out_visibly(full: Comparison) -> None:
    row = row_of(full, "rtd")
    assert (row["seeds"], row["excluded"]) == (2, {"diverged": [1]})
    text = render(full)
    assert "left out of the means: rtd, seed 1 (diverged)" in text
    assert "2 of 3" in text


def test_not_applicable_is_never_zero(full: Comparison) -> None:
    row = row_of(full, "rtd", "agreement original")
    assert (row["status"], row["mean"]) == ("not_applicable", None)
    line = next(line for line in render(full).splitlines() if line.startswith("rtd"))
    assert "n/a" in line


def test_a_winner_is_marked_only_where_it_is_separable(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.5, "span": 0.9}), "token")
    assert compared.tables[0].best == {"sense": "span"}
    assert row_of(compared, "span")["best"]
    assert row_of(compared, "span")["difference"]["significant"]
    assert compared.tables[0].notes == []


def test_without_a_winner_the_smallest_visible_gap_is_told(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.5, "span": 0.51, "causal": 0.3}), "token")
    assert compared.tables[0].best == {}
    gap = compared.tables[0].difference("span", "token", "sense")
    assert gap is not None
    (note,) = compared.tables[0].notes
    assert note.startswith("sense: not separable: ")
    assert note.endswith(f"could have seen is {gap.minimum_detectable_difference * 100:.1f}")
    assert row_of(compared, "span")["difference"]["minimum_detectable_difference"] == pytest.approx(
        gap.minimum_detectable_difference
    )


def test_third_with_one_seed_keeps_the_first_from_being_marked(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.3, "span": 0.9})
    make_score(make_run(tmp_path, "rtd"), "sense", answers(0.2, "sense", "rtd", 0))
    compared = compare(tmp_path)
    assert compared.tables[0].best == {}
    assert "one seed cannot tell" in render(compared)


def test_a_seed_of_one_alone_may_turn_the_order_around(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5, "span": 0.55}, seeds=2)
    make_score(make_run(tmp_path, "token", 2), "sense", answers(0.9, "sense", "token", 2))
    assert "token, the best mean, is 10.0 behind span on their 2 common seeds" in " ".join(
        render(compare(tmp_path)).split()
    )


def test_one_seed_says_what_it_cannot_show(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.1, "span": 0.9}, seeds=1), "token")
    assert compared.tables[0].best == {}
    assert row_of(compared, "span")["difference"]["significant"] is False
    for format in ("table", "markdown", "latex"):
        text = " ".join(render(compared, format).split()).replace(r"$\pm$", "±")  # type: ignore[arg-type]
        assert "ONE SEED (token, span): the ± covers test examples only" in text
        assert text.index("ONE SEED") < text.index("sense")
        assert "--seeds 0-2" in text


def test_an_objective_below_a_control_is_called_out(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5, "span": 0.9, "untrained": 0.2})
    make_score(tmp_path, "sense", answers(0.95, "sense", "bag", 0), baseline="bag_of_words")
    notes = compare(tmp_path).tables[0].notes
    assert notes == ["sense: span, the best, is not separably above bag_of_words"]


def test_a_task_missing_in_some_runs(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5, "span": 0.9})
    for run in read_runs(tmp_path, ["token-tiny-s0", "token-tiny-s2"]):
        make_score(run.folder, "entities", answers(0.4, "entities", "token", run.data["seed"]))
    compared = compare(tmp_path, "span")
    assert row_of(compared, "span", "entities")["status"] == "missing"
    assert row_of(compared, "token", "entities")["difference"] is None
    line = next(line for line in render(compared).splitlines() if line.startswith("token"))
    assert "(n=2)" in line


def test_a_run_that_only_diverged_says_so(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    make_score(make_run(tmp_path, "span", status="diverged"))  # a score of it counts nowhere
    compared = compare(tmp_path)
    assert row_of(compared, "span")["status"] == "diverged"
    line = next(line for line in render(compared).splitlines() if line.startswith("span"))
    assert line.split() == ["span", "0", "of", "1", "diverged"]


def test_what_is_not_comparable_never_shares_a_table(tmp_path: Path) -> None:
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
    title = comparison(only_size).tables[0].title
    assert title.endswith("Not comparable with the other: they differ in size.")


def test_edited_objective_code_is_another_row(tmp_path: Path) -> None:
    for seed, code in enumerate([HASH, "cd" * 32]):
        make_score(make_run(tmp_path, "span", seed, code=code))
    names = [entry.name for entry in compare(tmp_path).tables[0].rows]
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


def test_tasks_asked_for_are_the_columns_in_their_order(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    for task in ("agreement", "entities", "sense"):
        make_score(folder, task)
    columns = compare(tmp_path, tasks=["sense", "agreement", "unheard_of"]).tables[0].columns
    assert [column.name for column in columns] == ["sense", "agreement"]
    assert len(compare(tmp_path).tables[0].columns) == 3


def test_a_control_on_other_data_stays_out(tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    make_score(tmp_path, "sense", baseline="majority", data_sha256="cd" * 32)
    make_score(tmp_path, "sense", baseline="bag_of_words", probe_settings={"c": 3})
    assert [entry.name for entry in compare(tmp_path).tables[0].rows][1:] == ["bag_of_words"]


def test_values_that_are_no_mean_of_outcomes_are_compared_as_values(tmp_path: Path) -> None:
    for objective, value in (("token", 0.5), ("span", 0.7)):
        for seed in range(3):
            folder = make_run(tmp_path, objective, seed)
            right = answers(0.5, "x", objective, seed)
            make_score(folder, "sense", right, value=value + seed / 100, stderr=0.01)
    gap = row_of(compare(tmp_path, "token"), "span")["difference"]
    # The differences of the three seeds are all 0.2, so that sampling alone is left.
    assert gap["mean"] == pytest.approx(0.2)
    assert gap["minimum_detectable_difference"] == pytest.approx(
        1.959964 * 0.02**0.5 * 0.1, rel=1e-5
    )


def test_a_run_given_twice_counts_once(tmp_path: Path) -> None:
    runs = read_runs(small(tmp_path, {"token": 0.5}))
    assert comparison(runs + runs).long_form() == comparison(runs).long_form()


def test_no_runs_is_an_empty_table() -> None:
    assert render(comparison([])) == "no finished runs to compare\n"
    assert render(comparison([]), "json") == "[]\n"
    assert render(comparison([]), "csv") == ""


def test_unknown_names_are_told(full: Comparison, tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    with pytest.raises(BenchError, match="did you mean 'token'"):
        compare(tmp_path, "tokens")
    with pytest.raises(BenchError, match="no format named 'tabel'; did you mean 'table'"):
        render(full, "tabel")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(full: Comparison, width: int) -> None:
    lines = render(full, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith("objective") and "entities" in line for line in lines)
    assert "\x1b" not in "".join(lines)
    assert "\x1b[1m" in render(full, color=True)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=20), st.integers(10, 120))
def test_pages_hold_every_column_once(sizes: list[int], width: int) -> None:
    pages = _pages(sizes, 1, width)
    assert [index for page in pages for index in page[1:]] == list(range(1, len(sizes)))
    for page in pages:
        assert page[0] == 0
        assert len(page) <= 2 or sum(sizes[index] for index in page) <= width


HOSTILE = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "-1+cmd",
    "@sum",
    "a|b",
    "a\nb",
    "[red]x[/red]",
    "[x](javascript:1)",
    "\\input{/etc/passwd}",
    "{}%&$#_^~",
    "\x1b[31mx",
    "\u202eabc",
]


def hostile(out: Path, label: str) -> Comparison:
    make_score(make_run(out, display_name=label, corpus=label, settings={"knob": label}))
    return compare(out)


@pytest.mark.parametrize("label", HOSTILE)
def test_names_are_text_in_every_format(tmp_path: Path, label: str) -> None:
    compared = hostile(tmp_path, label)
    texts = {format: render(compared, format) for format in FORMATS}
    assert not any(char in "\x1b\u202e" for text in texts.values() for char in text)
    assert "<script" not in texts["markdown"]
    assert "](" not in texts["markdown"].replace("\\](", "")
    rows = [line for line in texts["markdown"].splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} <= {4, 8}
    assert "\\input" not in texts["latex"]
    assert json.loads(texts["json"])[0]["display_name"] == label
    for row in csv.reader(io.StringIO(texts["csv"])):
        texts_only = [cell for cell in row if not re.fullmatch(r"-?[\d.e-]+", cell)]
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in texts_only)
    if label.startswith("[red]"):
        assert "[red]x[/red]" in texts["table"]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(label=st.text(max_size=30))
def test_any_name_renders(tmp_path_factory: pytest.TempPathFactory, label: str) -> None:
    if label.encode("utf-8", "replace").decode() != label:
        return
    compared = hostile(tmp_path_factory.mktemp("any"), label)
    for format in FORMATS:
        render(compared, format).encode()
    assert len(list(csv.reader(io.StringIO(render(compared, "csv"))))) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.0k"), (300_000, "300k"), (2e6, "2.0M"), (99_949, "99.9k"),
     (99_950, "100k"), (999_499, "999k"), (999_500, "1.0M"), (1.44e9, "1.4G"), (3e12, "3.0T")],
)  # fmt: skip
def test_big_numbers(value: float, text: str) -> None:
    assert big_number(value) == text
