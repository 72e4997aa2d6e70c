"""adaptive_mlm: weights follow errors, rows keep their quota, and a resumed run is bit-equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import RefusedError, StoppedError
from bench.pretraining.batch import IGNORED, Example
from bench.pretraining.checkpoint import checkpoints
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import TokenHead, counted_token_loss, token_loss
from bench.pretraining.loop import Pretraining
from bench.records.run_folder import UNFINISHED, execute
from bench.storage import file_sha256
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch
from tests.helpers.by_hand import SHAPE, build, noise_for

MakeSpec = Callable[..., Any]


def counters(predictions: list[int], errors: list[int]) -> dict[str, torch.Tensor]:
    return {"predictions": torch.tensor(predictions), "errors": torch.tensor(errors)}


def chosen_share(weights: torch.Tensor, rate: float = 0.15) -> tuple[torch.Tensor, torch.Tensor]:
    """How often each type is hidden, and the share of each row that is predicted."""
    batch = sample_batch(400, 128)
    batch = dataclasses.replace(batch, statistics={"weights": weights})
    mask = build("adaptive_mlm", rate=rate).choose(batch, noise_for(batch))
    assert not mask[~batch.real].any()
    size = VOCABULARY.size
    hidden = torch.bincount(batch.tokens[mask], minlength=size)
    present = torch.bincount(batch.tokens[batch.real], minlength=size)
    return hidden / present.clamp(min=1), mask.sum(1) / batch.real.sum(1)


def test_the_docstring_s_example_by_hand() -> None:
    objective = build("adaptive_mlm")
    weights = objective.adapt(
        {"weights": torch.ones(3, dtype=torch.float64)}, counters([40, 3, 0], [2, 3, 0])
    )["weights"]
    assert weights.tolist() == pytest.approx(
        [0.2 + 0.8 * (1 - 38.5 / 41), 0.2 + 0.8 * (1 - 0.5 / 4), 0.2 + 0.8 * 0.5]
    )
    assert [round(weight, 2) for weight in weights.tolist()] == [0.25, 0.9, 0.6]
    assert round(float(weights[1] / weights[0]), 1) == 3.6


def test_weights_do_not_fall_below_the_lowest() -> None:
    objective = build("adaptive_mlm", smoothing=0.0)
    (weight,) = objective.adapt({"weights": torch.ones(1)}, counters([10**6], [0]))["weights"]
    assert float(weight) == pytest.approx(0.005 / 0.15)


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_types_are_hidden_in_proportion_to_their_weights(rate: float) -> None:
    weights = torch.ones(VOCABULARY.size, dtype=torch.float64)
    weights[::2] = 0.25
    share, of_rows = chosen_share(weights, rate)
    ordinary = torch.arange(VOCABULARY.size) > 4
    even = torch.arange(VOCABULARY.size) % 2 == 0
    ratio = share[~even & ordinary].mean() / share[even & ordinary].mean()
    assert 4 * (0.93 if rate < 0.2 else 0.7) < ratio < 4.2  # less where most tokens are hidden
    assert ((of_rows - rate).abs() < 0.1 * rate)[:-1].all()
    assert abs(of_rows.mean() - rate) < 0.02 * rate


def test_equal_weights_hide_every_type_equally_often() -> None:
    share, _ = chosen_share(torch.ones(VOCABULARY.size, dtype=torch.float64))
    assert abs(share[5:].std() / share[5:].mean()) < 0.35  # 15 of 100 places: 0.24 by chance


def test_counters_count_predictions_and_errors_of_each_type() -> None:
    encoder, head = Encoder(SHAPE, 0), TokenHead(SHAPE)
    batch = sample_batch(6, 24)
    example: Example = build("adaptive_mlm", rate=0.4).corrupt(batch, VOCABULARY, noise_for(batch))
    loss, plain = counted_token_loss(encoder, head, example), token_loss(encoder, head, example)
    assert torch.equal(loss.sum, plain.sum)
    assert torch.equal(loss.predictions, plain.predictions)
    labels = example.labels[example.labels != IGNORED]
    assert torch.equal(loss.counters["predictions"], torch.bincount(labels, minlength=500))
    assert (loss.counters["errors"] <= loss.counters["predictions"]).all()
    with torch.no_grad():
        head.bias[int(labels[0])] = 1e6  # the head predicts this type everywhere
    errors = counted_token_loss(encoder, head, example).counters["errors"]
    assert errors[labels[0]] == 0
    assert errors.sum() == (labels != labels[0]).sum()


def test_weights_move_to_the_types_with_more_errors(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    spec, objective = make_spec("adaptive_mlm", budget="25600", update_steps=50)
    run = Pretraining(spec, objective, corpus, "cpu")
    predictions = errors = torch.zeros(spec.encoder.vocab_size, dtype=torch.long)
    while run.ledger.steps < 100:
        if run.ledger.steps == 99:  # the last step before the second update
            assert run.feedback is not None
            predictions, errors = (run.feedback.counters[k] for k in ("predictions", "errors"))
        run.step()
    assert run.feedback is not None
    assert run.feedback.counters == {}
    weights = run.feedback.statistics["weights"]
    often = predictions >= 20
    error_rates = errors[often] / predictions[often]
    assert torch.corrcoef(torch.stack((weights[often], error_rates.double())))[0, 1] > 0.9
    assert weights[often][error_rates.argmin()] < 0.8 * weights[often][error_rates.argmax()]
    assert run.ledger.predictions / run.ledger.tokens == pytest.approx(0.15, rel=0.1)


@torch.no_grad()
def test_validation_keeps_equal_weights(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    run = Pretraining(*make_spec("adaptive_mlm"), corpus, "cpu")
    before = run.validation_loss(run.objective)
    assert run.feedback is not None
    run.feedback.statistics = {"weights": torch.rand(run.spec.encoder.vocab_size).double()}
    assert run.validation_loss(run.objective) == before
    assert run.feedback.counters == {}  # held-out predictions are not counted


def stop_at(steps: int) -> Callable[[], BaseException | None]:
    left = iter(range(steps, 0, -1))
    return lambda: StoppedError("stopped") if next(left) == 1 else None


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 4, 6])  # before, at and after the first update
def test_a_run_resumed_around_an_update_is_bit_equal(
    steps: int, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec("adaptive_mlm", update_steps=4)
    whole = execute(spec, objective, corpus, tmp_path / "a", lambda progress: None)
    with pytest.raises(StoppedError):
        execute(spec, objective, corpus, tmp_path / "b", lambda progress: None, stop_at(steps))
    (checkpoint,) = checkpoints(tmp_path / "b" / UNFINISHED / spec.unfinished_id)
    assert {"statistics.safetensors", "counters.safetensors"} <= {
        path.name for path in checkpoint.iterdir()
    }
    resumed = execute(spec, objective, corpus, tmp_path / "b", lambda progress: None)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)
    plain = execute(*make_spec("adaptive_mlm"), corpus, tmp_path / "c", lambda progress: None)
    assert file_sha256(whole / "encoder.safetensors") != file_sha256(plain / "encoder.safetensors")


def test_a_checkpoint_without_weights_is_refused(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    from bench.pretraining.checkpoint import checkpoint_of, restore

    run = Pretraining(*make_spec("adaptive_mlm"), corpus, "cpu")
    parts, state = checkpoint_of(run)
    del parts["statistics"]
    with pytest.raises(RefusedError, match=r"expected torch\.float64 .* for weights, got no"):
        restore(run, parts, state, tmp_path)


def test_an_objective_without_feedback_has_none(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    from bench.pretraining.checkpoint import checkpoint_of

    run = Pretraining(*make_spec("token"), corpus, "cpu")
    run.step()
    assert run.feedback is None
    assert set(checkpoint_of(run)[0]) == {"encoder", "head", "optimizer"}


def test_micro_batches_give_the_same_counters(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    sums = []
    for parts in (1, 4):
        run = Pretraining(*make_spec("adaptive_mlm"), corpus, "cpu")
        run.gradient_accumulation_steps = parts
        run.step()
        assert run.feedback is not None
        sums.append(run.feedback.counters)
    assert all(torch.equal(sums[0][name], sums[1][name]) for name in ("predictions", "errors"))
