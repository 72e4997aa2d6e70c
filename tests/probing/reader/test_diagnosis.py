"""Joint filling and features with [MASK]s, against slow loops that pad and batch nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.corpus.trainer import train_tokenizer
from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import TokenHead
from bench.pretraining.noise import Noise
from bench.probing.reader.reader import RunReader
from bench.probing.task import NotApplicableError
from bench.spec import EncoderShape

TEXTS = [
    "the bat flew over the unbelievably dark river",
    "a crane and the unbelievable seal",
    "the seal ate jam, and the bat watched",
    "the",
]
SPANS = [(22, 39), (16, 33), (4, 12), (0, 3)]
NOISE = Noise(0, 0, torch.arange(1))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(TEXTS * 3), 290)


@pytest.fixture(scope="module")
def parts(tokenizer):
    shape = EncoderShape(
        hidden_size=16, num_layers=2, num_heads=2, mlp_size=24, max_length=64,
        vocab_size=tokenizer.vocabulary.size,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the head is drawn by torch
        encoder, head = Encoder(shape, 1), TokenHead(shape)
    with torch.no_grad():  # untrained logits are near zero and would hide mistakes
        encoder.embeddings.tok_embeddings.weight.mul_(20)
    return encoder, head


def log_p(parts, tokens, place, shift):
    encoder, head = parts
    with torch.inference_mode():
        hidden = encoder(torch.tensor([tokens]), Attention("full", None))
        logits = head(hidden[0, [place - shift]], encoder.token_table)
        return logits.double().log_softmax(-1)[0]


@pytest.mark.parametrize("scoring", ["masked", "shifted"])
def test_joint_nats_equal_a_loop(parts, tokenizer, scoring):
    reader = RunReader(*parts, tokenizer, scoring)
    found = reader.joint_nats(TEXTS, SPANS)
    vocabulary, shift = tokenizer.vocabulary, int(scoring == "shifted")
    for row, text, (start, end) in zip(found, TEXTS, SPANS, strict=True):
        one = tokenizer.encode([text])[0]
        low = len(text[:start].rstrip())  # the space before the word is hidden, too
        inside = [i for i in range(len(one.ids)) if one.ends[i] > low and one.starts[i] < end]
        ids = [vocabulary.cls_id, *one.ids.tolist(), vocabulary.sep_id]
        places = [i + 1 for i in inside]
        hidden = [vocabulary.mask_id if i in places else token for i, token in enumerate(ids)]
        at_once = sum(float(log_p(parts, hidden, i, shift)[ids[i]]) for i in places)
        one_by_one = 0.0
        for i in places:
            one_by_one += float(log_p(parts, hidden, i, shift)[ids[i]])
            hidden[i] = ids[i]
        assert row[2] == len(places)
        assert row[:2] == pytest.approx([at_once, one_by_one], abs=2e-4)
    assert found[0, 2] > 2
    assert np.abs(found[:3, 0] - found[:3, 1]).max() > 2e-3
    assert found[3, 0] == found[3, 1]  # one token alone: both ways are one


def test_joint_nats_without_a_head(parts, tokenizer):
    with pytest.raises(NotApplicableError, match="predicts no tokens"):
        RunReader(parts[0], None, tokenizer, None).joint_nats(TEXTS, SPANS)


@pytest.mark.parametrize("pattern", ["full", "causal"])
def test_states_without_corruption_are_the_features(parts, tokenizer, pattern):
    reader = RunReader(*parts, tokenizer, "masked", pattern)
    states = reader.mean_states(TEXTS, "none", 0.15, NOISE)
    np.testing.assert_allclose(states, reader.features(TEXTS).pooled[:, :, 0], atol=1e-4)


def test_the_same_tokens_are_masked_and_removed(parts, tokenizer):
    """The share of each text, at least one token; found by comparing the embedding layer's sums."""
    reader = RunReader(*parts, tokenizer, "masked")
    seen = []
    original = type(parts[0]).hidden_states

    def record(self, tokens, attention):
        mask = attention.mask if hasattr(attention, "mask") else None
        seen.extend(row[row != tokenizer.vocabulary.pad_id].tolist() for row in tokens)
        assert mask is None or mask.dtype == torch.bool
        return original(self, tokens, attention)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(type(parts[0]), "hidden_states", record)
    for corruption in ("mask", "remove"):
        reader.mean_states(TEXTS, corruption, 0.15, NOISE)
    monkey.undo()
    masked, removed = seen[: len(TEXTS)], seen[len(TEXTS) :]
    mask_id = tokenizer.vocabulary.mask_id
    ids = {tuple(one.ids.tolist()) for one in tokenizer.encode(TEXTS)}
    without = sorted([token for token in row if token != mask_id] for row in masked)
    assert without == sorted(removed)
    for row in masked:
        count, length = row.count(mask_id), len(row) - 2
        assert count == max(1, round(0.15 * length))
        assert any(
            len(one) == length
            and all(a in (b, mask_id) for a, b in zip(row[1:-1], one, strict=True))
            for one in ids
        )


def test_states_with_masks_equal_a_loop(parts, tokenizer):
    """Every token of a text of one token is hidden: the row is [CLS] [MASK] [SEP]."""
    vocabulary, encoder = tokenizer.vocabulary, parts[0]
    reader = RunReader(*parts, tokenizer, "masked")
    tokens = torch.tensor([[vocabulary.cls_id, vocabulary.mask_id, vocabulary.sep_id]])
    with torch.inference_mode():
        layers = encoder.hidden_states(tokens, Attention("full", None))
    expected = torch.stack(layers, dim=1)[0, :, 1].numpy()
    states = reader.mean_states(["the", *TEXTS], "mask", 0.15, NOISE)
    np.testing.assert_allclose(states[0], expected, atol=1e-4)
    empty = reader.mean_states(["the"], "remove", 0.15, NOISE)
    assert np.isfinite(empty).all()  # nothing is left but [CLS] and [SEP]
