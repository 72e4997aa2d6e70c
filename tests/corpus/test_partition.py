from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus.partition import held_out_threshold
from bench.corpus.preparation import prepare_corpus
from bench.corpus.store import TokenStore
from tests.helpers.corpora import ListCorpus, numbered_sentences

hashes = st.integers(0, 2**64 - 1)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.one_of(hashes, st.integers(0, 2**59)),
        st.tuples(st.integers(1, 500_000), st.integers(1, 3)),
    ),
    st.randoms(use_true_random=False),
)
def test_the_held_out_part_does_not_depend_on_the_order(
    texts: dict[int, tuple[int, int]], draw: Any
) -> None:
    documents = [(h, length) for h, (length, copies) in texts.items() for _ in range(copies)]
    threshold = held_out_threshold(iter(documents))
    draw.shuffle(documents)
    assert held_out_threshold(iter(documents)) == threshold
    held_out = sorted(h for h in texts if h < threshold)
    if len(texts) < 2:
        assert not held_out
        return
    assert 0 < len(held_out) < len(texts)
    assert len(held_out) == 1 or held_out[-1] < 0.05 * 2**64
    sizes = [texts[h][0] * texts[h][1] for h in held_out]
    assert sum(sizes[:-1]) < 800_000
    others = [h for h in texts if threshold <= h < 0.05 * 2**64]
    assert not others or sum(sizes) >= 800_000 or max(texts) < 0.05 * 2**64


def test_the_held_out_part_is_five_percent() -> None:
    draw = np.random.default_rng(0)
    documents = [(int(h), 10) for h in draw.integers(0, 2**64, 20_000, dtype=np.uint64)]
    threshold = held_out_threshold(iter(documents))
    assert 0.045 < sum(h < threshold for h, _ in documents) / 20_000 < 0.055


def test_copies_of_a_document_are_in_the_same_part(tmp_path: Path) -> None:
    prepared = prepare_corpus(ListCorpus(numbered_sentences(60) * 3), "char", 100, tmp_path)
    assert prepared.heldout is not None
    assert prepared.heldout.num_documents % 3 == prepared.train.num_documents % 3 == 0
    assert prepared.documents == 180
    train = {prepared.tokenizer.decode(text) for text in _documents(prepared.train)}
    assert not train & {prepared.tokenizer.decode(text) for text in _documents(prepared.heldout)}


def _documents(built: TokenStore) -> list[np.ndarray]:
    return np.split(np.asarray(built.tokens), built.documents[1:-1])


def test_one_document_has_no_held_out_part(tmp_path: Path) -> None:
    prepared = prepare_corpus(ListCorpus(["alone alone"] * 3), "char", 100, tmp_path)
    assert prepared.heldout is None
    assert prepared.train.num_documents == 3


def test_of_two_documents_one_is_held_out(tmp_path: Path) -> None:
    prepared = prepare_corpus(ListCorpus(["one one", "two two"]), "char", 100, tmp_path)
    assert prepared.heldout is not None
    assert prepared.heldout.num_documents == prepared.train.num_documents == 1
