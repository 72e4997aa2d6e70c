"""A fault planted for every check of an objective: it fails that check and passes all others."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

import pytest
import torch
from torch import nn

from bench.pretraining.batch import IGNORED, Attention, Example, Loss
from bench.pretraining.heads import token_loss
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Cost, DrawnObjective, Objective
from bench.settings import Fraction, settings
from bench.testing import OBJECTIVE_CHECKS
from bench.testing.findings import find
from tests.helpers.faults import by_name, failed, said


@settings
class Fine(DrawnObjective):
    """Hide a third of the tokens, each by itself; nothing is wrong with it."""

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
class FineCausal(Objective):
    """Predict the next token; nothing is wrong with it."""

    name: ClassVar[str] = "fine_causal"
    summary: ClassVar[str] = "the next token"
    source: ClassVar[str] = "made for a test"
    scoring: ClassVar[str] = "causal"
    pattern: ClassVar[str] = "causal"

    def corrupt(self, batch, vocabulary, noise):
        following = torch.where(batch.real, batch.tokens, IGNORED)[:, 1:]
        labels = nn.functional.pad(following, (0, 1), value=IGNORED)
        return Example(batch.tokens, Attention(self.pattern, batch.attention_mask), labels)


class Unsaid(Fine):
    summary: ClassVar[str] = ""


@settings
class Boundless(Fine):
    weight: float = 0.5
    """Any number at all, NaN included."""


class Stray(Fine):
    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        lengths = torch.full((len(batch.tokens),), batch.tokens.shape[1])
        attention = Attention("full", batch.attention_mask, lengths)
        return dataclasses.replace(example, attention=attention)


class Breathing(Fine):
    """More slots in the middle of the budget than at its ends, where the loop warms up."""

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
    """Asks for separators too."""

    def corrupt(self, batch, vocabulary, noise):
        example = super().corrupt(batch, vocabulary, noise)
        is_separator = batch.tokens == vocabulary.sep_id
        labels = torch.where(is_separator, batch.tokens, example.labels)
        return dataclasses.replace(example, labels=labels)


class Scribbling(Fine):
    """Writes where no version counter sees it."""

    def corrupt(self, batch, vocabulary, noise):
        batch.sentence_start.numpy()[:, 0] = True
        return super().corrupt(batch, vocabulary, noise)


class Seeding(Fine):
    def corrupt(self, batch, vocabulary, noise):
        torch.manual_seed(0)
        return super().corrupt(batch, vocabulary, noise)


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


class Telling(Fine):
    """Shows for a hidden token the ordinary one after it: a cipher, not a mask."""

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
    """Divides by a count that may be none."""

    def loss(self, encoder, head, example, noise):
        found = token_loss(encoder, head, example)
        return dataclasses.replace(found, sum=found.sum * (found.predictions / found.predictions))


class Averaging(Fine):
    """A mean where a sum is wanted: micro-batches would weigh alike whatever they hold."""

    def loss(self, encoder, head, example, noise):
        found = token_loss(encoder, head, example)
        return dataclasses.replace(found, sum=found.sum / found.predictions.clamp(min=1))


class OwnHead(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.out = nn.Linear(shape.hidden_size, shape.vocab_size)

    def forward(self, hidden):
        return self.out(hidden)


class Untied(Fine):
    """Says that it scores sentences, with a head that nobody else can call."""

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
        frozen = _Still(encoder)
        return token_loss(frozen, head, example)


class _Still:
    """An encoder whose states are taken as they are."""

    def __init__(self, encoder):
        self.encoder, self.embeddings = encoder, encoder.embeddings

    def __call__(self, tokens, attention):
        return self.encoder(tokens, attention).detach()


class Climbing(Fine):
    def loss(self, encoder, head, example, noise):
        found = token_loss(encoder, head, example)
        return dataclasses.replace(found, sum=2 * found.sum.detach() - found.sum)


class Spending(Fine):
    """Reads everything once more than it says."""

    def loss(self, encoder, head, example, noise):
        with torch.no_grad():
            encoder(example.inputs, example.attention)
        return token_loss(encoder, head, example)


FAULTS = {
    "metadata": Unsaid,
    "settings": Boundless,
    "shapes": Stray,
    "fixed_shapes": Breathing,
    "special_tokens": Greedy,
    "labels": Curious,
    "batch_untouched": Scribbling,
    "process_untouched": Seeding,
    "reproducible": Seedless,
    "static_masking": Restless,
    "rows_independent": Counting,
    "hidden_tokens": Telling,
    "future": Peeking,
    "short_rows": Dividing,
    "micro_batches": Averaging,
    "token_head": Untied,
    "gradient": Detached,
    "learning": Climbing,
    "cost": Spending,
}
CHECKS = by_name(OBJECTIVE_CHECKS)


def test_every_check_has_its_fault() -> None:
    assert list(FAULTS) == list(CHECKS)


@pytest.mark.parametrize("cls", [Fine, FineCausal])
def test_a_correct_objective_passes(cls: type[Objective]) -> None:
    assert failed(cls(), CHECKS) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_its_check(name: str) -> None:
    said(FAULTS[name](), CHECKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_no_other_check(name: str) -> None:
    assert failed(FAULTS[name](), CHECKS) == [name]


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (Boundless, "expected weight to refuse NaN and values out of range; saw weight = nan"),
        (Greedy, r"saw id 59 for the special token 8 at position \d+ of row \d"),
        (Scribbling, r"saw batch\.sentence_start changed; look at Scribbling\.corrupt \(test_"),
        (Seeding, "saw torch's global generator changed"),
        (Counting, r"saw extras\['place'\] differ for rows \[5\] of 6 taken alone"),
        (Peeking, "expected no prediction to see its own label"),
        (Detached, r"saw none in embeddings\.norm\.weight, layers\.0"),
        (Spending, "expected the encoder to read the declared 144 positions .*; saw 288"),
    ],
)
def test_a_failure_says_what_where(cls: type[Objective], says: str) -> None:
    name = next(name for name, fault in FAULTS.items() if fault is cls)
    message = find(CHECKS[name], cls()).message
    assert re.search(says, message), message


@settings
class Careless(Fine):
    extra: Fraction = 0.5


class Forgetful(Fine):
    """Has a setting that none is, for want of @settings."""

    share: Fraction = 0.5
    """A share."""


@pytest.mark.parametrize(
    ("cls", "says"),
    [(Careless, "a docstring under the setting extra"), (Forgetful, "is @settings missing")],
)
def test_settings_are_explained_and_declared(cls: type[Objective], says: str) -> None:
    assert says in find(CHECKS["settings"], cls()).message


class Crashing(Fine):
    def corrupt(self, batch, vocabulary, noise):
        raise IndexError("no such place")


def test_a_crash_is_a_finding() -> None:
    found = find(CHECKS["shapes"], Crashing())
    assert found.status == "failed"
    assert "IndexError: no such place; look at corrupt (test_objectives.py:" in found.message


def test_a_fault_does_not_outlive_its_check() -> None:
    before = torch.get_rng_state()
    find(CHECKS["process_untouched"], Seeding())
    assert torch.equal(torch.get_rng_state(), before)
