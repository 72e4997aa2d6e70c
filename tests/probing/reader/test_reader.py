"""The reader against slow implementations that pad nothing and batch nothing."""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus.trainer import char_tokenizer, train_tokenizer
from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import TokenHead
from bench.probing.reader import batching as rows_module
from bench.probing.reader import likelihood as scoring_module
from bench.probing.reader import reader as reader_module
from bench.probing.reader.batching import batches
from bench.probing.reader.reader import RunReader
from bench.probing.task import NotApplicableError
from bench.spec import EncoderShape

TEXTS = [
    "the bat flew over the unbelievably dark river",
    "a crane",
    "the seal ate jam, and the bat watched",
    "",
    "x",
    "the jammed cranes were watching unbelievably dark seals flying over the river at night",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(TEXTS * 3), 300)


@pytest.fixture(scope="module")
def parts(tokenizer):
    shape = EncoderShape(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        mlp_size=24,
        max_length=32,
        vocab_size=tokenizer.vocabulary.size,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the head is drawn by torch
        encoder, head = Encoder(shape, 1), TokenHead(shape)
    with torch.no_grad():  # untrained logits are near zero and would hide mistakes
        encoder.embeddings.tok_embeddings.weight.mul_(20)
    return encoder, head


def make(parts, tokenizer, scoring="masked", attention="native"):
    encoder, head = parts
    pattern = "causal" if scoring == "causal" else "full"
    return RunReader(encoder, head, tokenizer, scoring, pattern, attention)


def row(tokenizer, text, room=30):
    vocabulary = tokenizer.vocabulary
    (encoded,) = tokenizer.encode([text])
    return encoded, [vocabulary.cls_id, *encoded.ids[:room].tolist(), vocabulary.sep_id]


def states(encoder, tokens, pattern):
    with torch.no_grad():
        hidden = encoder.hidden_states(torch.tensor([tokens]), Attention(pattern))
    return torch.stack(hidden)[:, 0].numpy()


def token_states(encoder, tokenizer, text, pattern, room=30, cls=False):
    """The states of each token, from the window whose ends are farthest away; or of the [CLS]."""
    vocabulary = tokenizer.vocabulary
    ids = tokenizer.encode([text])[0].ids.tolist()
    starts = [0]
    while starts[-1] + room < len(ids):
        starts.append(min(starts[-1] + room // 2, len(ids) - room))
    windows = [
        states(encoder, [vocabulary.cls_id, *ids[s : s + room], vocabulary.sep_id], pattern)
        for s in starts
    ]
    if cls or not ids:
        return windows[0][:, 0] if cls else windows[0][:, :1]
    columns = []
    for token in range(len(ids)):
        margins = [min(token - s, s + room - 1 - token) for s in starts]
        best = int(np.argmax(margins))
        columns.append(windows[best][:, token - starts[best] + 1])
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(
    ("scoring", "attention", "pattern"),
    [
        ("masked", "native", "full"),
        ("causal", "native", "causal"),
        ("causal", "bidirectional", "full"),
    ],
)
def test_pooled_features_equal_those_of_each_text_alone(
    parts, tokenizer, scoring, attention, pattern
):
    result = make(parts, tokenizer, scoring, attention).features(TEXTS)
    assert result.pooled.dtype == np.float32
    for i, text in enumerate(TEXTS):
        own = token_states(parts[0], tokenizer, text, pattern)
        expected = np.stack((own.mean(1), own[:, 0], own[:, -1]), axis=1)
        np.testing.assert_allclose(result.pooled[i], expected, atol=1e-5)
    assert result.truncated == 0
    assert len(tokenizer.encode([TEXTS[5]])[0].ids) > 30  # a text of several windows


def test_batch_composition_does_not_change_features(parts, tokenizer, monkeypatch):
    together = make(parts, tokenizer).features(TEXTS).pooled
    monkeypatch.setattr(rows_module, "CPU_BATCH_TOKENS", 1)
    alone = make(parts, tokenizer).features(TEXTS).pooled
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_word_has_the_mean_the_first_and_the_last_of_its_tokens(parts, tokenizer):
    words = [[(8, 12), (22, 34)], [], [(13, 16)], [], [(0, 1)], [(4, 10), (83, 86)]]
    result = make(parts, tokenizer).features(TEXTS, words)
    expected = []
    for text, spans in zip(TEXTS, words, strict=True):
        (encoded,) = tokenizer.encode([text])
        hidden = token_states(parts[0], tokenizer, text, "full")
        for begin, end in spans:
            (own,) = np.nonzero((encoded.starts < end) & (encoded.ends > begin))
            expected.append(
                np.stack((hidden[:, own].mean(1), hidden[:, own[0]], hidden[:, own[-1]]), axis=1)
            )
    np.testing.assert_allclose(result.spans, np.stack(expected), atol=1e-5)
    (encoded,) = tokenizer.encode([TEXTS[0]])
    assert TEXTS[0][22:34] == "unbelievably"
    assert ((encoded.starts < 34) & (encoded.ends > 22)).sum() > 1


def test_what_all_windows_together_cannot_read_is_counted(parts, tokenizer, monkeypatch):
    monkeypatch.setattr(rows_module, "MAX_WINDOWS", 2)
    text = "the crane ate unbelievably dark jam " * 8
    whole = make(parts, tokenizer).features(
        [text, TEXTS[0]], [[(len(text) - 4, len(text) - 1)], []]
    )
    assert whole.truncated == 1
    cls = token_states(parts[0], tokenizer, text, "full", cls=True)
    np.testing.assert_allclose(whole.spans[0], np.stack([cls] * 3, axis=1), atol=1e-5)


def test_every_text_is_encoded_once(parts, tokenizer):
    encoder = parts[0]
    run = make(parts, tokenizer)
    spans = [[(0, 1)] if text else [] for text in TEXTS]
    before = encoder.tokens_read
    first = run.features(TEXTS, spans)
    read = encoder.tokens_read
    assert run.features(list(TEXTS), [list(each) for each in spans]) is first
    assert encoder.tokens_read == read
    twice = run.features(TEXTS + TEXTS, spans + spans)
    assert encoder.tokens_read - read == read - before  # no text twice in a call
    np.testing.assert_array_equal(twice.pooled[: len(TEXTS)], twice.pooled[len(TEXTS) :])
    with pytest.raises(ValueError, match="read-only"):
        first.pooled[:] = 0.0


def test_features_do_not_depend_on_what_was_read_before(parts, tokenizer):
    """To the bit: texts in other batches are rounded otherwise."""
    rest = [f"{text} {text} the crane" for text in TEXTS for _ in range(3)]
    run = make(parts, tokenizer)
    run.features(TEXTS[:2] + rest)
    run.features(TEXTS[2:])
    fresh = make(parts, tokenizer)
    np.testing.assert_array_equal(run.features(TEXTS).pooled, fresh.features(TEXTS).pooled)


def test_the_cache_is_bounded(parts, tokenizer, monkeypatch):
    encoder, run = parts[0], make(parts, tokenizer)
    one = run.features(TEXTS[:1]).pooled.nbytes
    monkeypatch.setattr(reader_module, "MAX_BYTES", 3 * one)
    for text in TEXTS:
        run.features([text])
    assert run._cache.bytes <= 3 * one
    read = encoder.tokens_read
    run.features(TEXTS[-1:])
    assert encoder.tokens_read == read
    run.features(TEXTS[:1])
    assert encoder.tokens_read > read
    assert len(run.features(TEXTS * 4).pooled) == 4 * len(TEXTS)  # more than there is room for
    assert run._cache.bytes == 0


@pytest.mark.parametrize("large_bytes", [2**32, 0])
def test_features_are_never_twice_in_memory(parts, tokenizer, large_bytes, monkeypatch):
    draw = np.random.default_rng(0)

    def encode(keys):
        for key in keys:
            pooled = draw.standard_normal((4, 3, 128), dtype=np.float32)
            yield key, reader_module.TextFeatures(pooled, np.empty((0, 4, 3, 128)), False)

    monkeypatch.setattr(reader_module, "MAX_BYTES", 500_000)
    monkeypatch.setattr(reader_module, "LARGE_BYTES", large_bytes)
    run = make(parts, tokenizer)
    monkeypatch.setattr(run, "_encode", encode)
    texts = [f"text {i % 3000}" for i in range(4000)]  # some twice
    tracemalloc.start()
    pooled = run.features(texts).pooled
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pooled[:1000] == pooled[3000:]).all()
    assert len(np.unique(pooled[:3000, 0, 0, 0])) == 3000
    on_disk = 0 if large_bytes else pooled.nbytes
    assert peak + on_disk < 1.2 * pooled.nbytes + 3_000_000


def slow_likelihood(parts, tokenizer, text, policy, shift=0):
    """One text, one hidden token, one forward pass at a time."""
    encoder, head = parts
    encoded, tokens = row(tokenizer, text)
    words = np.cumsum(encoded.word_start[:30])
    total = 0.0
    for i in range(len(words)):
        shown = list(tokens)
        for j in range(i, len(words)):
            if j == i or (policy == "word_l2r" and words[j] == words[i]):
                shown[j + 1] = tokenizer.vocabulary.mask_id
        with torch.no_grad():
            hidden = encoder(torch.tensor([shown]), Attention("full"))
            logits = head(hidden[0], encoder.embeddings.tok_embeddings.weight)
        total += torch.log_softmax(logits[i + 1 - shift], -1)[tokens[i + 1]].item()
    return total, len(words)


@pytest.mark.parametrize("scoring", ["masked", "shifted"])
@pytest.mark.parametrize("policy", ["original", "word_l2r"])
@pytest.mark.parametrize("batch_tokens", [40, 16_384])
def test_pseudo_log_likelihood(parts, tokenizer, policy, scoring, batch_tokens, monkeypatch):
    monkeypatch.setattr(rows_module, "CPU_BATCH_TOKENS", batch_tokens)
    monkeypatch.setattr(scoring_module, "BATCH_LOGITS", 700)  # two tokens at a time
    result = make(parts, tokenizer, scoring).log_likelihood(TEXTS, policy)
    shift = 1 if scoring == "shifted" else 0
    expected = [slow_likelihood(parts, tokenizer, text, policy, shift) for text in TEXTS]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_the_second_policy_computes_only_what_the_first_has_not(parts, tokenizer):
    run = make(parts, tokenizer)
    start = parts[0].tokens_read
    original = run.log_likelihood(TEXTS, "original")
    first = parts[0].tokens_read - start
    again = run.log_likelihood(TEXTS, "original")
    assert parts[0].tokens_read == start + first
    np.testing.assert_array_equal(again, original)
    run.log_likelihood(TEXTS, "word_l2r")
    assert start + first < parts[0].tokens_read < start + 2 * first
    other = run.log_likelihood(TEXTS[::-1], "original")
    np.testing.assert_allclose(other[::-1], original, rtol=1e-5)


def test_hiding_the_rest_of_a_word_changes_only_words_of_several_tokens(parts, tokenizer):
    run = make(parts, tokenizer)
    original, l2r = (run.log_likelihood(TEXTS, p)[:, 0] for p in ("original", "word_l2r"))
    several = np.array([not encoded.word_start.all() for encoded in tokenizer.encode(TEXTS)])
    assert several.any()
    assert not several.all()
    np.testing.assert_array_equal(np.abs(original - l2r) > 1e-4, several)


def test_chain_rule(parts, tokenizer):
    encoder, head = parts
    result = make(parts, tokenizer, "causal").log_likelihood(TEXTS, "original")
    for text, (nats, count) in zip(TEXTS, result, strict=True):
        _, tokens = row(tokenizer, text)
        total = 0.0
        for i in range(1, len(tokens) - 1):
            with torch.no_grad():
                hidden = encoder(torch.tensor([tokens[:i]]), Attention("causal"))
                logits = head(hidden[0, -1:], encoder.embeddings.tok_embeddings.weight)
            total += torch.log_softmax(logits[0], -1)[tokens[i]].item()
        assert nats == pytest.approx(total, rel=1e-5)
        assert count == len(tokens) - 2


def test_special_tokens_inside_a_text_are_not_scored():
    tokenizer = char_tokenizer(iter(["abc abc abc"]), 50)
    shape = EncoderShape(
        hidden_size=8, num_layers=1, num_heads=1, mlp_size=8, max_length=16, vocab_size=50
    )
    run = RunReader(Encoder(shape, 0), TokenHead(shape), tokenizer, "masked")
    assert run.log_likelihood(["abc", "aξc", "ξ"], "original")[:, 1].tolist() == [3, 2, 0]


def test_a_reader_without_predictions_is_not_applicable(parts, tokenizer):
    encoder, head = parts
    for run in (
        RunReader(encoder, None, tokenizer, "masked"),
        RunReader(encoder, head, tokenizer, None),
        RunReader(encoder, head, tokenizer, "causal", "causal", "bidirectional"),
    ):
        with pytest.raises(NotApplicableError):
            run.log_likelihood(TEXTS, "original")


def test_the_encoder_does_not_change(parts, tokenizer):
    encoder, _ = parts
    before = copy.deepcopy(encoder.state_dict())
    state = torch.random.get_rng_state()
    run = make(parts, tokenizer)
    run.features(TEXTS)
    run.log_likelihood(TEXTS, "word_l2r")
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


@given(st.lists(st.integers(2, 300), max_size=80), st.integers(1, 2_000))
def test_batches_contain_everything_once_within_the_limit(lengths, limit):
    result = [index.tolist() for index in batches(lengths, limit)]
    assert sorted(i for index in result for i in index) == list(range(len(lengths)))
    for index in result:
        assert len(index) == 1 or len(index) * max(lengths[i] for i in index) <= limit
