"""Fine-tuning: the encoder itself is trained on the task, with a linear head, from several seeds.

The seeds differ in the head's initial weights and in the order of the texts; the dev part, which
alone decides learning rate and number of epochs, is the same. Every encoder gets the same trials:
each learning rate once, then the other seeds at the best one. One fixed rate and a low limit of
epochs favoured the untrained encoder (measured on question classification: .78 untrained against
.70 pretrained, where a loop without these limits scores .80 and .84). A seed whose training loss
never falls below the loss of a constant prediction has collapsed (Mosbach et al. 2021): the details
name it, and the mean excludes it unless all seeds have collapsed.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.pretraining.encoder.initial_weights import initialise
from bench.pretraining.noise import Noise
from bench.probing.protocol import (
    Criterion,
    FinetuneSettings,
    ProbeSettings,
    criterion_score,
)
from bench.probing.reader.batching import batch_tokens, batches
from bench.probing.sampling import dev_part, uniform
from bench.probing.targets import (
    constant_loss,
    decode,
    encode_labels,
    is_number,
    loss_of,
    num_outputs,
    predictions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from bench.probing.examples import Examples
    from bench.probing.task import Reader, TrainableEncoder

RATES_TIMES_WIDTH = (0.02, 0.06, 0.2)
"""Learning rates tried, times the width of the encoder."""
WARMUP_STEPS = 20
"""Steps over which the learning rate rises to its peak, where it stays: the epoch of the best dev
score, whose weights are kept, does not depend on the limit of epochs."""
COLLAPSED = 0.99
"""Share of a constant prediction's loss: a seed whose loss stays above has learned nothing."""


