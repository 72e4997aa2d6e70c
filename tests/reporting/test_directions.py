from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.registry import Registry
from bench.reporting import directions
from bench.reporting.directions import Direction, read_directions, verify
from bench.settings import as_mapping, from_mapping
from tests.helpers.registry import REGISTRY
from tests.helpers.store_generator import make_store
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, compare


def direction(**keys: Any) -> Direction:
    default = {
        "claim": "span is above token", "source": "somebody", "published": "3 against 2",
        "better": {"objective": "span"}, "worse": {"objective": "token"},
        "commands": ["bench run --objective span"],
    }  # fmt: skip
    return Direction.model_validate(default | keys)


def build(out: Path, span: float, token: float, seeds: int = 3, **keys: Any) -> Path:
    for objective, level in (("span", span), ("token", token)):
        for seed in range(seeds):
            folder = make_run(out, objective, seed)
            for task in ("one", "two"):
                make_score(folder, task, answers(level, task, objective, seed), **keys)
    return out


@pytest.mark.parametrize(
    ("levels", "seeds", "verdict"),
    [
        ((0.9, 0.5), 3, "reproduced"),
        ((0.5, 0.9), 3, "contradicted"),
        ((0.5, 0.51), 3, "too small to tell"),
        ((0.9, 0.5), 1, "too small to tell"),
    ],
)
def test_the_verdicts(
    tmp_path: Path, levels: tuple[float, float], seeds: int, verdict: str
) -> None:
    compared = compare(build(tmp_path, *levels, seeds=seeds))
    (result,) = verify(compared, [direction()])
    assert result.verdict == verdict
    assert result.pair is not None
    assert (result.pair.better, result.pair.worse) == ("span", "token")
    assert result.pair.interval.seeds == seeds
    assert list(result.pair.tasks) == ["one", "two"]
    text = directions.render([result], "results")
    assert f"{verdict}: span is above token; span - token = " in text
    # The records are of the generated corpus: they calibrate, and nothing is reproduced.
    assert text.index("on generated text (calibration") < text.index(verdict)
    assert "0 reproduced, 0 contradicted, 0 too small to tell" in text
    real = dataclasses.replace(result, pair=dataclasses.replace(result.pair, is_generated=False))
    assert f"{int(verdict == 'reproduced')} reproduced, " in directions.render([real], "results")
    assert ("one seed is never significant" in text) == (seeds == 1)


def test_the_mean_over_tasks_by_hand(tmp_path: Path) -> None:
    wrong = {"one": (2, 4), "two": (2, 6)}  # of 20, by seed; the other objective has none
    for seed in range(2):
        span, token = (make_run(tmp_path, name, seed) for name in ("span", "token"))
        for task, counts in wrong.items():
            make_score(span, task, [1.0] * 20)
            make_score(token, task, [0.0] * counts[seed] + [1.0] * (20 - counts[seed]))
    (table,) = compare(tmp_path).tables
    difference = directions.mean_difference(table, table.columns, "span", "token")
    assert difference is not None
    assert difference.mean == pytest.approx((0.1 + 0.1 + 0.2 + 0.3) / 4)
    # Each seed's mean over tasks: .1 and .25. Example means of task one: 1 on the first two
    # examples, .5 on the next two; residuals as in `interval_of_outcomes`, over four.
    over_seeds = 12.7062047362**2 * np.var([0.1, 0.25], ddof=1) / 2
    parts = [table.pairs(c.name).example[table.place("span"), table.place("token")]
             for c in table.columns]  # fmt: skip
    over_examples = 2.0930240544**2 * sum(parts) / 4
    assert difference.half_width == pytest.approx((over_seeds + over_examples) ** 0.5)
    assert directions.mean_difference(table, [], "span", "token") is None


def test_only_the_tasks_and_families_of_a_direction_count(tmp_path: Path) -> None:
    compared = compare(build(tmp_path, 0.9, 0.5))
    (result,) = verify(compared, [direction(tasks=["two"])])
    assert list(result.to_json()["tasks"]) == ["two"]
    (result,) = verify(compared, [direction(families=["text classification"])])
    assert list(result.to_json()["tasks"]) == ["one", "two"]
    (result,) = verify(compared, [direction(families=["span extraction"])])
    assert (result.verdict, result.missing) == ("not in these results", "the scores")
    assert "bench run --objective span --out elsewhere" in directions.render([result], "elsewhere")


def test_a_limited_task_does_not_count(tmp_path: Path) -> None:
    compared = compare(build(tmp_path, 0.9, 0.5, probe_settings={"limit": 50}))
    assert verify(compared, [direction()])[0].verdict == "not in these results"


