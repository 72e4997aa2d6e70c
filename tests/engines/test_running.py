"""What `run` and `plan` refuse before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import bench
from bench.cli import app
from bench.errors import BenchError
from bench.experiment import resolve
from tests.conftest import REGISTRY


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "cloud"], "none of local, ray, slurm, print"),
        (["--engine", "print", "--race"], "does not wait for results"),
        (["--race", "--seeds", "0-1", "--tasks", "none"], "--race needs two objectives"),
        (["--gpus-per-run", "64"], "a batch of token has 8 parts to share"),
    ],
)
def test_plan_refuses_what_run_refuses(
    command: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    shared = ["--objective", "token", "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, [command, *shared, *arguments])
    assert isinstance(result.exception, BenchError)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_the_difference_of_a_race_needs_a_race(tmp_path: Path) -> None:
    shared = {"out": tmp_path, "budget": 1000, "progress": False}
    with pytest.raises(BenchError, match="needs --race"):
        bench.run("token", detect=1.0, **shared)
    with pytest.raises(BenchError, match="above 0"):
        bench.run(["token", "span"], detect=-1.0, race=True, seeds=5, **shared)


def test_an_engine_that_waits_for_nothing_is_refused_in_python(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing to compare"):
        bench.run("token", engine="print", out=tmp_path)


def test_all_keeps_the_variants_beside_it() -> None:
    shared = {"tasks": "none", "device": "cpu"}
    every = resolve("all", REGISTRY, **shared).objectives
    more = resolve(["all", "span(rate=0.3)"], REGISTRY, **shared).objectives
    assert more.keys() - every.keys() == {"span[rate=0.3]"}
    assert every.keys() <= more.keys()
