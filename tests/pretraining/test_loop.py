from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.pretraining.loop import Pretraining
from bench.pretraining.objective import MaskedObjective
from bench.pretraining.optimization import learning_rate_schedule
from bench.records.run_folder import execute, load_run
from tests.helpers.runs import MakeSpec, ignore_progress


@pytest.mark.slow
@pytest.mark.parametrize("name", ["causal", "token", "whole_word", "span"])
def test_loss_falls_below_the_unigram_loss(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    budget = 50_000 if name == "causal" else 100_000
    spec, objective = make_spec(name, budget=str(budget))
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    record = json.loads((folder / "run.json").read_text())
    curve = pq.read_table(folder / "curve.parquet").to_pylist()
    assert curve[0]["step" if "step" in curve[0] else "steps"] == 0
    assert abs(curve[0]["validation_loss"] - record["reference_nats"]["log_vocabulary"]) < 0.5
    assert curve[-1]["validation_loss"] < record["reference_nats"]["unigram"]
    assert curve[-1]["tokens"] == record["spent"]["tokens"] >= budget
    assert record["status"] == "finished"
    assert record["tokens_per_second"] > 0


def test_all_objectives_have_the_same_initial_encoder_and_rows(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    runs = [Pretraining(*make_spec(name), corpus, "cpu") for name in ("token", "span", "causal")]
    for run in runs[1:]:
        assert run.order == runs[0].order
        for ours, theirs in zip(
            run.encoder.parameters(), runs[0].encoder.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("budget", ["2000", "100pred", "3e8flop", "0.1s"])
def test_run_stops_at_the_first_step_over_the_budget(
    budget: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(budget=budget)
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    spent = json.loads((folder / "run.json").read_text())["spent"]
    amount, steps = spent[spec.budget.axis], spent["steps"]
    assert amount >= spec.budget.amount
    if spec.budget.axis != "seconds":
        assert amount * (steps - 1) / steps < spec.budget.amount
    assert all(spent[axis] > 0 for axis in ("tokens", "predictions", "flops", "seconds"))


def test_untrained_is_the_initial_encoder(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec("untrained")
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    encoder, _, _ = load_run(folder, objective)
    initial = Pretraining(*make_spec("token"), corpus, "cpu").encoder
    for ours, theirs in zip(encoder.parameters(), initial.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert json.loads((folder / "run.json").read_text())["spent"]["steps"] == 0


def test_learning_rate_schedule_warms_up_and_decays(make_spec: MakeSpec) -> None:
    training = make_spec()[0].training
    progress = (0.0, 0.025, 0.05, 0.6, 0.8, 1.0)
    rates = [learning_rate_schedule(training, share) / 4e-3 for share in progress]
    assert rates == pytest.approx([0.002, 0.502, 1.0, 1.0, 0.5, 0.0])


def test_curve_has_the_loss_at_the_customary_rate_too(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(rate=0.4), corpus, "cpu")
    run._validate()
    assert run.curve[0]["validation_loss_at_15"] > 0
    assert isinstance(run.objective, MaskedObjective)
