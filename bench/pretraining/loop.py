"""The one training loop: the same optimizer, schedule and order of text for every objective.

What differs between runs is `objective.corrupt` and `objective.loss`, nothing here. The loop
divides the summed loss by the summed count once per step, so a batch cut into micro-batches gives
the same gradient. On a GPU the encoder runs in bf16 and compiled, with fixed shapes; on a CPU in
float32 and uncompiled (compiling was tried: up to 37 s for 5 %).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from bench.corpus.order import Order
from bench.errors import BenchError
from bench.pretraining.batch import Batch, Loss
from bench.pretraining.encoder import Encoder, initialise
from bench.pretraining.guard import guarded
from bench.pretraining.ledger import Ledger, check_passes, step_flops
from bench.pretraining.noise import Noise
from bench.pretraining.objective import MaskedObjective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.store import TokenStore
    from bench.pretraining.objective import Objective
    from bench.spec import RunSpec

CURVE_POINTS = 10
VALIDATION_TOKENS = 8192
GUARDED_STEPS = 3
"""Steps on which an objective is watched for what it must leave alone."""
STATISTICS_TOKENS = 2**24
"""What an objective may look at before it starts."""
_VALIDATION_SEED = 2**62  # beyond any run's own: masks of validation are the same for every seed


class Diverged(Exception):
    """The loss stopped being a finite number."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a progress bar shows."""

    share: float
    step: int
    nats: float
    tokens: int
    tokens_per_second: float


class _Part(NamedTuple):
    """What one micro-batch came to."""

    nats: float
    predictions: int
    divisor: float
    slots: float
    tokens: int
    terms: dict[str, tuple[float, float]]


