"""`bench plan` warns about everything that `run` would, and estimates the seeds of a difference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.engines.execution import prepare
from bench.errors import BenchError
from bench.experiment import Experiment, resolve
from bench.plan import make_plan, render
from tests.helpers.by_hand import write_text
from tests.helpers.registry import REGISTRY


def plan(tmp_path: Path, detect: float | None = None, **options: Any) -> Any:
    known = {"tasks": "none", "device": "cpu"} | options
    return make_plan(resolve("token", REGISTRY, **known), tmp_path, detect)


def test_a_column_that_run_would_refuse_is_refused(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "\n".join(f"a text {i},{i % 2}" for i in range(60)))
    with pytest.raises(BenchError, match="no column 'no'"):
        plan(tmp_path, tasks=None, task=f"classify:{labels},label=no")
    plan(tmp_path, tasks=None, task=f"classify:{labels}")


def test_a_search_that_run_would_refuse_is_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},a text {i}" for i in range(20))
    (tmp_path / "corpus.csv").write_text(f"_id,text\n{rows}")
    (tmp_path / "queries.csv").write_text(f"_id,text\n{rows}")
    judged = [f"{i} 0 {i + 1} 1" for i in range(20)]
    (tmp_path / "qrels.txt").write_text("\n".join(judged))
    with pytest.raises(BenchError, match="1 of 20 judgements are about a document"):
        plan(tmp_path, tasks=None, task=f"retrieve:{tmp_path}")
    (tmp_path / "qrels.txt").write_text("\n".join(judged[:-1]))
    found = plan(tmp_path, tasks=None, task=f"retrieve:{tmp_path},name=search")
    assert "search: 1 of 20 queries have no relevant document; they are left out" in found.warnings
    assert found.tasks == ["search"]


def test_more_memory_than_the_machine_has_is_a_warning(tmp_path: Path) -> None:
    found = plan(tmp_path, size="base", settings=["training.batch_tokens=16777216"])
    assert "GB of memory, and this machine has" in render(found)
    assert not plan(tmp_path).warnings


def test_tasks_without_the_contrastive_probe_are_named(tmp_path: Path) -> None:
    warnings = plan(tmp_path, probe="linear,contrastive", tasks="word_class,agreement").warnings
    assert any("contrastive does not apply to word_class:" in one for one in warnings)
    assert not plan(tmp_path, probe="linear", tasks="word_class").warnings
    assert not plan(tmp_path, probe="contrastive", tasks="agreement").warnings


def test_times_are_in_a_unit_that_a_person_would_choose(tmp_path: Path) -> None:
    assert " days of pretraining with " in render(plan(tmp_path, budget="100G"))
    assert " minutes of pretraining with " in render(plan(tmp_path, budget="20M"))


@pytest.mark.slow
def test_the_seeds_of_a_difference_come_from_the_reference_results(tmp_path: Path) -> None:
    found = plan(tmp_path, 10.0, tasks="micro").detection
    assert found.source == "the reference results (micro)"
    assert set(found.seeds) == {
        "agreement", "entities", "sense_left", "sense_right", "swapped_words", "word_class"
    }  # fmt: skip
    fewer = plan(tmp_path, 20.0, tasks="micro").detection
    assert all(
        few <= many
        for few, many in zip(fewer.seeds.values(), found.seeds.values(), strict=True)
        if few is not None and many is not None
    )
    with pytest.raises(BenchError, match="above 0"):
        plan(tmp_path, 0.0)


def of_file(folder: Path, budget: str) -> Experiment:
    """An experiment on a file of about 20,000 words."""
    write_text(folder)
    known: dict[str, Any] = {"corpus": str(folder / "text.txt"), "tasks": "none", "device": "cpu"}
    return resolve("token", REGISTRY, budget=budget, **known)


def test_epochs_of_a_corpus_that_is_not_prepared_are_unknown_tokens(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("a text that no other test prepares .\n" * 50)
    found = plan(tmp_path, budget="10epochs", corpus=str(tmp_path / "new.txt"))
    assert found.tokens_per_run is None
    assert "10 epochs per run: unknown tokens" in render(found)


@pytest.mark.parametrize("epochs", [10, 0.5])
def test_epochs_are_the_rows_of_the_prepared_corpus(tmp_path: Path, epochs: float) -> None:
    experiment = of_file(tmp_path, f"{epochs}epochs")
    rows = prepare(experiment).train.num_tokens // 63  # a row is [CLS] and 63 tokens of the text
    assert rows > 100
    found = make_plan(experiment, tmp_path)
    assert found.tokens_per_run == epochs * rows * 64
    assert f"{epochs:g} epochs per run: {epochs * rows * 64:,.0f} tokens" in render(found)


def test_a_run_of_epochs_takes_the_steps_that_its_rows_fill(tmp_path: Path) -> None:
    experiment = of_file(tmp_path, "10epochs")
    corpus = prepare(experiment)
    rows = corpus.train.num_tokens // 63
    (spec, _) = experiment.specs(corpus)[:2]
    assert (spec.budget.axis, spec.budget.amount) == ("tokens", 10 * rows * 64)
    assert spec.budget.amount / spec.training.batch_tokens == pytest.approx(10 * rows / 8)


RATES = "training.learning_rate=1e-3,2e-3,4e-3"


@pytest.mark.parametrize(
    ("objectives", "options", "trials"),
    [
        ("token", {}, 0),
        ("token", {"tune": RATES}, 3),
        ("token,span", {"tune": RATES}, 2 * 3),  # the untrained encoder has no trials
        ("token", {"tune": [RATES, "training.dropout=0,0.1"]}, 3 * 2),
        ("token,span", {"tune": [RATES, "span.rate=0.15,0.3"], "tune_on": "self"}, 3 + 3 * 2),
        ("span(rate=0.15|0.3)", {"tune": RATES, "seeds": "0-4", "curve": 2}, 2 * 3),
    ],
)
def test_the_trials_of_tuning_are_counted(
    tmp_path: Path, objectives: str, options: dict[str, Any], trials: int
) -> None:
    known = {"tasks": "none", "device": "cpu"} | options
    found = make_plan(resolve(objectives, REGISTRY, **known), tmp_path)
    assert found.trials == trials
    line = f"tuning      {trials} trials at a tenth of the budget"
    assert (line in render(found).splitlines()) == (trials > 0)


def test_the_time_of_a_plan_has_that_of_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.experiment.experiment.cores", lambda: 1)  # one worker
    alone = plan(tmp_path, seeds="0-2").pretraining_seconds
    tuned = plan(tmp_path, seeds="0-2", tune=RATES).pretraining_seconds
    assert tuned == pytest.approx(alone * (3 + 3 * 0.1) / 3)


def said(*arguments: str) -> str:
    """What `bench plan` prints."""
    known = ["--objective", "token", "--tasks", "none", "--device", "cpu"]
    done = CliRunner().invoke(app, ["plan", *known, *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_counts_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(said("--tune", RATES, "--json"))["trials"] == 3
    assert "3 trials at a tenth of the budget" in said("--tune", RATES)


def test_a_ladder_has_a_plan_for_each_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = json.loads(said("--ladder", "tiny,mini", "--json"))
    (rung,) = found["rungs"]
    assert (found["size"], rung["size"]) == ("tiny", "mini")
    assert (found["budget"], rung["budget"]) == ("1,600,000 tokens", "20,000,000 tokens")
    assert (rung["tokens_per_run"], rung["rungs"]) == (20e6, [])
    alone = json.loads(said("--size", "mini", "--json"))
    assert rung == alone


def test_a_ladder_is_printed_rung_after_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said("--ladder", "tiny,mini")
    sizes = re.findall(r"^encoder     (\w+): ", text, re.MULTILINE)
    assert sizes == ["tiny", "mini"]
    assert text.split("\n\n") == [said().removesuffix("\n"), said("--size", "mini")]


def test_every_rung_has_its_trials(tmp_path: Path) -> None:
    found = plan(tmp_path, tune=RATES, ladder="tiny,mini")
    assert [found.trials, *(rung.trials for rung in found.rungs)] == [3, 3]
