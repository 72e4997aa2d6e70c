"""The contrastive stage: a copy of an encoder is trained on pairs of texts from the corpus.

It is what makes an embedding model of a pretrained encoder, without labels: the two texts of a pair
get near embeddings, and the other texts of the batch get far ones (InfoNCE, van den Oord et al.
2018; in both directions, at a temperature as in SimCSE, Gao et al. 2021). Pairs, their order, the
number of steps and the learning rates tried are equal for every encoder. The rate with the lowest
loss on pairs that are not trained on is chosen: one fixed rate would favour some encoder. There is
no new weight, so nothing but the order of the pairs is random, and it is the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from bench.machine import beat
from bench.pretraining.noise import Noise
from bench.probing.contrastive.pairs import TextPair, corpus_pairs
from bench.probing.contrastive.settings import ContrastiveSettings
from bench.probing.sampling import uniform
from bench.probing.task import NotApplicableError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from bench.probing.reader.batching import Row
    from bench.probing.task import Reader, TrainableEncoder

RATES_TIMES_WIDTH = (0.06, 0.2, 0.6)
"""Learning rates tried, times the width of the encoder: higher than those of fine-tuning, because
its highest was the best of three for every encoder that was tried (tiny, 1M tokens of text)."""
WARMUP = 0.1
"""Share of the steps over which the learning rate rises; then it falls to zero."""


_LATEST: WeakKeyDictionary[Reader, tuple[ContrastiveSettings, Reader, dict[str, Any]]]
_LATEST = WeakKeyDictionary()
"""The latest stage of each reader: all tasks of an encoder use one, which is trained once."""


def after_contrastive(
    reader: Reader, settings: ContrastiveSettings
) -> tuple[Reader, dict[str, Any]]:
    """A reader of a copy after a contrastive stage on the corpus, and a report on the stage.

    Raises:
        NotApplicableError: There is no corpus, it gives too few pairs, or training diverges.
    """
    if reader.prepared is None:
        raise NotApplicableError("a contrastive stage needs a corpus, and none is at hand")
    latest = _LATEST.get(reader)
    if latest is None or latest[0] != settings:
        copy, report = contrastive_stage(reader.copy_for_finetuning, reader.prepared, settings)
        latest = settings, reader.reader_of(copy), report
        _LATEST[reader] = latest
    return latest[1], latest[2]


def contrastive_stage(
    copy: Callable[[], TrainableEncoder], prepared: Path, settings: ContrastiveSettings
) -> tuple[TrainableEncoder, dict[str, Any]]:
    """Train a copy at every learning rate, and return the best with a report.

    Args:
        copy: Makes a new copy of the encoder.
        prepared: The corpus, whose training part gives the pairs.
        settings: The budget of the stage.

    Raises:
        NotApplicableError: The corpus gives too few pairs, or every learning rate diverges.
    """
    wanted = settings.dev_pairs + settings.steps * settings.batch_pairs
    pairs = corpus_pairs(prepared, wanted, settings.passage_tokens)
    num_dev = min(settings.dev_pairs, len(pairs) // 2)
    if num_dev < settings.batch_pairs:
        raise NotApplicableError(
            f"the corpus' training part gives {len(pairs)} pairs of texts for the contrastive "
            f"stage, and {2 * settings.batch_pairs} are needed"
        )
    first = copy()
    rates = settings.learning_rates or tuple(each / first.width for each in RATES_TIMES_WIDTH)
    before = Stage(first, pairs, num_dev, settings).dev_scores()
    best: tuple[TrainableEncoder, Stage, float] | None = None
    tried: list[list[float | None]] = []
    for rate in rates:
        stage = Stage(copy(), pairs, num_dev, settings)
        loss = stage.train(rate)
        tried.append([rate, loss if math.isfinite(loss) else None])
        if math.isfinite(loss) and (best is None or loss < best[1].dev_loss):
            best = stage.model, stage, rate
    if best is None:
        raise NotApplicableError(
            f"the contrastive stage diverged at every learning rate ({', '.join(map(str, rates))})"
        )
    model, stage, rate = best
    loss, accuracy = stage.dev_scores()
    return model, {
        "learning_rate": rate,
        "learning_rates": tried,
        "is_edge": len(rates) > 1 and rate in (min(rates), max(rates)),
        "pairs": len(pairs) - num_dev,
        "dev_pairs": num_dev,
        "dev_loss": loss,
        "dev_accuracy": accuracy,
        "dev_loss_before": before[0],
        "dev_accuracy_before": before[1],
        "steps": settings.steps,
        "tokens": stage.num_tokens,
        "trials": len(rates),
    }


class Stage:
    """One training of one copy at one learning rate.

    Args:
        model: The copy.
        pairs: The pairs; the first ones are the dev part.
        num_dev: Number of pairs of the dev part.
        settings: The budget.
    """

    def __init__(
        self,
        model: TrainableEncoder,
        pairs: Sequence[TextPair],
        num_dev: int,
        settings: ContrastiveSettings,
    ) -> None:
        self.model, self.settings, self.num_dev = model, settings, num_dev
        self.rows: list[list[Row]] = [model.rows([pair[side] for pair in pairs]) for side in (0, 1)]
        self.num_tokens = 0
        """Tokens that the training has read, with [CLS] and [SEP]."""
        self.dev_loss = math.inf

    def train(self, learning_rate: float) -> float:
        """Train for all steps; the loss on the dev pairs, not finite if it diverged."""
        steps = self.settings.steps
        parameters = list(self.model.encoder.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, fused=True)
        rise = max(1, round(WARMUP * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min((step + 1) / rise, (steps - step) / max(1, steps - rise)),
        )
        for index in self._batches():
            beat()
            loss = self._loss(index)
            if not math.isfinite(loss.item()):
                return math.inf
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            self.num_tokens += sum(len(rows[i].tokens) for rows in self.rows for i in index)
        self.dev_loss = self.dev_scores()[0]
        return self.dev_loss

    def dev_scores(self) -> tuple[float, float]:
        """Mean loss and accuracy over whole batches of the dev pairs."""
        size = self.settings.batch_pairs
        scores = []
        with torch.inference_mode():
            for start in range(0, self.num_dev - size + 1, size):
                logits = self._logits(np.arange(start, start + size))
                is_nearest = logits.argmax(1) == torch.arange(size, device=logits.device)
                scores.append((info_nce(logits).item(), is_nearest.float().mean().item()))
        losses, accuracies = zip(*scores, strict=True)
        return sum(losses) / len(losses), sum(accuracies) / len(accuracies)

    def _batches(self) -> list[Int[np.ndarray, " B"]]:
        """The pairs of each step: every pair once before any is repeated."""
        size, noise = self.settings.batch_pairs, Noise(0, 0, torch.arange(1))
        count = len(self.rows[0]) - self.num_dev
        whole: list[Int[np.ndarray, " B"]] = []
        epoch = 0
        while len(whole) < self.settings.steps:
            draws = uniform(noise, f"contrastive.order.{epoch}", count)
            order = self.num_dev + np.argsort(draws, kind="stable")
            whole += np.split(order[: count // size * size], count // size)
            epoch += 1
        return whole[: self.settings.steps]

    def _logits(self, index: Int[np.ndarray, " B"]) -> Float[Tensor, "B B"]:
        """The cosines of all first with all second texts, over the temperature."""
        one, other = (
            torch.nn.functional.normalize(self.model.vectors([rows[i] for i in index]), dim=1)
            for rows in self.rows
        )
        return one @ other.T / self.settings.temperature

    def _loss(self, index: Int[np.ndarray, " B"]) -> Tensor:
        return info_nce(self._logits(index))


def info_nce(logits: Float[Tensor, "B B"]) -> Tensor:
    """The mean of both directions' cross-entropy; row and column i are one pair."""
    own = torch.arange(len(logits), device=logits.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
