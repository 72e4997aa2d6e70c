"""A correct objective of each kind, and a faulty one for every check of an objective."""

from __future__ import annotations

import dataclasses
import random
from typing import ClassVar

import torch
from torch import nn

from bench.pretraining.batch import IGNORED, Attention, Example, Loss
from bench.pretraining.heads import token_loss
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Cost, DrawnObjective, MaskedObjective, Objective
from bench.settings import Fraction, settings


@settings
class Fine(DrawnObjective):
    """A correct masked objective: hide a third of the tokens, each independently."""

    name: ClassVar[str] = "fine"
    summary: ClassVar[str] = "a third of the tokens hidden"
    source: ClassVar[str] = "made for a test"
    scoring: ClassVar[str] = "masked"

    rate: Fraction = 0.3
    """Share of the tokens that are hidden."""

    def corrupt(self, batch, vocabulary, noise):
        drawn = self.settled(noise).uniform("chosen", tuple(batch.tokens.shape))
        chosen = (drawn < self.rate) & batch.real
        inputs = torch.where(chosen, vocabulary.mask_id, batch.tokens)
        labels = torch.where(chosen, batch.tokens, IGNORED)
        return Example(inputs, Attention("full", batch.attention_mask), labels)


@settings
class FinePairs(Fine):
    """A correct objective that compares rows: two by two, each sum times that of its partner."""

    @property
    def rows_together(self):
        return 2

    def loss(self, encoder, head, example, noise):
        loss = super().loss(encoder, head, example, noise)
        vectors = encoder(example.inputs, example.attention)[:, 0].view(-1, 2, 32)
        return dataclasses.replace(loss, sum=loss.sum + vectors.prod(1).sum())

    def extra_cost(self, shape):
        return dataclasses.replace(super().extra_cost(shape), encoder_passes=2)


@settings
class Comparing(FinePairs):
    """Compares all rows of a micro-batch, although only pairs are declared."""

    def loss(self, encoder, head, example, noise):
        loss = Fine.loss(self, encoder, head, example, noise)
        vectors = encoder(example.inputs, example.attention)[:, 0]
        return dataclasses.replace(loss, sum=loss.sum + (vectors @ vectors.T).sum())


@settings
class FineCausal(Objective):
    """A correct causal objective: predict the next token."""

    name: ClassVar[str] = "fine_causal"
    summary: ClassVar[str] = "the next token"
    source: ClassVar[str] = "made for a test"
    scoring: ClassVar[str] = "causal"
    pattern: ClassVar[str] = "causal"

    def corrupt(self, batch, vocabulary, noise):
        following = torch.where(batch.real, batch.tokens, IGNORED)[:, 1:]
        labels = nn.functional.pad(following, (0, 1), value=IGNORED)
        return Example(batch.tokens, Attention(self.pattern, batch.attention_mask), labels)


class Undescribed(Fine):
    summary: ClassVar[str] = ""


@settings
class Boundless(Fine):
    weight: float = 0.5
    """Any number, NaN included."""


class Stray(Fine):
    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        lengths = torch.full((len(batch.tokens),), batch.tokens.shape[1])
        attention = Attention("full", batch.attention_mask, lengths)
        return dataclasses.replace(example, attention=attention)


class Breathing(Fine):
    """More prediction slots inside the budget than at its ends, where the loop warms up."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        more = (0, int(8 * batch.progress * (1 - batch.progress)))
        at = torch.arange(batch.tokens.shape[1]).expand_as(batch.tokens)
        return dataclasses.replace(
            example,
            labels=nn.functional.pad(example.labels, more, value=IGNORED),
            positions=nn.functional.pad(at, more),
        )


class Greedy(Fine):
    """Hides separators too."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        is_separator = batch.tokens == vocabulary.sep_id
        inputs = torch.where(is_separator, vocabulary.mask_id, example.inputs)
        return dataclasses.replace(example, inputs=inputs)


