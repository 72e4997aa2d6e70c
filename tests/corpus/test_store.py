import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus import store
from bench.corpus.preparation import prepare_corpus
from bench.corpus.sentences import sentence_starts
from bench.corpus.store import SENTENCE_START, SPECIAL, WORD_START, StoreWriter, TokenStore
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.trainer import char_tokenizer
from tests.helpers.corpora import ListCorpus, numbered_sentences

TEXTS = ["The cat sat. It ran", "A dog?\n\nno dog", "Жat is unknoЖn. ЖЖ too", "!"]
STORE_FILES = ["tokens.bin", "flags.bin", "documents.bin", "counts.bin"]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return char_tokenizer(["The cat sat. It ran A dog?\n\nno dog is unknown. too!" * 2], 100)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: TextTokenizer) -> Path:
    return write(tmp_path / "store", tokenizer, TEXTS)


def write(folder: Path, tokenizer: TextTokenizer, texts: list[str]) -> Path:
    folder.mkdir()
    with StoreWriter(folder, tokenizer.vocabulary) as writer:
        for text, encoded in tokenizer.stream(texts):
            writer.add(text, encoded)
        writer.close(note="a test")
    return folder


# -- the stream -----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_tokens", [1, 20, 1 << 19])
def test_the_stream_has_each_document_and_a_separator(
    tmp_path: Path,
    tokenizer: TextTokenizer,
    piece_tokens: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "_PIECE_TOKENS", piece_tokens)
    built = TokenStore.open(write(tmp_path / "store", tokenizer, [*TEXTS[:2], "", *TEXTS[2:]]))
    encoded = tokenizer.encode(TEXTS)
    expected = [i for one in encoded for i in [*one.ids.tolist(), 3]]
    assert built.tokens.tolist() == expected
    assert (
        built.documents.tolist() == np.cumsum([0, *(len(one.ids) + 1 for one in encoded)]).tolist()
    )
    assert built.counts.tolist() == np.bincount(expected, minlength=len(built.counts)).tolist()
    assert (built.num_tokens, built.num_documents) == (len(expected), 4)
    assert built.vocabulary_size == tokenizer.vocabulary.size
    assert built.tokens.dtype == np.uint16


def test_flags_mark_the_starts_of_words_and_sentences(
    folder: Path, tokenizer: TextTokenizer
) -> None:
    built = TokenStore.open(folder)

    def marked(bit: int) -> list[str]:
        """Each document, with a bar before each character (token) that has the flag."""
        bars = ["|" if flag & bit else "" for flag in built.flags]
        parts = [bar + char for bar, char in zip(bars, "\0".join([*TEXTS, ""]), strict=True)]
        return "".join(parts).split("\0")[:-1]

    assert marked(SPECIAL)[2] == "|Жat is unkno|Жn. |Ж|Ж too|"
    assert all(built.flags[built.documents[1:] - 1] == SPECIAL)
    # A word that starts with unknown characters starts at its first known one.
    assert marked(WORD_START) == [
        *("|The| cat| sat|.| It| ran", "|A| dog|?|\n|\n|no| dog"),
        *("Ж|at| is| unknoЖ|n|.| ЖЖ| too", "|!"),
    ]
    assert marked(SENTENCE_START) == [
        *("|The cat sat. |It ran", "|A dog?\n\n|no dog"),
        *("Ж|at is unknoЖn. ЖЖ| too", "|!"),
    ]


def test_sentence_flags_match_the_sentences_of_the_text(
    tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    texts = ["The cat sat. It ran. A dog? no. That is.  It sat" * n for n in range(1, 30)]
    built = TokenStore.open(write(tmp_path / "store", tokenizer, texts))
    expected = [
        start + int(first)
        for text, first in zip(texts, built.documents[:-1], strict=True)
        for start in sentence_starts(text)
    ]
    assert np.flatnonzero(built.flags & SENTENCE_START).tolist() == expected


def test_byte_level_sentences_start_at_the_token_with_their_first_letter(tmp_path: Path) -> None:
    texts = numbered_sentences(50)
    made = prepare_corpus(ListCorpus(texts), None, 300, tmp_path)
    begins = made.train.tokens[np.flatnonzero(made.train.flags & SENTENCE_START)]
    firsts = {made.tokenizer.decode([i]).strip()[:1] for i in begins}
    assert firsts <= {"S", "I", ""}  # "": a space that is a separate token
    assert len(begins) == 2 * made.train.num_documents


# -- rows -----------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(length=st.integers(2, 80), data=st.data())
def test_rows_are_consecutive_parts_of_the_stream(length: int, data: st.DataObject) -> None:
    built = _shared_store()
    num_rows = built.num_rows(length, include_partial=True)
    row_ids = data.draw(st.lists(st.integers(0, num_rows - 1), min_size=1, max_size=6))
    rows = built.rows(np.array(row_ids), length, cls_id=2, pad_id=0)
    assert rows.tokens.shape == rows.real.shape == (len(row_ids), length)
    assert rows.tokens.dtype == np.int64
    attention_mask = np.ones_like(rows.real) if rows.attention_mask is None else rows.attention_mask
    for i, r in enumerate(row_ids):
        body = built.tokens[r * (length - 1) : (r + 1) * (length - 1)]
        padding = [0] * (length - 1 - len(body))
        assert rows.tokens[i].tolist() == [2, *body.tolist(), *padding]
        assert attention_mask[i].tolist() == [True] * (1 + len(body)) + [False] * len(padding)
    assert (rows.attention_mask is None) == bool(attention_mask.all())
    assert not (rows.real & ~attention_mask).any()
    assert not (rows.real & np.isin(rows.tokens, [0, 1, 2, 3, 4])).any()
    assert (rows.real | np.isin(rows.tokens, [0, 1, 2, 3, 4])).all()
    assert not (rows.word_start & ~rows.real).any()
    assert not (rows.sentence_start & ~rows.real).any()
    first_of_run = rows.real & ~np.pad(rows.real, ((0, 0), (1, 0)))[:, :-1]
    assert (rows.word_start | ~first_of_run).all(), "each run of text starts with a word"


@functools.cache
def _shared_store() -> TokenStore:
    made = char_tokenizer(["The cat sat. It ran A dog?\n\nno dog is unknown. too!" * 2], 100)
    with (
        tempfile.TemporaryDirectory() as place
    ):  # a mapped file can be read after its name is removed
        return TokenStore.open(write(Path(place) / "store", made, TEXTS))


def test_a_row_that_starts_inside_a_word_has_a_word_start(folder: Path) -> None:
    built = TokenStore.open(folder)
    row = built.rows(np.array([1]), 3, 2, 0)  # "The": its second row is "e "
    assert row.word_start.tolist() == [[False, True, True]]
    assert not row.sentence_start.any()


def test_the_number_of_rows(folder: Path) -> None:
    built = TokenStore.open(folder)
    n = built.num_tokens
    assert built.num_rows(n + 1) == built.num_rows(n + 1, include_partial=True) == 1
    assert built.num_rows(n) == 1
    assert built.num_rows(n, include_partial=True) == 2
    assert built.num_rows(n + 100) == 1  # a stream shorter than a row has one padded row
    assert built.rows(np.array([0]), n + 100, 2, 0).attention_mask is not None
    for row_ids in ([2], [-1]):
        with pytest.raises(IndexError, match="rows"):
            built.rows(np.array(row_ids), n, 2, 0)


# -- damage ---------------------------------------------------------------------------------------
