# ruff: noqa: RUF001 (the tests need letters of other scripts)
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus.encoding import to_arrays, token_lengths
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.trainer import char_tokenizer, train_tokenizer

TEXTS = [
    "The scientist studied the cell under a microscope. It wasn't easy!",
    "  Two  spaces, a tab\tand\nlines\n\nof text ",
    "Η γάτα κάθεται στο χαλί. हिन्दी में किताब है।",
    "smile 😀 and 👩‍👩‍👧 family, no\u00a0break\u3000wide",
    "[MASK] [SEP] a[CLS]",
]
TOKENIZERS = [train_tokenizer(TEXTS * 3, 400), train_tokenizer(TEXTS * 3, 400, keeps_marks=True)]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
lines = st.lists(
    texts | st.sampled_from([*TEXTS, "", " ", "\n", "\nx", "é", "\u3000x"]), max_size=5
)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(max_examples=150)
@given(lines=lines)
def test_offsets_are_those_of_the_library(tokenizer: TextTokenizer, lines: list[str]) -> None:
    lengths = token_lengths(tokenizer.json)
    assert lengths is not None
    encodings = tokenizer._tokenizer.encode_batch(lines, add_special_tokens=False)
    from_lengths = to_arrays(lines, encodings, lengths)
    from_library = to_arrays(lines, encodings)
    for one, other in itertools.zip_longest(from_lengths, from_library):
        for field in ("ids", "word_start", "starts", "ends", "dropped"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_other_tokenizers_keep_the_offsets_of_the_library() -> None:
    canonical = TOKENIZERS[0].json
    for old, new in (
        ('"normalizer":null', '"normalizer":{"type":"NFC"}'),
        ('"type":"ByteLevel"', '"type":"Whitespace"'),
        ('"end_of_word_suffix":null', '"end_of_word_suffix":"</w>"'),
        ('"special":true', '"special":false'),
    ):
        assert old in canonical
        assert token_lengths(canonical.replace(old, new)) is None
    assert token_lengths(char_tokenizer(TEXTS, 100).json) is None


def test_lengths_that_do_not_fit_the_text_are_not_used() -> None:
    tokenizer = TOKENIZERS[0]
    encodings = tokenizer._tokenizer.encode_batch(TEXTS, add_special_tokens=False)
    wrong = np.full(tokenizer.vocabulary.size, 9, dtype=np.int32)
    for one, other in zip(
        to_arrays(TEXTS, encodings, wrong), to_arrays(TEXTS, encodings), strict=True
    ):
        np.testing.assert_array_equal(one.ends, other.ends)
