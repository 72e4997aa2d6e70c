from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from bench.pretraining.batch import IGNORED, Batch, Loss
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initialise
from bench.pretraining.noise import Noise
from bench.records.run_folder import execute
from bench.spec import EncoderShape
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import build

SHAPE = EncoderShape(
    hidden_size=32, num_layers=2, num_heads=4, mlp_size=48, max_length=32, vocab_size=500
)


def replaced_token(**values: Any) -> Any:
    return build("replaced_token", **values)


class Trial:
    """Encoder, head, and their last inputs and outputs."""

    def __init__(self, objective: Any) -> None:
        self.objective = objective
        self.encoder = Encoder(SHAPE, 0)
        self.head = objective.head(SHAPE, VOCABULARY)
        initialise(self.head, 0, "head")
        self.shown: torch.Tensor | None = None
        self.odds: torch.Tensor | None = None
        self.logits: torch.Tensor | None = None
        self.encoder.register_forward_pre_hook(self._save_input)
        self.head.out.register_forward_hook(self._save_odds)
        self.head.generator.register_forward_hook(self._save_logits)

    def loss(self, batch: Batch, seed: int = 0) -> Loss:
        noise = Noise(seed, 0, batch.example_ids)
        self.example = self.objective.corrupt(batch, VOCABULARY, noise)
        result: Loss = self.objective.loss(self.encoder, self.head, self.example, noise)
        return result

    def _save_input(self, module: Any, arguments: Any) -> None:
        self.shown = arguments[0]

    def _save_odds(self, module: Any, arguments: Any, odds: torch.Tensor) -> None:
        self.odds = odds[:, :, 0].detach()

    def _save_logits(self, module: Any, arguments: Any, logits: torch.Tensor) -> None:
        self.logits = logits.detach()


def test_by_hand_a_correct_sample_counts_as_original(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.tensor([[2, 10, 11, 12, 13, 3, 14, 0]])
    real = tokens > 4
    batch = Batch(tokens, real, real, real, torch.tensor([0]), attention_mask=tokens > 0)
    objective = replaced_token(rate=0.4, mask_fraction=1.0)
    places = torch.tensor([[1, 3]]), torch.tensor([[10, 12]])
    monkeypatch.setattr(type(objective), "predicted_positions", lambda *arguments: places)
    trial = Trial(objective)
    monkeypatch.setattr(trial.head.generator, "sample", lambda *arguments: torch.tensor([[10, 99]]))
    loss = trial.loss(batch)
    assert trial.example.inputs.tolist() == [[2, 4, 11, 4, 13, 3, 14, 0]]
    assert trial.shown is not None
    assert trial.shown.tolist() == [[2, 10, 11, 99, 13, 3, 14, 0]]
    assert trial.odds is not None
    replaced = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])  # not the first: the sample is correct
    nats = F.binary_cross_entropy_with_logits(trial.odds[real], replaced, reduction="sum")
    assert loss.parts["detection"][0].item() == pytest.approx(nats.item())
    assert [int(count) for _, count in loss.parts.values()] == [2, 5]
    assert int(loss.predictions) == 5


def test_loss_is_both_means_by_a_slow_loop() -> None:
    batch = sample_batch(5, 32)
    objective = replaced_token(detection_weight=7.0, rate=0.3)
    trial = Trial(objective)
    loss = trial.loss(batch)
    total = 0.0
    assert trial.shown is not None
    assert trial.odds is not None
    assert trial.logits is not None
    for row in range(5):
        real, labels = batch.real[row], trial.example.labels[row]
        is_label = labels != IGNORED
        masked = F.cross_entropy(trial.logits[row][is_label], labels[is_label])
        fake = (trial.shown[row] != batch.tokens[row]).float()
        result = F.binary_cross_entropy_with_logits(trial.odds[row][real], fake[real])
        total += real.sum().item() * (masked.item() + 7 * result.item())
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    assert loss.divisor is None
    assert int(loss.predictions) == int(batch.real.sum())


def test_sum_and_samples_do_not_depend_on_the_batch_split() -> None:
    batch = sample_batch(6, 32)
    trial = Trial(replaced_token())
    whole = trial.loss(batch)
    shown = trial.shown
    assert shown is not None
    total = 0.0
    for rows in ([4, 0], [1], [5, 3, 2]):
        part = trial.loss(rows_of(batch, torch.tensor(rows)))
        total += part.sum.item()
        assert torch.equal(trial.shown, shown[rows])
    assert total == pytest.approx(whole.sum.item(), rel=1e-5)