class Pretraining:
    """One run in the making: encoder, head, optimizer, ledger and curve.

    Args:
        spec: What is run.
        objective: As `spec` names and sets it.
        corpus: Token stores and tokenizer.
        device: "cpu" or "cuda".
    """

    def __init__(
        self, spec: RunSpec, objective: Objective, corpus: PreparedCorpus, device: str
    ) -> None:
        self.spec, self.objective, self.corpus = spec, objective, corpus
        self.device = torch.device(device)
        self.vocabulary = corpus.tokenizer.vocabulary
        self.length = spec.encoder.max_length
        self.rows_per_step = spec.training.batch_tokens // self.length
        self.gradient_accumulation_steps = 1
        self.order = Order(corpus.train.num_rows(self.length), self.rows_per_step, spec.seed)
        self.encoder = Encoder(spec.encoder, spec.seed)
        with torch.random.fork_rng(devices=[]):
            self.head = objective.head(spec.encoder, self.vocabulary)
        initialise(self.head, spec.seed, "head")
        self.encoder.to(self.device)
        self.head.to(self.device)
        self.cost = objective.extra_cost(spec.encoder)
        self.parameters = {
            **{f"encoder.{name}": p for name, p in self.encoder.named_parameters()},
            **{f"head.{name}": p for name, p in self.head.named_parameters()},
        }
        self.optimizer = _optimizer(self.parameters, spec)
        self.ledger = Ledger()
        self.curve: list[dict[str, float]] = []
        self.recent: dict[str, Mean] = {}  # the loss and its parts since the curve's last point
        self.statistics: dict[str, Tensor] = {}
        self.statistics = self._collect_statistics()
        if self.device.type == "cuda":
            self.encoder.compile_forward()

    @property
    def progress(self) -> float:
        """Share of the budget spent."""
        return self.ledger.progress(self.spec.budget) if self.objective.trains else 1.0

    def train(
        self,
        on_progress: Callable[[Progress], None],
        on_pause: Callable[[], None],
    ) -> None:
        """Spend the budget.

        Args:
            on_progress: Told of every step.
            on_pause: Called between steps: saves checkpoints, raises to stop.

        Raises:
            Diverged: A loss that is no finite number, before it reached the weights.
            BenchError: The objective broke its contract.
        """
        if self.device.type == "cuda" and self.progress < 1.0:
            self._warm_up()
        if not self.curve:
            self._validate()
        while self.progress < 1.0:
            nats = self.step()
            share = self.progress
            if share >= 1.0 or share * CURVE_POINTS >= len(self.curve):
                self._validate()
            rate = self.ledger.tokens / max(self.ledger.seconds, 1e-9)
            on_progress(Progress(share, self.ledger.steps, nats, self.ledger.tokens, rate))
            on_pause()

    def _warm_up(self) -> None:
        """Compile before the clock starts: seconds are a budget, and the next run finds a cache.

        At both ends of the budget, for objectives that change on the way.
        """
        read_before = self.encoder.tokens_read
        self._gradient(0.0)
        self._gradient(1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.encoder.tokens_read = read_before

    def step(self) -> float:
        """One optimizer step; returns the mean loss in nats."""
        started = time.perf_counter()
        share = self.progress
        read_before = self.encoder.tokens_read
        parts = self._gradient(share)
        total, divisor = sum(part.nats for part in parts), sum(part.divisor for part in parts)
        if not math.isfinite(total):
            raise Diverged(f"loss {total} at step {self.ledger.steps}")
        positions = self.rows_per_step * self.length
        check_passes(
            self.encoder.tokens_read - read_before,
            positions * self.cost.encoder_passes,
            self.objective.name,
        )
        self._update(divisor, share)
        ledger = self.ledger
        ledger.steps += 1
        ledger.tokens += sum(part.tokens for part in parts)
        ledger.predictions += sum(part.predictions for part in parts)
        slots = sum(part.slots for part in parts)
        ledger.flops += step_flops(
            self.spec.encoder, self.cost, self.rows_per_step, self.length, slots
        )
        ledger.seconds += time.perf_counter() - started
        self._refuse_endless()
        for name, summed, count in _terms(parts):
            self.recent.setdefault(name, Mean()).add(summed, count)
        return total / divisor if divisor else math.nan

    def _gradient(self, share: float) -> list[_Part]:
        """The summed gradient of the step's batch; out of memory halves the micro-batch."""
        while True:
            read_before = self.encoder.tokens_read
            try:
                return [
                    self._backward(micro, share)
                    for micro in range(self.gradient_accumulation_steps)
                ]
            except torch.OutOfMemoryError:
                if self.gradient_accumulation_steps * 2 > self.rows_per_step:
                    raise
                self.gradient_accumulation_steps *= 2
                self.encoder.tokens_read = read_before
                self.optimizer.zero_grad(set_to_none=True)

    def _backward(self, micro: int, share: float) -> _Part:
        """Corrupt one micro-batch and add its gradient of the summed loss."""
        rows, epochs = self.order.batch(self.ledger.steps, micro, self.gradient_accumulation_steps)
        batch = self._read(self.corpus.train, rows, share)
        noise = Noise(self.spec.seed, self._tensor(epochs), batch.example_ids)
        loss, slots = self._loss(self.objective, batch, noise)
        loss.sum.backward()  # type: ignore[no-untyped-call]
        tokens = (
            batch.tokens.numel()
            if batch.attention_mask is None
            else int(batch.attention_mask.sum())
        )
        nats, predictions = float(loss.sum.detach()), int(loss.predictions)
        terms = {name: (float(s.detach()), float(n)) for name, (s, n) in loss.parts.items()}
        return _Part(nats, predictions, _divisor(loss), slots, tokens, terms)

    def _loss(self, objective: Objective, batch: Batch, noise: Noise) -> tuple[Loss, float]:
        """Corrupt and ask: (loss, slots whose logits were computed)."""
        is_watched = self.ledger.steps < GUARDED_STEPS
        watch = guarded(objective.name, batch) if is_watched else contextlib.nullcontext()
        is_gpu = self.device.type == "cuda"
        with watch, torch.autocast(self.device.type, torch.bfloat16, enabled=is_gpu):
            example = objective.corrupt(batch, self.vocabulary, noise)
            loss = objective.loss(self.encoder, self.head, example, noise)
        return loss, float(example.labels.numel() if loss.slots is None else loss.slots)

    def _update(self, divisor: float, share: float) -> None:
        """Divide once, clip, step."""
        if divisor == 0:  # nothing was predicted: nothing to learn, and no 0/0
            self.ledger.empty_steps += 1
            self.optimizer.zero_grad(set_to_none=True)
            return
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) / divisor
        if not math.isfinite(float(norm)):
            raise Diverged(f"gradient norm {float(norm)} at step {self.ledger.steps}")
        scale = torch.clamp(self.spec.training.clip_norm / (norm + 1e-6), max=1.0) / divisor
        torch._foreach_mul_(gradients, scale)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(share)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def learning_rate(self, share: float) -> float:
        """Linear warm-up, constant, linear decay to zero, as a function of the budget spent."""
        training = self.spec.training
        rising = (share + 1e-4) / training.warmup if training.warmup else 1.0
        falling = (1.0 - share) / training.decay if training.decay else 1.0
        return training.learning_rate * min(1.0, rising, falling)

    def _read(self, store: TokenStore, rows: Any, share: float) -> Batch:
        vocabulary = self.vocabulary
        found = store.rows(rows, self.length, vocabulary.cls_id, vocabulary.pad_id)

        tensor = self._tensor
        return Batch(
            tokens=tensor(found.tokens),
            real=tensor(found.real),
            word_start=tensor(found.word_start),
            sentence_start=tensor(found.sentence_start),
            example_ids=tensor(rows),
            attention_mask=None if found.attention_mask is None else tensor(found.attention_mask),
            progress=share,
            statistics=self.statistics,
        )

    def _collect_statistics(self) -> dict[str, Tensor]:
        """What the objective needs to know of the text, read once from its beginning."""
        store, rows = self.corpus.train, max(1, STATISTICS_TOKENS // self.length // 64)
        last = min(store.num_rows(self.length), STATISTICS_TOKENS // self.length)
        batches = (
            self._read(store, np.arange(low, min(low + rows, last)), 0.0)
            for low in range(0, last, rows)
        )
        found = self.objective.collect_statistics(batches, self.vocabulary)
        return {name: tensor.to(self.device) for name, tensor in found.items()}

    def _tensor(self, values: Any) -> Tensor:
        """An array on the device, without waiting for the copy."""
        found = torch.from_numpy(values)
        if self.device.type == "cuda":
            found = found.pin_memory().to(self.device, non_blocking=True)
        return found

    def _refuse_endless(self) -> None:
        """A budget in predictions is never spent by an objective that makes none."""
        ledger = self.ledger
        if self.spec.budget.axis == "predictions" and ledger.empty_steps == ledger.steps == 100:
            raise BenchError(
                f"objective {self.objective.display_name!r} predicted nothing in 100 steps, so a budget "
                "in predictions would never end; raise its rate or name another axis"
            )

    @torch.no_grad()
    def _validate(self) -> None:
        """Add a point to the curve: loss on held-out documents under fixed masks."""
        recent, self.recent = self.recent, {}
        point = dataclasses.asdict(self.ledger) | {
            "learning_rate": self.learning_rate(self.progress),
            "train_nats": math.nan,
            **{name: mean.value for name, mean in recent.items()},
            "validation_loss": self._validation_nats(self.objective),
        }
        at_fixed_rate = self._at_fixed_rate()
        if at_fixed_rate is not None:
            point["validation_nats_at_15"] = self._validation_nats(at_fixed_rate)
        self.curve.append(point)

    def _at_fixed_rate(self) -> Objective | None:
        """The objective at the customary rate: losses at unlike rates are not comparable."""
        if not isinstance(self.objective, MaskedObjective) or self.objective.rate == 0.15:
            return None
        return dataclasses.replace(self.objective, rate=0.15)

    def _validation_nats(self, objective: Objective) -> float:
        store = self.corpus.heldout
        if store is None:
            return math.nan
        read_before = self.encoder.tokens_read
        self.encoder.eval()
        self.head.eval()
        num_rows = min(
            store.num_rows(self.length, include_partial=True),
            math.ceil(VALIDATION_TOKENS / self.length),
        )
        mean = Mean()
        ids = torch.arange(num_rows).numpy()
        for low in range(0, num_rows, self.rows_per_step):
            batch = self._read(store, ids[low : low + self.rows_per_step], self.progress)
            noise = Noise(_VALIDATION_SEED, 0, batch.example_ids)
            loss, _ = self._loss(objective, batch, noise)
            mean.add(float(loss.sum), _divisor(loss))
        self.encoder.train()
        self.head.train()
        self.encoder.tokens_read = read_before
        return mean.value


@dataclasses.dataclass
class Mean:
    """Sums and their divisors, divided once."""

    total: float = 0.0
    divisor: float = 0.0

    def add(self, total: float, divisor: float) -> None:
        self.total += total
        self.divisor += divisor

    @property
    def value(self) -> float:
        return self.total / self.divisor if self.divisor else math.nan


def _terms(parts: list[_Part]) -> Iterator[tuple[str, float, float]]:
    """(Column of the curve, sum, count) of the whole loss and of each of its terms."""
    for part in parts:
        yield "train_nats", part.nats, part.divisor
        for name, (summed, count) in part.terms.items():
            yield f"train_{name}_nats", summed, count


def _divisor(loss: Loss) -> float:
    return float(loss.predictions if loss.divisor is None else loss.divisor)


def _optimizer(parameters: dict[str, nn.Parameter], spec: RunSpec) -> torch.optim.AdamW:
    """AdamW in one fused kernel; only matrices decay."""
    training = spec.training
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    others = [p for p in parameters.values() if p.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
        fused=True,
    )