def test_settings_choose_the_runs_and_must_agree_otherwise(tmp_path: Path) -> None:
    for rate, other, level in ((0.15, 1, 0.9), (0.8, 1, 0.5), (0.8, 2, 0.4), (0.3, 1, 0.2)):
        settings = {"rate": rate, "other": other}
        for seed in range(3):
            label = f"token[{rate},{other}]"
            folder = make_run(tmp_path, "token", seed, label, settings)
            make_score(folder, "one", answers(level, "one", label, seed))
    rates = direction(
        better={"objective": "token", "settings": {"rate": 0.15}},
        worse={"objective": "token", "settings": {"rate": 0.8}},
    )
    (result,) = verify(compare(tmp_path), [rates])
    record = result.to_json()
    assert (record["better"], record["worse"]) == ("token[0.15,1]", "token[0.8,1]")
    assert result.verdict == "reproduced"
    (result,) = verify(compare(tmp_path), [direction()])  # none has default settings
    assert (result.verdict, result.missing) == ("not in these results", "the runs")


def test_a_star_is_every_trained_objective(tmp_path: Path) -> None:
    out = make_store(tmp_path, 5, 2, 2, 60)
    every = direction(better={"objective": "*"}, worse={"objective": "untrained"})
    results = verify(compare(out), [every])
    better = {result.to_json()["better"] for result in results}
    assert better == {"token", "whole_word", "span", "causal"}


def test_the_directions_name_existing_objectives_and_tasks() -> None:
    registry = REGISTRY
    tasks = registry.of("task")
    known = read_directions()
    assert len(known) >= 8
    for one in known:
        for side in (one.better, one.worse):
            if side.objective != "*":
                cls = registry.get("objective", side.objective)
                built = from_mapping(cls, side.settings, side.objective)
                assert side.settings.items() <= as_mapping(built).items()
        assert {*one.tasks} <= {*tasks}
        assert {*one.families} <= {task.family for task in tasks.values()}
        for command in one.commands:
            _check_command(command, registry)


def _check_command(command: str, registry: Registry) -> None:
    words = shlex.split(command)
    assert words[:2] == ["bench", "run"]
    values: dict[str, dict[str, str]] = {}
    for option, value in zip(words[2::2], words[3::2], strict=True):
        if option == "--objective":
            registry.get("objective", value)
        elif option == "--set":
            owner, _, setting = value.partition(".")
            values.setdefault(owner, {}).update([setting.split("=")])  # type: ignore[list-item]
        elif option == "--tasks":
            registry.get("task", value)
        else:
            assert option in ("--seeds", "--corpus", "--init")
    for owner, knobs in values.items():
        from_mapping(registry.get("objective", owner), knobs, owner)


def test_the_commands_make_the_runs_of_their_directions() -> None:
    """The settings of a command, with the defaults, are those of one of the two sides."""
    registry = REGISTRY
    for one in read_directions():
        for side in (one.better, one.worse):
            if not side.settings:
                continue
            made = []
            for command in one.commands:
                words = shlex.split(command)
                overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
                values = dict(text.partition(".")[2].split("=") for text in overrides)
                cls = registry.get("objective", side.objective)
                made.append(as_mapping(from_mapping(cls, values, side.objective)))
            assert any(side.settings.items() <= settings.items() for settings in made), one.claim


@pytest.mark.parametrize("text", ["[[direction", "[[direction]]\nclaim = 'x'", ""])
def test_a_file_of_directions_is_checked(tmp_path: Path, text: str) -> None:
    path = tmp_path / "directions.toml"
    path.write_text(text)
    if not text:
        assert read_directions(path) == []
        return
    with pytest.raises(BenchError, match="contains no valid directions"):
        read_directions(path)


def test_the_command(tmp_path: Path) -> None:
    out = make_store(tmp_path, 5, 2, 3, 60)
    done = CliRunner().invoke(app, ["verify", "--out", str(out), "--json"])
    assert done.exit_code == 0
    records = json.loads(done.stdout)
    assert {one["verdict"] for one in records} >= {"reproduced", "not in these results"}
    for one in records:
        assert {"claim", "source", "published", "verdict"} <= one.keys()
    shown = CliRunner().invoke(app, ["verify", "--out", str(out)]).stdout
    assert "an untrained encoder is below every trained one" in shown
    none = CliRunner().invoke(app, ["verify", "--out", str(tmp_path / "none")])
    assert isinstance(none.exception, BenchError)
