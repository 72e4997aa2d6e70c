"""The leaderboard: places follow the letters, and every place has its evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.reporting.page.leaderboard import (
    LEADERBOARD,
    Ranking,
    ranking,
    render_leaderboard,
    write_leaderboard,
)
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score
from tests.reporting.figures.test_figures import HOSTILE, compare
from tests.reporting.page.test_page import Reader
from tests.reporting.test_text import small

CORRECT = {
    "good": (17, 18, 19),
    "fair": (19, 17, 16),
    "poor": (9, 11, 10),
    "untrained": (10, 9, 11),
}
"""Correct answers of each seed, of 20."""


def make_store(out: Path, tasks: int = 3, seeds: int = 3) -> Path:
    """Two good objectives that are not distinguishable, a poor one, and one that diverged."""
    for name, correct in CORRECT.items():
        for seed in range(seeds):
            tokens = 0 if name == "untrained" else 2_000_000
            folder = make_run(out, name, seed, tokens=tokens)
            for task in range(tasks):
                outcomes = np.roll(np.arange(20) < correct[seed], 7 * task)
                make_score(folder, f"task_{task}", outcomes)
    make_run(out, "lost", status="diverged")
    return out


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def table_set(store: Path) -> TableSet:
    return compare(store)


@pytest.fixture(scope="module")
def ranked(table_set: TableSet) -> Ranking:
    (table,) = table_set.tables
    return ranking(table, "table_1")


def test_places_are_ranges_of_what_the_letters_leave_open(
    ranked: Ranking, table_set: TableSet
) -> None:
    (overall,) = table_set.tables[0].aggregates
    places = {place.name: place for place in ranked.places}
    assert list(places) == ["good", "fair", "poor", "lost"]
    assert [place.place for place in ranked.places] == ["1 to 2", "1 to 2", "3", "-"]
    for name in ("good", "fair", "poor"):
        assert places[name].letters == overall.letters[name]
    assert places["lost"].score == "diverged"
    assert "untrained" not in places
    assert "3 tasks" in ranked.measure


def test_every_place_has_its_evidence(ranked: Ranking) -> None:
    good, lost = ranked.places[0], ranked.places[-1]
    assert good.evidence == ("3 seeds", "3 tasks", "2.0M tokens", "1.3e12 FLOPs", "2 minutes")
    assert [run[:12] for run in good.runs] == [f"good-tiny-s{seed}" for seed in range(3)]
    assert lost.evidence[0] == "0 seeds"
    assert len(lost.runs) == 1


def test_one_seed_gives_no_place_alone(tmp_path: Path) -> None:
    (table,) = compare(make_store(tmp_path, seeds=1)).tables
    places = [place.place for place in ranking(table, "table").places]
    assert places == ["1 to 3", "1 to 3", "1 to 3", "-"]


def test_one_task_is_ranked_by_its_own_letters(tmp_path: Path) -> None:
    (table,) = compare(make_store(tmp_path, tasks=1)).tables
    found = ranking(table, "table")
    assert found.measure == "accuracy on task_0"
    assert [place.name for place in found.places] == ["good", "fair", "poor", "lost"]
    assert found.places[0].score.startswith("90.0 ±")


def test_runs_without_scores_have_no_place(tmp_path: Path) -> None:
    make_run(tmp_path, "token")
    (table,) = compare(tmp_path, None).tables
    (place,) = ranking(table, "table").places
    assert (place.place, place.score) == ("-", "no score")


def test_the_page_is_self_contained_and_has_the_rules(table_set: TableSet) -> None:
    page = render_leaderboard(table_set)
    read = Reader(page)
    assert not read.open
    assert not any(tag == "script" for tag, _ in read.tags)
    assert "default-src 'none'" in page
    for tag, attributes in read.tags:
        assert "src" not in attributes, tag
        assert not (attributes.get("href") or "#").startswith("http"), tag
    for word in ("Target", "Seeds", "Significance", "No choice on reported splits"):
        assert f"<strong>{word}.</strong>" in page


def test_the_same_records_give_the_same_bytes(store: Path, tmp_path: Path) -> None:
    first = write_leaderboard(compare(store), tmp_path / "a")
    other = write_leaderboard(compare(store), tmp_path / "b")
    assert first.read_bytes() == other.read_bytes()


def test_hostile_names_are_text(tmp_path: Path) -> None:
    for number, name in enumerate(HOSTILE):
        make_score(make_run(tmp_path, f"objective_{number}", display_name=name))
    page = render_leaderboard(compare(tmp_path, None))
    assert "<script" not in page
    assert "<img" not in page


def test_the_command_takes_several_stores(store: Path, tmp_path: Path) -> None:
    make_score(make_run(tmp_path / "b", "other", corpus_sha256="cd" * 32))
    arguments = ["report", "--leaderboard", "--to", str(tmp_path / "to")]
    done = CliRunner().invoke(app, [*arguments, str(store), str(tmp_path / "b")])
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "to").iterdir()] == [LEADERBOARD]
    page = (tmp_path / "to" / LEADERBOARD).read_text()
    assert "2 tables of 11 runs" in page
    again = CliRunner().invoke(app, [*arguments, str(tmp_path / "b"), str(store)])
    assert again.exit_code == 0
    assert (tmp_path / "to" / LEADERBOARD).read_text() == page


def test_the_half_width_of_one_task_is_in_points(tmp_path: Path) -> None:
    table = compare(small(tmp_path, {"token": 0.8, "span": 0.6, "untrained": 0.1})).tables[0]
    for place in ranking(table, "key").places:
        interval = table.cells[place.name, "sense"].interval
        assert interval is not None
        shown = float(place.score.split("±")[1])
        assert abs(shown - 100 * interval.half_width) < 0.06


def test_only_scored_seeds_are_evidence(tmp_path: Path) -> None:
    for name, scored in (("good", (0,)), ("poor", (0, 1, 2))):
        for seed in range(3):
            folder = make_run(tmp_path, name, seed)
            if seed in scored:
                make_score(folder, "sense", [1.0] * 10 + [0.0] * 10)
    (table,) = compare(tmp_path, "good").tables
    seeds = {place.name: place.evidence[0] for place in ranking(table, "table_1").places}
    assert seeds == {"good": "1 seed", "poor": "3 seeds"}


def test_an_unbounded_metric_has_a_width_of_any_length(tmp_path: Path) -> None:
    for name, low, high in (("good", -400.0, 500.0), ("poor", -500.0, 300.0)):
        for seed in range(2):
            make_score(make_run(tmp_path, name, seed), "margins", [low, high] * 5, metric="margin")
    (table,) = compare(tmp_path, "good").tables
    scores = [place.score for place in ranking(table, "table_1").places]
    assert not any("> 100" in score for score in scores), scores