def test_only_chosen_tokens_are_replaced_and_none_by_a_special_one() -> None:
    batch = sample_batch(32, 32)
    trial = Trial(replaced_token(rate=0.5))
    with torch.no_grad():  # a generator that prefers special tokens
        trial.head.generator.bias[list(VOCABULARY.special_ids)] = 50.0
    trial.loss(batch)
    assert trial.shown is not None
    changed = trial.shown != batch.tokens
    assert changed.any()
    assert not VOCABULARY.is_special(trial.shown[changed]).any()
    assert not (changed & ~batch.real).any()
    hidden = trial.example.inputs == VOCABULARY.mask_id
    assert not (trial.shown == VOCABULARY.mask_id).any()
    assert (trial.shown == batch.tokens)[batch.real & ~hidden].float().mean() > 0.8


def test_share_chosen_is_exact_and_the_generator_reads_the_mask_fraction() -> None:
    batch = sample_batch(200, 32)
    for fraction in (0.85, 1.0):
        objective = replaced_token(mask_fraction=fraction)
        example = objective.corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
        is_label = example.labels != IGNORED
        assert torch.equal(is_label.sum(1), (batch.real.sum(1) * 0.15 + 0.5).long())
        seen = example.inputs.gather(1, example.positions)[is_label]
        is_masked = (seen == VOCABULARY.mask_id).double()
        assert is_masked.mean().item() == pytest.approx(fraction, abs=0.05)
        assert ((seen == VOCABULARY.mask_id) | (seen == example.labels[is_label])).all()


def test_detection_teaches_the_encoder_and_not_the_generator() -> None:
    trial = Trial(replaced_token())
    loss = trial.loss(sample_batch(4, 32))
    detected, _ = loss.parts["detection"]
    detected.backward(retain_graph=True)
    layers = trial.encoder.layers
    assert all(p.grad is not None and p.grad.any() for p in layers.parameters())
    assert all(p.grad is None for p in trial.head.generator.parameters())
    before = [p.grad.clone() for p in layers.parameters() if p.grad is not None]
    table = trial.encoder.embeddings.tok_embeddings.weight
    assert table.grad is not None
    shared = table.grad.clone()
    (loss.sum - 50 * detected).backward()
    assert all(p.grad is not None and p.grad.any() for p in trial.head.generator.parameters())
    after = [p.grad for p in layers.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(before, after, strict=True))
    assert not torch.allclose(shared, table.grad)  # the embedding is shared


@pytest.mark.parametrize(
    ("heads", "share", "expected"),
    [
        (4, 0.25, (1, 8, 12)),
        (12, 0.25, (3, 192, 288)),
        (2, 0.25, (1, 8, 12)),
        (1, 0.5, (1, 16, 24)),
        (4, 0.01, (1, 8, 12)),
        (4, 1, (4, 32, 48)),
    ],
)
def test_the_generator_has_fewer_heads_or_a_narrower_one(
    heads: int, share: float, expected: tuple[int, int, int]
) -> None:
    width = 768 if heads == 12 else 32
    shape = EncoderShape(
        hidden_size=width, num_layers=3, num_heads=heads, mlp_size=width * 3 // 2,
        max_length=32, vocab_size=500,
    )  # fmt: skip
    generator_shape = replaced_token(generator_width=share).generator_shape(shape)
    assert (
        generator_shape.num_heads,
        generator_shape.hidden_size,
        generator_shape.mlp_size,
    ) == expected
    assert generator_shape.num_layers == 3


@pytest.mark.parametrize("tokens", [[2, 3, 0], [2, 10, 3]])
def test_rows_with_nothing_to_hide_survive(tokens: list[int]) -> None:
    row = torch.tensor([tokens])
    real = row > 4
    batch = Batch(row, real, real, real, torch.tensor([0]), attention_mask=row > 0)
    loss = Trial(replaced_token()).loss(batch)
    assert torch.isfinite(loss.sum)
    assert int(loss.predictions) == int(real.sum())
    assert int(loss.parts["generator"][1]) == 0


def test_a_run_keeps_both_losses_in_its_curve(
    make_spec: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.pretraining.validation.VALIDATION_TOKENS", 256)
    spec, objective = make_spec("replaced_token", budget="1024")
    folder = execute(spec, objective, corpus, tmp_path, lambda progress: None)
    curve = pq.read_table(folder / "curve.parquet").to_pandas()
    last = curve.iloc[-1]
    assert 0 < last["train_detection_nats"] < last["train_generator_nats"] < 7
    both = last["train_generator_nats"] + 50 * last["train_detection_nats"]
    assert last["train_nats"] == pytest.approx(
        both, rel=0.05
    )  # rows have slightly different weights
