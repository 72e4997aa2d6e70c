"""Fine-tuning: the encoder itself is trained on the task, with a linear head, from three seeds.

The seeds differ in the head's initial weights and in the order of the texts; the dev part, which
alone decides when to stop, is the same. A seed whose training loss never falls below the loss of a
constant prediction has collapsed (Mosbach et al. 2021): the details name it, and the mean excludes
it unless all seeds have collapsed. The learning rate is 0.02 / width: 2.6e-5 for 768, BERT's rate,
and 3e-4 for 64.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.pretraining.initial_weights import initialise
from bench.pretraining.noise import Noise
from bench.probing.methods import loss_of
from bench.probing.probes import encode_labels
from bench.probing.protocol import Criterion, ProbeSettings, criterion_score
from bench.probing.reader.batching import batch_tokens, batches
from bench.probing.sampling import dev_part, uniform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from bench.probing.examples import Examples
    from bench.probing.task import Reader, TrainableEncoder

SEEDS = 3
MAX_EPOCHS = 8
PATIENCE = 2
"""A seed stops after this number of epochs without a better dev score."""
BATCH_TEXTS = 32
RATE_TIMES_WIDTH = 0.02
WARMUP = 0.1
"""Share of the steps over which the learning rate rises; it falls linearly afterwards."""
COLLAPSED = 0.99
"""Share of a constant prediction's loss: a seed whose loss stays above has learned nothing."""


