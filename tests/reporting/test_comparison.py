"""The class that researchers use: its examples, its data frames, its errors and its one screen."""

from __future__ import annotations

import doctest
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.errors import BenchError
from bench.records.store import read_runs
from bench.reporting import comparison as module
from bench.reporting.comparison import Comparison
from bench.reporting.long_form import flat, long_form
from bench.reporting.text import render
from tests.helpers.paths import ROOT
from tests.helpers.store_generator import make_store
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import HOSTILE, answers, small

MICRO = ROOT / "results" / "reference" / "micro" / "records.zip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed records of the reference comparison on the generated corpus."""
    folder = tmp_path_factory.mktemp("micro")
    with zipfile.ZipFile(MICRO) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    return bench.compare(out=folder, baseline="untrained")


@pytest.fixture(scope="module")
def two_tables(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two sizes; with size mini, `span` and `token` have no common seed."""
    out = tmp_path_factory.mktemp("two")
    small(out, {"token": 0.5, "span": 0.9})
    for objective, seeds in (("token", (0, 1)), ("span", (2, 3)), ("causal", (0, 1))):
        for seed in seeds:
            run = make_run(out, objective, seed, size="mini")
            make_score(run, "sense", answers(0.6, "sense", objective, seed))
    return bench.compare(out=out)


def public_methods() -> list[str]:
    own = [name for name in vars(Comparison) if not name.startswith("_")]
    return [*own, "from_records"]


@pytest.mark.parametrize("name", sorted(public_methods()))
def test_public_methods_are_documented(name: str) -> None:
    text = getattr(Comparison, name).__doc__
    assert text.splitlines()[0].endswith(".")
    if name != "from_records":
        assert "Examples:" in text


@pytest.mark.slow
def test_the_examples_run(comparison: Comparison, folder: Path, tmp_path: Path) -> None:
    """`comparison` and `folder` are known to every example."""
    records = tmp_path / "records"
    records.symlink_to(folder)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    output: list[str] = []
    num_examples = 0
    for test in doctest.DocTestFinder().find(module, "comparison"):
        test.globs |= {"comparison": comparison, "folder": records}
        num_examples += len(test.examples)
        runner.run(test, out=output.append)
    assert num_examples > 15
    assert runner.failures == 0, "".join(output)
    page = folder / "report" / "report.html"  # of the example of `report`
    assert comparison.verdict.split(":")[0] in page.read_text(encoding="utf-8")
    assert {path.stem for path in page.parent.glob("*.svg")} >= {"cost", "scores", "heat_map"}


def test_the_long_data_frame_is_the_long_form(comparison: Comparison) -> None:
    frame = comparison.to_dataframe()
    records = [flat(record) for record in long_form(comparison)]
    assert len(frame) == len(records)
    assert frame.columns.tolist() == list(records[0])
    first = frame.iloc[0]
    assert (first["display_name"], first["mean"]) == (
        records[0]["display_name"],
        records[0]["mean"],
    )
    described = Comparison.to_dataframe.__doc__ or ""
    assert [name for name in frame.columns if f"`{name}`" not in described] == []


def test_the_wide_data_frame_has_the_means(two_tables: Comparison) -> None:
    frame = two_tables.to_dataframe(format="wide")
    assert frame.index.names == ["table", "display_name"]
    for number, table in enumerate(two_tables.tables, 1):
        for row in table.rows:
            interval = table.cells[row.name, "sense"].interval
            assert interval is not None
            assert frame.loc[(number, row.name), "sense"] == interval.mean
    assert two_tables.table().equals(frame)


def test_the_table_of_a_task(comparison: Comparison) -> None:
    frame = comparison.table("entities")
    (table,) = comparison.tables
    interval = table.cells["causal", "entities"].interval
    difference = table.difference("causal", "untrained", "entities")
    assert interval is not None
    assert difference is not None
    line = frame.loc["causal"]
    assert (line["low"], line["mean"], line["high"]) == (interval.low, interval.mean, interval.high)
    assert line["letters"] == table.letters["causal", "entities"]
    assert (line["difference_mean"], line["significant"]) == (difference.mean, True)
    assert np.isnan(frame.loc["untrained", "difference_mean"])
    assert set(frame.index) >= {"majority", "untrained", "causal, bidirectional"}
    both = comparison.table("agreement")
    assert both["column"].unique().tolist() == ["agreement original", "agreement word_l2r"]
    assert len(comparison.table("agreement original")) == len(both) / 2


def test_without_a_baseline_there_are_no_differences(two_tables: Comparison) -> None:
    frame = two_tables.table("sense")
    assert "difference_mean" not in frame
    assert frame["table"].tolist() == [1, 1, 1, 2, 2]


def test_differences_are_those_of_the_tables(comparison: Comparison) -> None:
    frame = comparison.difference("causal", "untrained")
    (table,) = comparison.tables
    assert frame.index.tolist() == [column.name for column in table.columns]
    for column in frame.index:
        difference = table.difference("causal", "untrained", column)
        assert difference is not None
        line = frame.loc[column]
        p, is_rejected = table.tests["causal", column]
        assert (line["low"], line["high"]) == (difference.low, difference.high)
        assert (line["p"], line["holm"]) == (pytest.approx(p), is_rejected)
        assert line["significant"] == difference.is_significant
    turned = comparison.difference("untrained", "causal")
    assert turned["mean"].tolist() == (-frame["mean"]).tolist()
    assert comparison.difference("causal", "majority")["seeds"].max() == 5


def test_differences_without_a_common_seed_are_nan(two_tables: Comparison) -> None:
    frame = two_tables.difference("span", "token")
    assert frame["table"].tolist() == [1, 2]
    assert frame["seeds"].tolist() == [0, 3]
    assert frame["mean"].isna().tolist() == [True, False]
    assert frame["significant"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.to_dataframe("lnog"), "no format named 'lnog'; did you mean 'long'"),
        (lambda c: c.to_dataframe(3), "no format named 3"),
        (lambda c: c.table("entitis"), "no task named 'entitis'; did you mean 'entities'"),
        (lambda c: c.table(3), "no task named 3"),
        (lambda c: c.table([]), r"no task named \[\]"),
        (lambda c: c.difference("spam", "token"), "no objective named 'spam'; did you mean 'span'"),
        (lambda c: c.difference("spam", "token"), "known: .*token, whole_word, untrained"),
        (lambda c: c.difference("token", None), "no objective named None"),
        (lambda c: c.difference("token", "token"), "name two different objectives"),
        (lambda c: c.fail_if("spam < token"), "did you mean 'span'"),
        (lambda c: c.fail_if(3), "--fail-if 3 is not a gate"),
        (lambda c: c.report(3), r"report\(3\): give a folder"),
        (lambda c: c.report(""), "give a folder"),
        (lambda c: c.to_text(0), "width 0: give a whole number above 0"),
        (lambda c: c.to_text("wide"), "width 'wide'"),
    ],
)
def test_mistakes_name_the_way_out(
    comparison: Comparison, call: Callable[[Comparison], Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        call(comparison)


def test_objectives_in_different_tables_have_no_difference(tmp_path: Path) -> None:
    for objective, size in (("token", "tiny"), ("span", "mini")):
        make_score(make_run(tmp_path, objective, size=size))
    with pytest.raises(BenchError, match="no scores in the same table"):
        bench.compare(out=tmp_path).difference("span", "token")


def test_a_comparison_without_tasks_or_runs(tmp_path: Path) -> None:
    make_run(tmp_path, "token")
    bare = bench.compare(out=tmp_path)
    assert bare.to_dataframe().empty
    assert bare.table().index.tolist() == [(1, "token")]
    with pytest.raises(BenchError, match="no task named 'sense'"):
        bare.table("sense")
    with pytest.raises(BenchError, match="cannot be written"):
        bare.report("/dev/null/x")
    assert "No task was scored" in repr(bare)
    assert "No task was scored" in bare._repr_html_()
    nothing = Comparison.from_records([])
    assert repr(nothing) == "no finished runs to compare"
    assert nothing.to_dataframe("wide").empty
    assert nothing.verdict == ""
    with pytest.raises(BenchError, match="no finished runs"):
        nothing.report(tmp_path / "report")


@pytest.mark.parametrize("sizes", [(30, 2, 9, 20), (30, 1, 2, 20), (5, 1, 12, 20)])
def test_the_representation_is_one_screen(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    comparison = bench.compare(out=make_store(tmp_path, *sizes))
    lines = repr(comparison).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    (cut,) = [line for line in lines if line.endswith(": .table()")]
    assert cut.startswith("... ")


def test_several_tables_are_one_screen(tmp_path: Path) -> None:
    for name in ("tiny", "mini", "small", "base"):
        for number, objective in enumerate(("token", "span", "causal")):
            for seed in range(2):
                run = make_run(tmp_path, objective, seed, size=name)
                make_score(run, "sense", answers(0.3 * number, "sense", objective, seed))
    text = repr(bench.compare(out=tmp_path))
    assert "... 3 more tables" in text
    assert "Table 4: " in text
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize("name", [*HOSTILE, "n" * 300, "\u6f22" * 80])
def test_names_are_escaped(tmp_path: Path, name: str) -> None:
    make_score(make_run(tmp_path, display_name=name, corpus=name))
    comparison = Comparison.from_records(read_runs(tmp_path))
    lines = repr(comparison).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    html = comparison._repr_html_()
    for text in (*lines, html):
        assert not any(char in "\x1b\u202e" for char in text)
    assert "<script" not in html


def test_the_notebook_shows_scores_legend_and_verdict(comparison: Comparison) -> None:
    html = comparison._repr_html_()
    assert html.count("<table") == 1
    assert "<caption>scores</caption>" in html
    assert "minimum detectable difference between two objectives" in html
    assert "not distinguishable from" in html
    assert "72.4 ±17.3" in html
    for word in ("<script", "href", "src=", "class="):
        assert word not in html


def test_the_verdict_of_several_tables_has_a_paragraph_each(two_tables: Comparison) -> None:
    lines = two_tables.verdict.splitlines()
    first, second = (line for line in lines if line.startswith("Table "))
    assert first.startswith("Table 1: sense: ")
    assert second.startswith("Table 2: sense: span (")
    assert sum(line.startswith("Next: ") for line in lines) == 2


def test_texts_are_those_of_bench_compare(comparison: Comparison) -> None:
    assert comparison.to_markdown() == render(comparison, "markdown")
    assert comparison.to_latex() == render(comparison, "latex")
    assert comparison.to_csv() == render(comparison, "csv")
    assert json.loads(comparison.to_json()) == long_form(comparison)
    lines = comparison.to_text().splitlines()
    assert max(len(line) for line in lines if not line.startswith("  bench ")) <= 100


def test_a_failed_gate_is_true(two_tables: Comparison) -> None:
    assert two_tables.fail_if("sense: token < span")
    result = two_tables.fail_if("sense: span < token")
    assert not result
    assert result.lines[0].startswith("Table 2, sense: span - token = ")


def test_a_folder_brings_its_baselines_and_its_name(tmp_path: Path) -> None:
    there = tmp_path / "there"
    for name, level in (("token", 0.7), ("span", 0.5), ("untrained", 0.1)):
        for seed in range(3):
            folder = make_run(there, name, seed, tokens=1000 * (name != "untrained"))
            make_score(folder, "sense", answers(level, "sense", name, seed))
    make_score(there, "sense", answers(0.95, "sense", "words", 0), baseline="bag_of_words")
    by_out = bench.compare(out=there)
    for selected in (str(there), there, [there]):
        found = bench.compare(selected, out=tmp_path / "here")
        assert found.verdict == by_out.verdict
        assert "below bag_of_words" in str(found.verdict)
    with pytest.raises(BenchError, match="no scored task named 'sens'; did you mean 'sense'"):
        bench.compare(out=there, tasks="sense,sens")
    with pytest.raises(BenchError, match="runs: give a text or a list of texts"):
        bench.compare(5, out=there)  # type: ignore[arg-type]