def finetune(
    reader: Reader,
    train: Examples,
    test: Examples,
    noise: Noise,
    settings: ProbeSettings,
    criterion: Criterion,
    tuning: FinetuneSettings,
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Train a copy of the encoder for each seed, and predict `test` with each.

    Returns:
        The labels (or numbers) predicted by each seed that counts, and a report on all seeds.
    """
    classes, y, _ = encode_labels(train.labels, test.labels)
    is_dev = dev_part(train.units, y, noise, settings.dev_fraction)

    def attempt(seed: int, rate: float) -> Attempt:
        model = reader.copy_for_finetuning()
        training = Tuning(model, train, y, seed, tuning)
        report = {"seed": seed, "learning_rate": rate, **training.train(is_dev, criterion, rate)}
        test_inputs = EncoderInputs(model, test)
        predicted = training.predict(test_inputs)
        cut = training.inputs.truncated + test_inputs.truncated
        return Attempt(decode(classes, predicted), report, cut)

    rates = tuning.learning_rates
    if not rates:
        width = reader.copy_for_finetuning().width
        rates = tuple(product / width for product in RATES_TIMES_WIDTH)
    trials = [attempt(0, rate) for rate in rates]
    first = max(trials, key=lambda one: (not one.report["collapsed"], one.report["dev"]))
    rate = first.report["learning_rate"]
    attempts = [first, *(attempt(seed, rate) for seed in range(1, tuning.seeds))]
    valid = [one.predicted for one in attempts if not one.report["collapsed"]]
    return valid or [one.predicted for one in attempts], {
        "method": "finetune",
        "criterion": criterion,
        "pooling": "mean",
        "train_labels": len(y),
        "dev_labels": int(is_dev.sum()),
        "learning_rate": rate,
        "learning_rates": [[one.report["learning_rate"], one.report["dev"]] for one in trials],
        "is_edge": len(rates) > 1 and rate in (min(rates), max(rates)),
        "is_at_last_epoch": any(one.report["epochs"] == tuning.max_epochs for one in attempts),
        "seeds": [one.report for one in attempts],
        "collapsed_seeds": [seed for seed, one in enumerate(attempts) if one.report["collapsed"]],
        "truncated_texts": first.truncated,
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Attempt:
    """One training at one learning rate."""

    predicted: np.ndarray
    report: dict[str, Any]
    truncated: int
    """Number of texts that are longer than the encoder reads."""


class EncoderInputs:
    """Examples as the inputs of an encoder in training: tokenised once, with labels by text."""

    def __init__(self, model: TrainableEncoder, examples: Examples) -> None:
        self.model, self.examples = model, examples
        self.rows = [model.rows(examples.texts)]
        self.spans = [examples.spans]
        if examples.pairs is not None:
            self.rows.append(model.rows(examples.pairs))
            self.spans.append(examples.pair_spans)
        self.truncated = sum(row.truncated for rows in self.rows for row in rows)
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

    def all_outputs(
        self, head: nn.Module, texts: Int[np.ndarray, " U"] | None = None
    ) -> Float[np.ndarray, "T K"]:
        """The outputs for every label, without gradients; a batch has texts of similar length.

        Args:
            head: Maps vectors to outputs.
            texts: The texts that are read; the labels of the others get 0. None: all.
        """
        lengths = np.max([[len(row.tokens) for row in rows] for rows in self.rows], axis=0)
        chosen = np.arange(len(lengths)) if texts is None else texts
        places: list[np.ndarray] = []
        parts: list[np.ndarray] = []
        with torch.inference_mode():
            for index in batches(lengths[chosen], batch_tokens(self.model.device)):
                parts.append(self.outputs(head, chosen[index]).float().cpu().numpy())
                places.append(np.concatenate([self.labels_of[i] for i in chosen[index]]))
        num_labels = sum(map(len, self.labels_of))
        everything = np.zeros((num_labels, parts[0].shape[1]), dtype=np.float64)
        everything[np.concatenate(places)] = np.concatenate(parts)
        return everything


class Tuning:
    """One seed: a copy of the encoder and a head, trained on examples."""

    def __init__(
        self,
        model: TrainableEncoder,
        train: Examples,
        y: np.ndarray,
        seed: int,
        settings: FinetuneSettings,
    ) -> None:
        self.model, self.y, self.settings = model, y, settings
        self.inputs = EncoderInputs(model, train)
        self.is_number = is_number(y)
        self.center = float(y.mean()) if self.is_number else 0.0
        self.scale = float(y.std() or 1.0) if self.is_number else 1.0
        self.noise = Noise(seed, 0, torch.arange(1))
        num_parts = 1 if train.join is None else len(train.join(0.0, 0.0))
        with torch.random.fork_rng(devices=[]):  # torch draws weights, which are replaced below
            head = torch.nn.Linear(model.width * num_parts, num_outputs(y))
        torch.nn.init.zeros_(head.bias)
        initialise(head, seed, "finetune.head", None)
        self.head = head.to(model.device)
        self.parameters = [*model.encoder.parameters(), *head.parameters()]

    def train(
        self, is_dev: Bool[np.ndarray, " T"], criterion: Criterion, learning_rate: float
    ) -> dict[str, Any]:
        """Train until the dev score stops improving, then restore the best epoch's weights."""
        texts = [
            i for i, own in enumerate(self.inputs.labels_of) if len(own) and not is_dev[own[0]]
        ]
        dev_texts = np.unique(self.inputs.examples.units[is_dev])
        optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS)
        )
        curve: list[list[float]] = []
        best_weights = self._weights()
        best = 0
        for epoch in range(1, self.settings.max_epochs + 1):
            loss = self._epoch(epoch, np.array(texts), optimizer, schedule)
            if not math.isfinite(loss):
                break
            predicted = self.predict(self.inputs, dev_texts)
            curve.append([loss, criterion_score(predicted[is_dev], self.y[is_dev], criterion)])
            if best == 0 or curve[-1][1] > curve[best - 1][1]:
                best, best_weights = epoch, self._weights()
            if epoch - best >= self.settings.patience:
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

    def predict(
        self, inputs: EncoderInputs, texts: Int[np.ndarray, " U"] | None = None
    ) -> np.ndarray:
        """Predictions; of the labels of some texts only, if they are given."""
        outputs = inputs.all_outputs(self.head, texts)
        return predictions(outputs, self.y, self.center, self.scale)

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
        total, count, size = 0.0, 0, self.settings.batch_texts
        for index in np.split(order, range(size, len(order), size)):
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
