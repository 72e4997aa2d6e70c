"""The training loop: optimizer, schedule and order of the text are equal for every objective.

Runs differ only in `objective.corrupt` and `objective.loss`. The loop divides the summed loss by
the summed count once per step, so the gradient does not depend on the number of micro-batches. On a
GPU the encoder is compiled and runs in bf16 with fixed shapes. On a CPU it runs in float32 and is
not compiled: in a test, compiling took up to 37 s and saved 5 %.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch

from bench.corpus.order import Order
from bench.errors import FailedError
from bench.pretraining.accelerator.divided import weights_of
from bench.pretraining.accelerator.masked_update import MaskedUpdate
from bench.pretraining.accelerator.memory import StepMemory
from bench.pretraining.accelerator.pending import PendingStep
from bench.pretraining.accelerator.prefetch import RowsKey, TrainingRows
from bench.pretraining.accelerator.weights import gradients_of
from bench.pretraining.batch import Batch, Loss
from bench.pretraining.batch_reader import BatchReader
from bench.pretraining.checkpoints.modules import initial_modules
from bench.pretraining.corruption.packing import bounded
from bench.pretraining.guard import refuse_side_effects
from bench.pretraining.ledger import (
    Ledger,
    Progress,
    check_passes,
    check_predictions,
    step_flops,
)
from bench.pretraining.loss_sums import (
    Feedback,
    Mean,
    MicroBatchLoss,
    MicroBatchSums,
    curve_terms,
)
from bench.pretraining.noise import Noise
from bench.pretraining.optimization import build_optimizer, learning_rate_schedule
from bench.pretraining.ranks import ALONE, Ranks, check_ranks, in_order
from bench.pretraining.validation import at_customary_rate, validation_loss

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.store import TokenStore
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.objective import Objective
    from bench.spec import RunSpec

CURVE_POINTS = 10


class Diverged(Exception):
    """The loss or the norm of the gradient is not finite."""


class Pretraining:
    """An unfinished run: encoder, head, optimizer, ledger and training curve.

    Args:
        spec: Specification of the run.
        objective: The objective that `spec` names, with its settings.
        corpus: Token stores and tokenizer.
        device: "cpu", "cuda" or "mps".
        forget: A second corpus, whose held-out loss is a column of the curve.
        ranks: The processes that share the run.

    Raises:
        BenchError: A batch has fewer rows, or fewer groups of rows, than there are ranks.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: Objective,
        corpus: PreparedCorpus,
        device: str,
        forget: PreparedCorpus | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.spec, self.objective, self.corpus, self.forget = spec, objective, corpus, forget
        self.device = torch.device(device)
        self.vocabulary = corpus.tokenizer.vocabulary
        self.length = spec.encoder.max_length
        is_bounded = spec.training.packing == "bounded"
        self.reader = BatchReader(self.vocabulary, self.length, self.device, is_bounded)
        self.rows_per_step = spec.training.batch_tokens // self.length
        self.ranks = ranks
        self.gradient_accumulation_steps = ranks.size
        check_ranks(ranks, self.num_groups, objective.display_name)
        self.order = Order(corpus.train.num_rows(self.length), self.rows_per_step, spec.seed)
        self.encoder, self.head = initial_modules(spec, objective, self.vocabulary)
        self.weights = weights_of(self.encoder, self.head, ranks, self.device)
        self.parameters = self.weights.parameters
        self.cost = objective.extra_cost(spec.encoder)
        self.optimizer = build_optimizer(self.parameters, spec.training)
        self.ledger = Ledger()
        self.curve: list[dict[str, float]] = []
        self.recent: dict[str, Mean] = {}  # the loss and its terms since the last curve point
        self.reader.collect_statistics(objective, corpus.train)
        self.feedback = Feedback(self.reader.statistics) if objective.feedback_steps else None
        self.rows = TrainingRows(
            self.order, self.reader, corpus.train, objective.rows_together, ranks
        )
        self._masked_update = MaskedUpdate(self.optimizer, spec.training.clip_norm, self.weights)
        self._pending: PendingStep | None = None
        # Where the next step depends on the sums of this one, they are read at once.
        is_needed = spec.budget.axis == "predictions" or self.feedback is not None
        self.is_late = self.device.type == "cuda" and not is_needed
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32

    @property
    def num_groups(self) -> int:
        """Parts of a batch that cannot be divided further."""
        return -(-self.rows_per_step // self.objective.rows_together)

    @property
    def micro_batch_rows(self) -> int:
        """Rows of the largest micro-batch."""
        groups = -(-self.num_groups // self.gradient_accumulation_steps)
        return groups * self.objective.rows_together

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 to 1; always 1 for an objective that does not train."""
        return self.ledger.progress(self.spec.budget) if self.objective.trains else 1.0

    def train(
        self,
        on_progress: Callable[[Progress], None],
        on_pause: Callable[[], None],
    ) -> None:
        """Train until the budget is spent.

        Args:
            on_progress: Called after every step.
            on_pause: Called between steps; saves checkpoints, and raises an exception to stop.

        Raises:
            Diverged: The loss or the gradient is not finite. The weights are still finite.
            BenchError: The objective broke its contract.
        """
        try:
            if self.device.type == "cuda" and self.progress < 1.0:
                self.rows.start()
                self._warm_up()
            if not self.curve:
                self._validate()
            while self.progress < 1.0:
                self._report(self.step(), on_progress)
                on_pause()
        finally:
            self.rows.stop()

    def _report(self, nats: float, on_progress: Callable[[Progress], None]) -> None:
        """Add a point to the curve where one is due, and tell of the progress."""
        share = self.progress
        if share >= 1.0 or share * CURVE_POINTS >= len(self.curve):
            self.settle()
            self._validate()
        tokens, seconds = self.ledger.tokens, max(self.ledger.seconds, 1e-9)
        on_progress(Progress(share, self.ledger.steps, nats, tokens, tokens / seconds))

    def _warm_up(self) -> None:
        """Compile before time is measured, because seconds are a budget and later runs use a cache.

        It runs at both ends of the budget, because the objective may depend on the progress.
        """
        read_before = self.encoder.tokens_read
        if self.ledger.steps == 0:
            self._fit_memory(torch.cuda.mem_get_info()[0] + self.weights.saved_bytes)
        self._gradient(0.0)
        self._gradient(1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.encoder.uncount(read_before)
        torch.cuda.synchronize()

    def _fit_memory(self, free: float) -> None:
        """Choose a micro-batch that should fit into so many bytes; out of memory still halves it.

        What the objective gives for one row decides, so every pattern has its own size.
        """
        batch = self.reader.place(self.rows.gather(RowsKey(0, 0, self.num_groups))[0], 0.0)
        noise = Noise(self.spec.seed, 0, batch.example_ids)
        example = bounded(self.objective.corrupt(batch, self.vocabulary, noise), batch.documents)
        memory = StepMemory.of(self.spec.encoder, self.cost, example)
        count = memory.micro_batches(
            self.rows_per_step, self.length, free, self.ranks.size, self.num_groups
        )
        self.gradient_accumulation_steps = max(self.ranks.gather(count))

    def step(self) -> float:
        """Do one optimizer step and return its mean loss in nats (NaN if nothing was predicted).

        On a GPU it is the mean loss of the step before, whose sums have arrived by now.
        """
        started, read_before = time.perf_counter(), self.encoder.tokens_read
        share, ledger = self.progress, self.ledger
        own, costs = self._gradient(share)
        positions = self.rows_per_step * self.length
        check_passes(
            sum(self.ranks.gather(self.encoder.tokens_read - read_before)),
            positions * self.cost.encoder_passes,
            self.objective.name,
        )
        nats = self._update_late(own, share) if self.is_late else self._update_now(own, share)
        ledger.steps += 1
        ledger.tokens += sum(tokens for tokens, _ in costs)
        ledger.flops += step_flops(
            self.encoder.forward_flops(self.rows_per_step, self.length),
            self.cost,
            positions,
            sum(slots for _, slots in costs),
        )
        if self.feedback is not None:
            self.feedback.adapt(self.objective, ledger.steps)
        ledger.seconds += self.ranks.from_first(time.perf_counter() - started)
        check_predictions(ledger, self.spec.budget, self.objective.display_name)
        return nats

    def settle(self) -> None:
        """Wait for the sums of the last step, before something reads the ledger or the curve.

        Raises:
            Diverged: The loss or the gradient of that step was not finite.
        """
        if self._pending is None:
            return
        started = time.perf_counter()
        pending, self._pending = self._pending, None
        self._count_late(pending)
        self.ledger.seconds += self.ranks.from_first(time.perf_counter() - started)

    def _gradient(self, share: float) -> tuple[list[MicroBatchSums], list[tuple[int, float]]]:
        """Accumulate the gradient of the summed loss; if memory runs out, halve the micro-batch.

        Returns:
            The sums of the own micro-batches, and (tokens, slots) of those of all ranks.
        """
        while True:
            if self.device.type == "cuda" and not self.ranks.is_sharded:
                self.encoder.compile_forward(self.micro_batch_rows)
            read_before = self.encoder.tokens_read
            own = range(self.ranks.rank, self.gradient_accumulation_steps, self.ranks.size)
            shortage: torch.OutOfMemoryError | None = None
            sums: list[MicroBatchSums] = []
            try:
                sums = [self._backward(micro, share) for micro in own]
            except torch.OutOfMemoryError as error:
                shortage = error
                self.weights.report(error)
            costs = [(one.tokens, one.slots) for one in sums]
            reports = self.ranks.gather((shortage is not None, costs))
            if not any(is_short for is_short, _ in reports):
                self.weights.add_gradients()
                return sums, in_order([part for _, part in reports])
            if self.gradient_accumulation_steps * 2 > self.num_groups:
                raise shortage or FailedError("the memory of another rank is exhausted")
            self.gradient_accumulation_steps *= 2
            self.encoder.uncount(read_before)
            self.optimizer.zero_grad(set_to_none=True)

    def _backward(self, micro: int, share: float) -> MicroBatchSums:
        """Corrupt one micro-batch and add the gradient of its summed loss."""
        rows, epochs = self.rows.take(
            RowsKey(self.ledger.steps, micro, self.gradient_accumulation_steps)
        )
        batch = self.reader.place(rows, share)
        if self.feedback is not None:
            batch = dataclasses.replace(batch, statistics=self.feedback.statistics)
        noise = Noise(self.spec.seed, self.reader.to_device(epochs), batch.example_ids)
        loss, slots = self._loss(self.objective, batch, noise)
        self.weights.backward(loss.sum)
        return MicroBatchSums.of(loss, slots, rows.num_tokens)

    def _loss(self, objective: Objective, batch: Batch, noise: Noise) -> tuple[Loss, float]:
        """Corrupt a batch and return (loss, number of positions whose logits were computed)."""
        guard = refuse_side_effects(objective.name, batch)
        is_gpu = self.device.type == "cuda"
        with guard, torch.autocast(self.device.type, torch.bfloat16, enabled=is_gpu):
            self.encoder.set_dropout(self.spec.training.dropout, noise)
            example = bounded(objective.corrupt(batch, self.vocabulary, noise), batch.documents)
            encoder = cast("Encoder", self.encoder)  # plugins name it so; the methods are the same
            loss = objective.loss(encoder, self.head, example, noise)
            loss = dataclasses.replace(loss, sum=self.weights.joined(loss.sum))
        return loss, float(example.labels.numel() if loss.slots is None else loss.slots)

    def _update_now(self, own: Sequence[MicroBatchSums], share: float) -> float:
        """Read the sums, update the weights unless something is not finite, and count the step."""
        losses, _ = self._read(PendingStep(own, torch.zeros(()), self.ledger))
        total, divisor = sum(loss.nats for loss in losses), sum(loss.divisor for loss in losses)
        if not math.isfinite(total):
            raise Diverged(f"loss {total} at step {self.ledger.steps}")
        if divisor:
            self._update(divisor, share)
        self.optimizer.zero_grad(set_to_none=True)
        return self._count(losses)

    def _update(self, divisor: float, share: float) -> None:
        """Divide the gradient by the divisor, clip its norm and update the weights."""
        norm = self.weights.norm() / divisor
        if not math.isfinite(float(norm)):
            raise Diverged(f"gradient norm {float(norm)} at step {self.ledger.steps}")
        scale = torch.clamp(self.spec.training.clip_norm / (norm + 1e-6), max=1.0) / divisor
        torch._foreach_mul_(gradients_of(self.parameters.values()), scale)
        self._set_learning_rate(share)
        self.optimizer.step()

    def _update_late(self, own: Sequence[MicroBatchSums], share: float) -> float:
        """Update the weights while the sums are on their way; count the step before this one."""
        self._set_learning_rate(share)
        norm = self._masked_update(own)
        self.optimizer.zero_grad(set_to_none=True)
        late = self._pending
        self._pending = PendingStep(own, norm, dataclasses.replace(self.ledger))
        return math.nan if late is None else self._count_late(late)

    def _count_late(self, pending: PendingStep) -> float:
        """Count a step whose update was made, or raise `Diverged` where it was skipped."""
        losses, norm = self._read(pending)
        total, divisor = sum(loss.nats for loss in losses), sum(loss.divisor for loss in losses)
        if math.isfinite(total) and (math.isfinite(norm) or not divisor):
            return self._count(losses)
        counted = {name: getattr(self.ledger, name) for name in ("predictions", "empty_steps")}
        self.ledger = dataclasses.replace(pending.ledger, **counted)
        self._pending = None
        cause = f"gradient norm {norm}" if math.isfinite(total) else f"loss {total}"
        raise Diverged(f"{cause} at step {self.ledger.steps}")

    def _read(self, pending: PendingStep) -> tuple[list[MicroBatchLoss], float]:
        """The losses of all micro-batches in order, whichever rank has them, and the norm."""
        losses, norm = pending.read()
        return in_order(self.ranks.gather(losses)), norm

    def _count(self, losses: Sequence[MicroBatchLoss]) -> float:
        """Add the losses of a step to the ledger and the curve, and return their mean."""
        total, divisor = sum(loss.nats for loss in losses), sum(loss.divisor for loss in losses)
        self.ledger.predictions += sum(loss.predictions for loss in losses)
        self.ledger.empty_steps += divisor == 0  # nothing was predicted, and 0/0 would be NaN
        for name, term_total, count in curve_terms(losses):
            self.recent.setdefault(name, Mean()).add(term_total, count)
        if self.feedback is not None:
            for loss in losses:
                self.feedback.add(loss.counters)
        return total / divisor if divisor else math.nan

    def _set_learning_rate(self, share: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_schedule(self.spec.training, share)

    @torch.no_grad()
    def _validate(self) -> None:
        """Add a point to the training curve."""
        recent, self.recent = self.recent, {}
        point = dataclasses.asdict(self.ledger) | {
            "learning_rate": learning_rate_schedule(self.spec.training, self.progress),
            "train_nats": math.nan,
            **{name: mean.value for name, mean in recent.items()},
            "validation_loss": self.validation_loss(self.objective),
        }
        customary = at_customary_rate(self.objective)
        if customary is not None:
            point["validation_loss_at_15"] = self.validation_loss(customary)
        if self.forget is not None:
            store = self.forget.train if self.forget.heldout is None else self.forget.heldout
            point["forget_loss"] = self.validation_loss(self.objective, store, 1.0)
        if self.spec.init is not None and not self.curve:
            point["start_loss"] = self.validation_loss(self.objective, None, 1.0)  # as at the end
        self.curve.append(point)

    def validation_loss(
        self,
        objective: Objective,
        store: TokenStore | None = None,
        progress: float | None = None,
    ) -> float:
        """The mean loss on held-out rows, in nats; it may depend on the progress."""
        read_before = self.encoder.tokens_read
        self.encoder.eval()
        self.head.eval()
        loss = validation_loss(
            self.corpus.heldout if store is None else store,
            self.reader,
            self.rows_per_step,
            self.progress if progress is None else progress,
            lambda batch, noise: self._loss(objective, batch, noise)[0],
        )
        self.encoder.train()
        self.head.train()
        self.encoder.uncount(read_before)
        return loss