def finetune(
    reader: Reader,
    train: Examples,
    test: Examples,
    noise: Noise,
    settings: ProbeSettings,
    criterion: Criterion,
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Train a copy of the encoder for each seed, and predict `test` with each.

    Returns:
        The labels (or numbers) predicted by each seed that counts, and a report on all seeds.
    """
    classes, y, _ = encode_labels(train.labels, test.labels)
    is_dev = dev_part(train.units, y, noise, settings.dev_fraction)
    predictions, reports = [], []
    for seed in range(SEEDS):
        model = reader.copy_for_finetuning()
        tuning = Tuning(model, train, y, seed)
        reports.append({"seed": seed, **tuning.train(is_dev, criterion)})
        predicted = tuning.predict(EncoderInputs(model, test))
        predictions.append(predicted if classes is None else classes[predicted])
    collapsed = [seed for seed, report in enumerate(reports) if report["collapsed"]]
    valid = [predicted for seed, predicted in enumerate(predictions) if seed not in collapsed]
    return valid or predictions, {
        "method": "finetune",
        "criterion": criterion,
        "pooling": "mean" if train.spans is None else train.poolings[0],
        "train_labels": len(y),
        "dev_labels": int(is_dev.sum()),
        "seeds": reports,
        "collapsed_seeds": collapsed,
    }


class EncoderInputs:
    """Examples as the inputs of an encoder in training: tokenised once, with labels by text."""

    def __init__(self, model: TrainableEncoder, examples: Examples) -> None:
        self.model, self.examples = model, examples
        self.rows = [model.rows(examples.texts)]
        self.spans = [examples.spans]
        if examples.pairs is not None:
            self.rows.append(model.rows(examples.pairs))
            self.spans.append(examples.pair_spans)
        counts = np.bincount(examples.units, minlength=len(examples.texts))
        self.labels_of = np.split(np.arange(counts.sum()), counts.cumsum()[:-1])

    def outputs(self, head: nn.Module, texts: Iterable[int]) -> Tensor:
        """The head's outputs for each label of some texts."""
        vectors = []
        for rows, spans in zip(self.rows, self.spans, strict=True):
            words = None if spans is None else [spans[i] for i in texts]
            vectors.append(self.model.vectors([rows[i] for i in texts], words))
        if self.examples.join is not None:
            vectors = list(self.examples.join(*vectors))
        outputs: Tensor = head(torch.cat(vectors, dim=1))
        return outputs

    def all_outputs(self, head: nn.Module) -> Float[np.ndarray, "T K"]:
        """The outputs for every label, without gradients; a batch has texts of similar length."""
        lengths = np.max([[len(row.tokens) for row in rows] for rows in self.rows], axis=0)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        with torch.inference_mode():
            for index in batches(lengths, batch_tokens(self.model.device)):
                outputs = self.outputs(head, index).float().cpu().numpy()
                parts.append((np.concatenate([self.labels_of[i] for i in index]), outputs))
        places = np.concatenate([place for place, _ in parts])
        everything = np.empty((len(places), parts[0][1].shape[1]), dtype=np.float64)
        everything[places] = np.concatenate([outputs for _, outputs in parts])
        return everything


class Tuning:
    """One seed: a copy of the encoder and a head, trained on examples."""

    def __init__(self, model: TrainableEncoder, train: Examples, y: np.ndarray, seed: int) -> None:
        self.model, self.y = model, y
        self.inputs = EncoderInputs(model, train)
        self.is_number = y.dtype.kind == "f"
        self.center = float(y.mean()) if self.is_number else 0.0
        self.scale = float(y.std() or 1.0) if self.is_number else 1.0
        self.noise = Noise(seed, 0, torch.arange(1))
        num_parts = 1 if train.join is None else len(train.join(0.0, 0.0))
        outputs = 1 if self.is_number else int(y.max()) + 1
        with torch.random.fork_rng(devices=[]):  # torch draws weights, which are replaced below
            head = torch.nn.Linear(model.width * num_parts, outputs)
        torch.nn.init.zeros_(head.bias)
        initialise(head, seed, "finetune.head")
        self.head = head.to(model.device)
        self.parameters = [*model.encoder.parameters(), *head.parameters()]

    def train(self, is_dev: Bool[np.ndarray, " T"], criterion: Criterion) -> dict[str, Any]:
        """Train until the dev score stops improving, then restore the best epoch's weights."""
        texts = [
            i for i, own in enumerate(self.inputs.labels_of) if len(own) and not is_dev[own[0]]
        ]
        steps = MAX_EPOCHS * -(-len(texts) // BATCH_TEXTS)
        optimizer = torch.optim.AdamW(
            self.parameters, lr=RATE_TIMES_WIDTH / self.model.width, fused=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: schedule_factor(step, steps)
        )
        curve: list[list[float]] = []
        best_weights = self._weights()
        best = 0
        for epoch in range(1, MAX_EPOCHS + 1):
            loss = self._epoch(epoch, np.array(texts), optimizer, schedule)
            if not math.isfinite(loss):
                break
            predicted = self.predict(self.inputs)
            curve.append([loss, criterion_score(predicted[is_dev], self.y[is_dev], criterion)])
            if best == 0 or curve[-1][1] > curve[best - 1][1]:
                best, best_weights = epoch, self._weights()
            if epoch - best >= PATIENCE:
                break
        for parameter, value in zip(self.parameters, best_weights, strict=True):
            parameter.data.copy_(value)
        bar = COLLAPSED * constant_loss(self._targets(np.flatnonzero(~is_dev)))
        return {
            "epochs": best,
            "dev": curve[best - 1][1] if best else 0.0,
            "collapsed": not curve or min(loss for loss, _ in curve) > bar,
            "curve": curve,
        }

    def predict(self, inputs: EncoderInputs) -> np.ndarray:
        """Numbers of classes, or numbers."""
        outputs = inputs.all_outputs(self.head)
        if self.is_number:
            return np.asarray(outputs[:, 0] * self.scale + self.center)
        return np.asarray(outputs.argmax(1))

    def _weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters]

    def _targets(self, labels: Int[np.ndarray, " T"]) -> Tensor:
        y = self.y[labels]
        return torch.from_numpy((y - self.center) / self.scale if self.is_number else y)

    def _epoch(
        self,
        epoch: int,
        texts: Int[np.ndarray, " U"],
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
    ) -> float:
        """One pass in the epoch's order; the mean loss, not finite if the seed diverged."""
        draws = uniform(self.noise, f"finetune.order.{epoch}", len(texts))
        order = texts[np.argsort(draws, kind="stable")]
        total, count = 0.0, 0
        for index in np.split(order, range(BATCH_TEXTS, len(order), BATCH_TEXTS)):
            targets = self._targets(np.concatenate([self.inputs.labels_of[i] for i in index]))
            loss = loss_of(self.inputs.outputs(self.head, index), targets.to(self.model.device))
            total, count = total + loss.item() * len(targets), count + len(targets)
            if not math.isfinite(total):
                break
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            optimizer.step()
            schedule.step()
        return total / max(count, 1)


def schedule_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate: it rises over the warm-up, then falls to zero."""
    warm = max(1, int(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return max(0.0, (steps - step) / max(1, steps - warm))


def constant_loss(targets: Tensor) -> float:
    """The loss of the best constant prediction."""
    if targets.is_floating_point():
        return float(targets.var(correction=0))
    shares = targets.bincount() / len(targets)
    return float(-(shares * shares.clamp(min=1e-12).log()).sum())
