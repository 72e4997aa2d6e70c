"""Hidden words against slow implementations: one candidate, one pass at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.corpus.trainer import char_tokenizer, train_tokenizer
from bench.errors import BenchError
from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import TokenHead
from bench.probing.reader import filling
from bench.probing.reader import likelihood as scoring
from bench.probing.reader.reader import RunReader
from bench.probing.task import NotApplicableError
from bench.spec import EncoderShape

TEXTS = ["the bat flew over the unbelievably dark river", "a crane ate jam", "seals watched"]
SPANS = [(4, 7), (2, 7), (0, 5)]
CANDIDATES = ["bat", "crane", "seals", "unbelievably", "river", "jams"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter([*TEXTS * 3, "seals"]), 300)


@pytest.fixture(scope="module")
def parts(tokenizer):
    shape = EncoderShape(
        hidden_size=16, num_layers=2, num_heads=2, mlp_size=24, max_length=24,
        vocab_size=tokenizer.vocabulary.size,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the head is drawn by torch
        encoder, head = Encoder(shape, 1), TokenHead(shape)
    with torch.no_grad():  # untrained logits are near zero and would hide mistakes
        encoder.embeddings.tok_embeddings.weight.mul_(20)
    return encoder, head


def make(parts, tokenizer, scoring="masked"):
    pattern = "causal" if scoring == "causal" else "full"
    return RunReader(*parts, tokenizer, scoring, pattern)


def predicted(parts, tokens, pattern):
    encoder, head = parts
    with torch.no_grad():
        hidden = encoder(torch.tensor([tokens]), Attention(pattern))
        return torch.log_softmax(head(hidden[0], encoder.embeddings.tok_embeddings.weight), -1)


def pieces(tokenizer, text, span):
    """Tokens left of, in and right of a word, by their characters."""
    (encoded,) = tokenizer.encode([text])
    inside = [i for i in range(len(encoded.ids))
              if encoded.ends[i] > span[0] and encoded.starts[i] < span[1]]  # fmt: skip
    ids = encoded.ids.tolist()
    return ids[: inside[0]], ids[inside[0] : inside[-1] + 1], ids[inside[-1] + 1 :]


def slow_score(parts, tokenizer, kind, text, span, candidate):
    vocabulary, room = tokenizer.vocabulary, 22
    replaced = text[: span[0]] + candidate + text[span[1] :]
    begin = max(span[0] - 1, 0)  # with the space before it
    left, own, right = pieces(tokenizer, replaced, (begin, span[0] + len(candidate)))
    if kind == "causal":
        row = [vocabulary.cls_id, *left, *own]
        nats = predicted(parts, row, "causal")
        return sum(nats[len(left) + i, token].item() for i, token in enumerate(own))
    free = room - len(own)
    keep_right = min(len(right), max(free // 2, free - len(left)))
    left, right = left[max(0, len(left) + keep_right - free) :], right[:keep_right]
    row = [vocabulary.cls_id, *left, *[vocabulary.mask_id] * len(own), *right, vocabulary.sep_id]
    nats = predicted(parts, row, "full")
    first = len(left) + (1 if kind == "masked" else 0)
    return sum(nats[first + i, token].item() for i, token in enumerate(own))


@pytest.mark.parametrize("kind", ["masked", "shifted", "causal"])
def test_scores_of_words(parts, tokenizer, kind, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_LOGITS", 700)  # two predictions at a time
    scores = make(parts, tokenizer, kind).word_scores(TEXTS, SPANS, CANDIDATES)
    expected = [
        [slow_score(parts, tokenizer, kind, text, span, word) for word in CANDIDATES]
        for text, span in zip(TEXTS, SPANS, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_the_shortlist_and_the_hidden_word_are_exact(parts, tokenizer, monkeypatch):
    run = make(parts, tokenizer, "causal")
    exact = run.word_scores(TEXTS, SPANS, CANDIDATES)
    monkeypatch.setattr(filling, "SHORTLIST", 1)
    scores = run.word_scores(TEXTS, SPANS, CANDIDATES)
    is_exact = np.isclose(scores, exact, rtol=1e-6)
    own = [CANDIDATES.index(text[slice(*span)]) for text, span in zip(TEXTS, SPANS, strict=True)]
    assert is_exact[np.arange(3), own].all()
    assert is_exact[np.arange(3), scores.argmax(1)].all() or (scores.max(1) > exact.max(1)).any()
    assert not is_exact.all()


def test_a_word_too_long_for_a_row_is_never_likeliest(parts, tokenizer):
    long = "unbelievably" * 20
    for kind in ("masked", "causal"):
        scores = make(parts, tokenizer, kind).word_scores(TEXTS, SPANS, [*CANDIDATES, long])
        assert np.isneginf(scores[:, -1]).all()
        assert np.isfinite(scores[:, :-1]).all()


def test_every_mask_is_filled_with_probabilities(parts, tokenizer):
    text = "the [MASK] ate [MASK]"
    filled = make(parts, tokenizer).fill(text, k=4)
    assert [len(place) for place in filled.places] == [4, 4]
    vocabulary = tokenizer.vocabulary
    ids = [t.ids.tolist() for t in tokenizer.encode(["the", " ate"])]
    row = [vocabulary.cls_id, *ids[0], vocabulary.mask_id, *ids[1], vocabulary.mask_id,
           vocabulary.sep_id]  # fmt: skip
    nats = predicted(parts, row, "full")
    for place, at in zip(filled.places, [i for i, t in enumerate(row) if t == vocabulary.mask_id],
                         strict=True):  # fmt: skip
        ordinary = nats[at].clone()
        ordinary[list(vocabulary.special_ids)] = -torch.inf
        best = int(ordinary.argmax())
        assert place[0] == (tokenizer.token(best), pytest.approx(nats[at, best].exp().item()))
        assert place == sorted(place, key=lambda pair: -pair[1])
    assert "[MASK]" not in filled.text
    shifted = make(parts, tokenizer, "shifted").fill(text, k=1)
    assert shifted.places[0][0][1] != pytest.approx(filled.places[0][0][1])


def test_a_causal_run_continues(parts, tokenizer):
    run = make(parts, tokenizer, "causal")
    filled = run.fill("the bat", k=3)
    assert filled.is_continued
    assert len(filled.places) == 1
    assert filled.text.startswith("the bat")
    assert len(tokenizer.encode([filled.text])[0].ids) > 2
    assert run.fill("the bat [MASK] over", k=3) == filled  # it cannot see the right side


def test_texts_that_cannot_be_filled_are_refused(parts, tokenizer):
    with pytest.raises(BenchError, match=r"nothing to fill in .* write \[MASK\]"):
        make(parts, tokenizer).fill("the bat")
    with pytest.raises(BenchError, match=r"has \d+ tokens and this run reads 22"):
        make(parts, tokenizer).fill("unbelievably " * 20 + "[MASK]")
    with pytest.raises(NotApplicableError):
        RunReader(parts[0], parts[1], tokenizer, None).fill("the [MASK]")


def test_characters_keep_the_space_before_a_mask():
    tokenizer = char_tokenizer(iter(["abc abc abc"]), 50)
    shape = EncoderShape(
        hidden_size=8, num_layers=1, num_heads=1, mlp_size=8, max_length=16, vocab_size=50
    )
    run = RunReader(Encoder(shape, 0), TokenHead(shape), tokenizer, "masked")
    assert run.fill("ab [MASK]c", k=1).text.startswith("ab ")
