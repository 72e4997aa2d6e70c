"""The span scorer: two linear scores of every word, for the beginning and the end of an answer.

The input for a word's vector h and the question's vector q is [h, h * q, |h - q|]: a term linear in
q alone is the same for all words of a text and decides nothing. Beginning and end are each a
softmax over the text's words, fitted by gradient descent from zero; the number of epochs is chosen
on a dev part of train.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from bench.probing.methods import ridge
from bench.probing.sampling import uniform

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from bench.pretraining.noise import Noise

MAX_EPOCHS = 30
PATIENCE = 3
"""Training stops after this number of epochs without a lower dev loss."""
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
BATCH_QUESTIONS = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Questions:
    """Questions over texts, at one layer. N questions, T words of P texts in all."""

    words: Float[np.ndarray, "T D"]
    begin: Int[np.ndarray, " P+1"]
    texts: Int[np.ndarray, " N"]
    """The text of each question."""
    vectors: Float[np.ndarray, "N D"]
    answers: Int[np.ndarray, "N 2"]
    """The indices of the answer's first and last word within its text."""

    def rows(self, question: int) -> slice:
        """The words of a question's text."""
        text = self.texts[question]
        return slice(self.begin[text], self.begin[text + 1])

    def batch(self, questions: Int[np.ndarray, " B"]) -> tuple[Tensor, Tensor]:
        """The input for each word, [B W 3D], and a mask of the words, [B W]."""
        begin, end = self.begin[self.texts[questions]], self.begin[self.texts[questions] + 1]
        column = np.arange((end - begin).max())
        is_word = column < (end - begin)[:, None]
        at = np.minimum(begin[:, None] + column, len(self.words) - 1)
        h = torch.from_numpy(self.words[at])
        q = torch.from_numpy(self.vectors[questions])[:, None]
        return torch.cat((h, h * q, (h - q).abs()), dim=-1), torch.from_numpy(is_word)


def rank_of_beginning(
    questions: Questions, is_dev: Bool[np.ndarray, " N"], penalty: float
) -> float:
    """Mean reciprocal rank, on dev, of an answer's first word, by ridge regression."""
    rows, targets = [], []
    for i in np.flatnonzero(~is_dev):
        rows.append(questions.batch(np.array([i]))[0][0].numpy())
        is_first = np.zeros(len(rows[-1]))
        is_first[questions.answers[i, 0]] = 1.0
        targets.append(is_first)
    score = ridge(np.concatenate(rows), np.concatenate(targets)[:, None], penalty)
    ranks = []
    for i in np.flatnonzero(is_dev):
        scores = score(questions.batch(np.array([i]))[0][0].numpy())[:, 0]
        ranks.append(1 / (scores >= scores[questions.answers[i, 0]]).sum())
    return float(np.mean(ranks)) if ranks else 0.0


def fit_spans(
    questions: Questions, is_dev: Bool[np.ndarray, " N"], noise: Noise
) -> tuple[torch.nn.Linear, list[float]]:
    """A scorer fitted on all questions, and the dev loss of each epoch tried."""
    losses: list[float] = []

    def is_done(scorer: torch.nn.Linear) -> bool:
        losses.append(loss_of(scorer, questions, np.flatnonzero(is_dev)))
        return len(losses) - int(np.argmin(losses)) > PATIENCE

    _train(questions, np.flatnonzero(~is_dev), MAX_EPOCHS, noise, is_done)
    epochs = int(np.argmin(losses)) + 1
    everything = np.arange(len(questions.texts))
    return _train(questions, everything, epochs, noise, lambda scorer: False), losses


def _train(
    questions: Questions,
    chosen: Int[np.ndarray, " K"],
    epochs: int,
    noise: Noise,
    is_done: Callable[[torch.nn.Linear], bool],
) -> torch.nn.Linear:
    with torch.random.fork_rng(devices=[]):  # torch draws weights, which are replaced below
        scorer = torch.nn.Linear(3 * questions.words.shape[1], 2)
    torch.nn.init.zeros_(scorer.weight)
    torch.nn.init.zeros_(scorer.bias)
    optimizer = torch.optim.AdamW(
        scorer.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    for epoch in range(1, epochs + 1):
        draws = uniform(noise, f"span_extraction.order.{epoch}", len(chosen))
        order = chosen[np.argsort(draws, kind="stable")]
        for index in np.split(order, range(BATCH_QUESTIONS, len(order), BATCH_QUESTIONS)):
            optimizer.zero_grad()
            _loss(scorer, questions, index).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if is_done(scorer):
            break
    return scorer


def loss_of(scorer: torch.nn.Linear, questions: Questions, chosen: Int[np.ndarray, " K"]) -> float:
    """Nats per question, of beginning and end together; 0 without questions."""
    total = 0.0
    with torch.inference_mode():
        for index in np.split(chosen, range(BATCH_QUESTIONS, len(chosen), BATCH_QUESTIONS)):
            if len(index):
                total += float(_loss(scorer, questions, index)) * len(index)
    return total / max(len(chosen), 1)


def _loss(scorer: torch.nn.Linear, questions: Questions, index: Int[np.ndarray, " B"]) -> Tensor:
    inputs, is_word = questions.batch(index)
    scores = scorer(inputs).masked_fill(~is_word[:, :, None], -torch.inf)
    return 2 * F.cross_entropy(scores, torch.from_numpy(questions.answers[index]))


def best_spans(
    scorer: torch.nn.Linear, questions: Questions, max_words: int
) -> Int[np.ndarray, "N 2"]:
    """First and last word of the likeliest answer of at most `max_words` words."""
    spans = np.empty((len(questions.texts), 2), dtype=np.int64)
    with torch.inference_mode():
        for i in range(len(spans)):
            start, end = scorer(questions.batch(np.array([i]))[0])[0].T
            both = start[:, None] + end[None, :]
            fits = torch.ones_like(both, dtype=torch.bool).triu().tril(max_words - 1)
            best = int(both.masked_fill(~fits, -torch.inf).argmax())
            spans[i] = divmod(best, len(start))
    return spans