class Curious(Fine):
    """Predicts separators too."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        is_separator = batch.tokens == vocabulary.sep_id
        labels = torch.where(is_separator, batch.tokens, example.labels)
        return dataclasses.replace(example, labels=labels)


class Overspending(Fine):
    """Predicts twice as many tokens as its rate says."""

    def corrupt(self, batch, vocabulary, noise):
        return Fine.corrupt(dataclasses.replace(self, rate=2 * self.rate), batch, vocabulary, noise)


class Revealing(Fine):
    """Corrupts nothing and keeps the labels: the encoder sees all that it predicts."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        return dataclasses.replace(example, inputs=batch.tokens)


class Looping(Fine):
    """Copies the inputs token by token."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        inputs = torch.tensor([[token for token in row] for row in example.inputs.tolist()])  # noqa: C416
        return dataclasses.replace(example, inputs=inputs)


class LoopingColumns(Fine):
    """Loops over positions, each of them for all rows at once."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        for at in range(example.inputs.shape[1]):
            example.inputs[:, at] = example.inputs[:, at]
        return example


@settings
class Chooser(MaskedObjective):
    """A masked objective that chooses the first tokens of each row."""

    name: ClassVar[str] = "chooser"
    summary: ClassVar[str] = "the first tokens"
    source: ClassVar[str] = "made for a test"

    def choose(self, batch, noise):
        return batch.real & (batch.real.cumsum(1) <= self.quota(batch)[:, None])


class GreedyChooser(Chooser):
    """Chooses all tokens; the capacity cuts them in full rows, so only padded rows show it."""

    def choose(self, batch, noise):
        return batch.real


class ShortChooser(Chooser):
    def choose(self, batch, noise):
        return super().choose(batch, noise)[:, 1:]


class WideChooser(Chooser):
    """One row for all rows, which would be broadcast."""

    def choose(self, batch, noise):
        return super().choose(batch, noise)[:1]


class CountingChooser(Chooser):
    def choose(self, batch, noise):
        return super().choose(batch, noise).long()


class SpecialChooser(Chooser):
    def choose(self, batch, noise):
        return super().choose(batch, noise) | ~batch.real


class CrashingChooser(Chooser):
    def choose(self, batch, noise):
        return noise.uniform("mine", "no shape") < 0.1


class Scribbling(Fine):
    """Changes the batch through NumPy, which torch's version counter does not notice."""

    def corrupt(self, batch, vocabulary, noise):
        batch.sentence_start.numpy()[:, 0] = True
        return super().corrupt(batch, vocabulary, noise)


class Seeding(Fine):
    def corrupt(self, batch, vocabulary, noise):
        torch.manual_seed(0)
        return super().corrupt(batch, vocabulary, noise)


class Wandering(Fine):
    """Draws a part of its head from Python's generator."""

    def head(self, shape, vocabulary):
        head = super().head(shape, vocabulary)
        head.register_buffer("place", torch.tensor(random.random()))
        return head


class Seedless(Fine):
    def corrupt(self, batch, vocabulary, noise):
        return super().corrupt(batch, vocabulary, Noise(0, noise.epoch, noise.example_ids))


class Restless(Fine):
    def settled(self, noise):
        return noise


class Counting(Fine):
    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        return dataclasses.replace(example, extras={"place": torch.arange(len(batch.tokens))})


