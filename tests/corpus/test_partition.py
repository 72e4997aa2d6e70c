from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.corpus import partition
from bench.corpus.partition import HeldOut, Sample
from bench.corpus.preparation import prepare_corpus
from bench.corpus.store import TokenStore
from tests.helpers.corpora import ListCorpus, numbered_sentences

hashes = st.integers(0, 2**64 - 1)


def held_out_threshold(documents: list[tuple[int, int]], block: int = 7) -> int:
    chosen = HeldOut()
    for low in range(0, len(documents), block):
        own_hashes, lengths = zip(*documents[low : low + block], strict=True)
        chosen.add(np.array(own_hashes, dtype=np.uint64), np.array(lengths, dtype=np.int64))
    return chosen.threshold()


@settings(max_examples=200)
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
    threshold = held_out_threshold(documents)
    draw.shuffle(documents)
    assert held_out_threshold(documents, 3) == threshold
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
    threshold = held_out_threshold(documents)
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


documents = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=40)


@settings(max_examples=150)
@example([*[(0, 2)] * 11, (1, 1)], 2, 11, 0)  # what has no room in a part has none in the whole
@given(documents, st.integers(1, 60), st.integers(1, 60), st.integers(0, 40))
def test_a_sample_is_that_of_its_parts(
    documents: list[tuple[int, int]], most: int, cut: int, threshold: int
) -> None:
    """Each text has one length; the smallest hashes that fit are taken, each once."""
    lengths = dict(documents)
    rows = [(own, n, f"{own:02d}" * lengths[own]) for n, (own, _) in enumerate(documents)]
    whole, joined = Sample(most), Sample(most)
    for own, number, text in rows:
        whole.add(own, len(text), number, text)
    for part in (rows[cut:], rows[:cut]):
        own_sample = Sample(most, joined.highest)
        for own, number, text in part:
            own_sample.add(own, len(text), number, text)
        joined.add_part(own_sample.num_bytes, own_sample.entries(), own_sample.highest)
    texts = whole.training_texts(threshold, most)
    assert texts == joined.training_texts(threshold, most)
    training = [text for own, _, text in rows if own >= threshold]
    if sum(len(text) for _, _, text in rows) <= most:
        assert texts == training, "a small corpus is its own sample, with all copies in order"
        return
    expected, room = set(), most
    for own in sorted(lengths):
        room -= 2 * lengths[own]
        if room < 0:
            break
        expected |= {f"{own:02d}" * lengths[own]} if own >= threshold else set()
    assert set(texts) == expected
    assert len(texts) == len(expected)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 30), max_size=80), st.integers(1, 9), st.integers(0, 12))
def test_copies_are_counted_among_the_first_texts(
    own_hashes: list[int], block: int, most: int
) -> None:
    known, expected = set[int](), 0
    for own in own_hashes:
        expected += own in known
        known |= {own} if len(known) < most else set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "_MOST_KNOWN", most)
        chosen = HeldOut()
        for low in range(0, len(own_hashes), block):
            part = np.array(own_hashes[low : low + block], dtype=np.uint64)
            chosen.add(part, np.ones(len(part), dtype=np.int64))
    assert chosen.copies == expected
