from __future__ import annotations

import json

import pytest

from bench.records.store import read_runs
from bench.reporting.formatting import are_readable, width, width_legend
from bench.reporting.long_form import long_form
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers


def test_few_letters_are_readable() -> None:
    assert are_readable(["a", "ab", "bcde"])
    assert are_readable([])
    assert not are_readable(["a", "abcde"])
    assert are_readable(list("abcdefgh"))
    assert not are_readable(list("abcdefghi"))


def test_a_half_width_is_cut_at_the_length_of_the_scale() -> None:
    assert width(99.96, 100) == "100.0"
    assert width(100.04, 100) == ">100"
    assert width(18.02, 15, 2) == ">15"
    assert width(209.7, float("inf")) == "209.7"
    assert width_legend(["1.0 ±2.0", "n/a"]) == ""
    assert width_legend(["1 ±>15", "1 ±>100", "2 ±>100 <"]).startswith(". ±>100 and ±>15: wider")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    """Ten objectives that differ on one task; on another task two seeds disagree."""
    out = tmp_path_factory.mktemp("crowded")
    for number in range(10):
        for seed in range(2):
            name = f"named_{number}"
            folder = make_run(out, name, seed, name, tokens=1000)
            outcomes = answers(0.05 + 0.09 * number, "apart", "shared", 0)
            make_score(folder, "apart", outcomes)
            make_score(folder, "torn", answers(0.1 + 0.8 * seed, "torn", name, seed))
    return TableSet.from_records(read_runs(out), intervals="own")


def test_too_many_groups_are_compared_with_the_highest(crowded: TableSet) -> None:
    (table,) = crowded.tables
    assert not table.has_letters
    names = [f"named_{number}" for number in range(9)]
    assert table.below == {(name, "apart") for name in names}
    assert table.best == {"apart": "named_9"}
    text = render(crowded, "table")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if "±" in line}
    assert rows["named_8"][4] == "<"
    assert rows["named_9"][4] == "*"
    assert "< significantly below the highest objective" in " ".join(text.split())
    assert " are not distinguishable: " in text
    assert "No objective is significantly below named_" in " ".join(text.split())


def test_an_interval_wider_than_the_scale_is_not_printed(crowded: TableSet) -> None:
    text = " ".join(render(crowded, "table").split())
    assert "±>100" in text
    assert "±>100: wider than the scale, so the interval excludes nothing" in text
    wide = [row for row in json.loads(render(crowded, "json")) if row["task"] == "torn"]
    assert all(row["high"] == 1.0 for row in wide)  # no interval leaves the range of the metric


def test_the_long_form_has_all_letters(crowded: TableSet) -> None:
    rows = {(row["display_name"], row["task"]): row for row in long_form(crowded)}
    assert rows["named_0", "apart"]["letters"] == "j"
    assert rows["named_0", "apart"]["below_best"] is True
    assert rows["named_9", "apart"]["below_best"] is False
    assert rows["named_0", "torn"]["below_best"] is False