class Ciphering(Fine):
    """Shows the next ordinary id in place of a hidden token: a cipher instead of a mask."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        ordinary = [i for i in range(vocabulary.size) if i not in vocabulary.special_ids]
        following = torch.arange(vocabulary.size)
        following[ordinary] = torch.tensor(ordinary[1:] + ordinary[:1])
        inputs = torch.where(example.labels == IGNORED, batch.tokens, following[batch.tokens])
        return dataclasses.replace(example, inputs=inputs)


class Peeking(FineCausal):
    pattern: ClassVar[str] = "full"


class Dividing(Fine):
    """Divides by a count that may be zero."""

    def loss(self, encoder, head, example, noise):
        loss = token_loss(encoder, head, example)
        return dataclasses.replace(loss, sum=loss.sum * (loss.predictions / loss.predictions))


class Averaging(Fine):
    """A mean instead of a sum: all micro-batches would have the same weight."""

    def loss(self, encoder, head, example, noise):
        loss = token_loss(encoder, head, example)
        return dataclasses.replace(loss, sum=loss.sum / loss.predictions.clamp(min=1))


class OwnHead(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.out = nn.Linear(shape.hidden_size, shape.vocab_size)

    def forward(self, hidden):
        return self.out(hidden)


class Untied(Fine):
    """Declares that it scores sentences, but its head has another signature."""

    def head(self, shape, vocabulary):
        return OwnHead(shape)

    def loss(self, encoder, head, example, noise):
        logits = head(encoder(example.inputs, example.attention)).flatten(0, 1)
        labels = example.labels.flatten()
        total = nn.functional.cross_entropy(logits, labels, reduction="sum")
        return Loss(total, (labels != IGNORED).sum())

    def extra_cost(self, shape):
        size = shape.hidden_size * shape.vocab_size
        return Cost(flops_per_prediction=2.0 * size, parameters=size + shape.vocab_size)


class Detached(Fine):
    def loss(self, encoder, head, example, noise):
        hook = encoder.final_norm.register_forward_hook(lambda _m, _i, states: states.detach())
        try:
            return token_loss(encoder, head, example)
        finally:
            hook.remove()


class Climbing(Fine):
    def loss(self, encoder, head, example, noise):
        loss = token_loss(encoder, head, example)
        return dataclasses.replace(loss, sum=2 * loss.sum.detach() - loss.sum)


class Spending(Fine):
    """Makes one more encoder pass than it declares."""

    def loss(self, encoder, head, example, noise):
        with torch.no_grad():
            encoder(example.inputs, example.attention)
        return token_loss(encoder, head, example)


@settings
class Careless(Fine):
    extra: Fraction = 0.5


class Halving(Fine):
    """Counts shares, which do not add up over micro-batches."""

    feedback_steps = 2

    def loss(self, encoder, head, example, noise):
        loss = super().loss(encoder, head, example, noise)
        return dataclasses.replace(loss, counters={"half": loss.predictions // 2})

    def adapt(self, statistics, counters):
        return dict(statistics)


class Forgetful(Fine):
    """Declares a field that is no setting, because @settings is missing."""

    share: Fraction = 0.5
    """A share."""


class Crashing(Fine):
    def corrupt(self, batch, vocabulary, noise):
        raise IndexError("no such place")


class Mistitled(Fine):
    """`display_name` is a method instead of a property."""

    def display_name(self):
        return self.name


class Misnamed(Fine):
    """`display_name` does not begin with the name where a setting differs from its default."""

    @property
    def display_name(self):
        return self.name if self.rate == 0.3 else f"rate {self.rate}"


FAULTS: dict[str, type[Objective]] = {
    "metadata": Undescribed,
    "settings": Boundless,
    "shapes": Stray,
    "fixed_shapes": Breathing,
    "special_tokens": Greedy,
    "labels": Curious,
    "quota": Overspending,
    "visible_labels": Revealing,
    "vectorized": Looping,
    "batch_untouched": Scribbling,
    "process_untouched": Seeding,
    "head": Wandering,
    "reproducible": Seedless,
    "static_masking": Restless,
    "rows_independent": Counting,
    "hidden_tokens": Ciphering,
    "future": Peeking,
    "short_rows": Dividing,
    "micro_batches": Averaging,
    "token_head": Untied,
    "gradient": Detached,
    "learning": Climbing,
    "cost": Spending,
    "feedback": Halving,
}
"""A faulty objective for each check, by the short name of the check."""
