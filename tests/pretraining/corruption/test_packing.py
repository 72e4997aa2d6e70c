"""A packed row of two documents equals each document alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError
from bench.pretraining.batch import Attention, Example
from bench.pretraining.corruption.packing import bounded
from bench.pretraining.encoder import Encoder
from bench.pretraining.loop import Pretraining
from bench.settings import as_mapping, from_mapping
from bench.spec import EncoderShape, Training

MakeSpec = Callable[..., Any]
SHAPE = EncoderShape(
    hidden_size=32, num_layers=3, num_heads=4, mlp_size=48, max_length=24, vocab_size=60
)


@pytest.mark.parametrize("pattern", ["full", "causal", "prefix"])
@pytest.mark.parametrize("is_padded", [False, True])
def test_each_document_of_a_row_is_as_if_alone(pattern: Any, is_padded: bool) -> None:
    encoder = Encoder(SHAPE, 0).eval()
    tokens = torch.arange(5, 21)[None]
    documents = torch.tensor([[0] * 6 + [1] * 10])
    mask = torch.arange(16)[None] < 13 if is_padded else None
    length = 13 if is_padded else 16
    prefix = torch.tensor([9]) if pattern == "prefix" else None
    packed = encoder(tokens, Attention(pattern, mask, prefix, documents))
    for low, high in ((0, 6), (6, length)):
        own = None if prefix is None else (prefix - low).clamp(min=0)
        alone = encoder(tokens[:, low:high], Attention(pattern, None, own))
        torch.testing.assert_close(packed[:, low:high], alone, rtol=1e-4, atol=1e-5)
    joined = encoder(tokens, Attention(pattern, mask, prefix))
    assert not torch.allclose(packed[:, 6:length], joined[:, 6:length], atol=1e-3)
    assert packed.isfinite().all()


def test_documents_of_rows_are_those_of_the_stream(corpus: PreparedCorpus) -> None:
    store, length = corpus.train, 32
    document = np.searchsorted(store.documents, np.arange(store.num_tokens), side="right") - 1
    row_ids = np.array([3, 0, 7, store.num_rows(length, True) - 1])
    found = store.documents_of(row_ids, length)
    sep = corpus.tokenizer.vocabulary.sep_id
    assert found[:3].max() > 0
    for row, own in zip(row_ids, found, strict=True):
        at = np.minimum(row * (length - 1) + np.arange(length - 1), store.num_tokens - 1)
        expected = np.concatenate((document[at][:1], document[at]))
        assert np.array_equal(own, expected - expected[0])
        ends = np.flatnonzero(np.diff(own))
        assert (store.tokens[row * (length - 1) + ends - 1] == sep).all()


def test_documents_move_with_the_tokens() -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, 2]])
    origins = torch.tensor([[0, 4, -1, 3, 5, -1, -1]])
    example = Example(
        torch.zeros(1, 7).long(), Attention(), torch.zeros(1, 7).long(), None, origins
    )
    moved = bounded(example, documents).attention.documents
    assert moved is not None
    assert moved.tolist() == [[0, 1, 1, 1, 2, 2, 2]]
    assert bounded(example, None) is example


def run_of(arguments: Any, corpus: PreparedCorpus, packing: str) -> Pretraining:
    spec, objective = arguments
    training = dataclasses.replace(spec.training, packing=packing)
    return Pretraining(dataclasses.replace(spec, training=training), objective, corpus, "cpu")


@pytest.mark.parametrize("name", ["token", "causal", "prefix_lm", "t5_infilling", "bart_denoise"])
def test_documents_of_a_row_do_not_reach_each_other(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    """Another text in a row's first document leaves the features of its other ones as they are."""
    run = run_of(make_spec(name), corpus, "bounded")
    seen: list[tuple[tuple[Any, ...], torch.Tensor]] = []

    def watch(_module: object, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        seen.append((inputs, output.detach()))

    run.encoder.register_forward_hook(watch)
    run._gradient(0.0)
    (tokens, attention, *extra), hidden = seen[0]
    documents = attention.documents
    assert documents is not None
    assert int(documents.max()) > 0
    is_first = documents == documents[:, :1]
    with torch.no_grad():
        other = run.encoder(torch.where(is_first, 7, tokens), attention, *extra)
    torch.testing.assert_close(other[~is_first], hidden[~is_first], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(other[is_first], hidden[is_first], atol=1e-2)


@pytest.mark.parametrize("components", ["token+causal+t5_infilling", "token+retromae"])
def test_a_mixture_bounds_the_rows_of_each_part(
    components: str, make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = run_of(make_spec("mixture", components=components), corpus, "bounded")
    attentions: list[Attention] = []
    run.encoder.register_forward_hook(lambda _m, inputs, _o: attentions.append(inputs[1]))
    run.step()
    assert len(attentions) > 1
    assert all(attention.documents is not None for attention in attentions)


def test_packing_is_a_part_of_the_identity_where_it_is_not_the_default(
    make_spec: MakeSpec,
) -> None:
    spec, _ = make_spec()
    plain = as_mapping(spec.training)
    assert "packing" not in spec.identity()["training"]  # ids of runs before there was a choice
    training = from_mapping(
        Training, as_mapping(spec.training) | {"packing": "bounded"}, "training"
    )
    other = dataclasses.replace(spec, training=training)
    assert other.identity()["training"]["packing"] == "bounded"
    assert other.id != spec.id
    assert other.comparison != spec.comparison
    assert type(spec).from_json(other.to_json()) == other
    assert type(spec).from_json(spec.to_json()) == spec
    with pytest.raises(BenchError, match=r"training\.packing"):
        from_mapping(Training, plain | {"packing": "tight"}, "training")
