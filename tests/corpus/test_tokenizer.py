# ruff: noqa: RUF001 (the tests need letters of other scripts)
import functools
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from bench.corpus.encoding import EncodedText
from bench.corpus.tokenizer import TextTokenizer, Vocabulary
from bench.corpus.tokenizer_json import tokenizer_sha256
from bench.corpus.trainer import char_tokenizer, train_tokenizer
from bench.errors import BenchError

TEXTS = [
    "The scientist studied the cell under a microscope. It wasn't easy!",
    "  Two  spaces, a tab\tand\nlines\n\nof text ",
    "Η γάτα κάθεται στο χαλί. Πολύ ωραία;",
    "smile 😀 and 👩‍👩‍👧 family",
    "我喜欢学习。今天天气很好！",
    "no\u00a0break\u3000wide",
    "",
    "x",
]


@pytest.fixture(scope="module")
def byte_level() -> TextTokenizer:
    return train_tokenizer(TEXTS * 3, 400)


@pytest.fixture(scope="module")
def char() -> TextTokenizer:
    return char_tokenizer(TEXTS * 2, 300)


@pytest.fixture(scope="module")
def wordpiece() -> TextTokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sci", "##ent", "##ist", ".", "a"]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return TextTokenizer(tokenizer.to_str().encode())


@pytest.fixture(scope="module")
def sentencepiece() -> TextTokenizer:
    """White space is part of tokens, and there is no pre-tokenizer (as in Llama)."""
    words = ["<unk>", "<s>", "</s>", "▁the", "▁cat", "s", "▁", "t", "h", "e", "c", "a", "▁sat"]
    scores = [(word, -float(i)) for i, word in enumerate(words)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return TextTokenizer(tokenizer.to_str().encode())


def words_of(text: str, encoded: EncodedText) -> list[str]:
    """The text, cut at the starts of words."""
    cuts = [*encoded.starts[encoded.word_start].tolist(), len(text)]
    return [text[low:high] for low, high in itertools.pairwise(cuts)]


# -- words ----------------------------------------------------------------------------------------


def test_byte_level_words(byte_level: TextTokenizer) -> None:
    encoded = byte_level.encode(TEXTS)
    assert words_of(TEXTS[0], encoded[0]) == [
        *("The", " scientist", " studied", " the", " cell", " under", " a", " microscope", "."),
        *(" It", " wasn", "'t", " easy", "!"),
    ]
    assert words_of(TEXTS[2], encoded[2])[:3] == ["Η", " γάτα", " κάθεται"]
    assert [word.strip() for word in words_of(TEXTS[3], encoded[3])][:2] == ["smile", "😀"]
    assert words_of(TEXTS[4], encoded[4]) == ["我喜欢学习", "。", "今天天气很好", "！"]


def test_char_tokens_are_characters_and_words_are_words(char: TextTokenizer) -> None:
    for text, encoded in zip(TEXTS, char.encode(TEXTS), strict=True):
        assert encoded.starts.tolist() == list(range(len(text)))
        assert (encoded.ends - encoded.starts == 1).all()
        assert char.decode(encoded.ids) == text
    assert words_of("It wasn't easy!", char.encode(["It wasn't easy!"])[0]) == [
        *("It", " wasn't", " easy", "!")
    ]


def test_char_unknown_characters_are_unk(char: TextTokenizer) -> None:
    ids = char.encode(["aЖЖa"])[0].ids.tolist()
    assert ids[1:3] == [1, 1]
    assert ids[0] == ids[3] > 4


def test_the_char_vocabulary_has_the_most_frequent_characters() -> None:
    tokenizer = char_tokenizer(["aaaa bbb cc d"], 5 + 3)
    characters = {tokenizer.decode([i]) for i in range(5, tokenizer.vocabulary.size)}
    assert characters == {
        "a",
        "b",
        " ",
    }  # "d" occurs once; "c" occurs twice, but there is no room for it


def test_wordpiece_words(wordpiece: TextTokenizer) -> None:
    text = "The  scientist a.the zebra"
    encoded = wordpiece.encode([text])[0]
    ids = [wordpiece.decode([i]) for i in encoded.ids]
    assert [piece.removeprefix("##") for piece in ids] == [
        *("the", "sci", "ent", "ist", "a", ".", "the", "[UNK]")
    ]
    assert encoded.word_start.tolist() == [True, True, False, False, True, True, True, True]


def test_words_without_a_pre_tokenizer(sentencepiece: TextTokenizer) -> None:
    text = "the cats sat"
    encoded = sentencepiece.encode([text])[0]
    assert [word.strip() for word in words_of(text, encoded)] == ["the", "cats", "sat"]


@pytest.mark.parametrize("kind", ["byte_level", "char", "wordpiece", "sentencepiece"])
def test_a_word_never_begins_inside_a_character(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: TextTokenizer = request.getfixturevalue(kind)
    for text, encoded in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert len(encoded.ids) == len(encoded.word_start) == len(encoded.starts)
        for i in encoded.word_start.nonzero()[0][1:]:
            assert encoded.starts[i] >= encoded.ends[i - 1], (text, i)
        if len(encoded.ids):
            assert encoded.word_start[0]


@settings(max_examples=60)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=6))
def test_texts_are_encoded_as_each_alone(texts: list[str]) -> None:
    tokenizer = _shared()
    together = tokenizer.encode(texts)
    assert len(together) == len(texts)
    for text, encoded in zip(texts, together, strict=True):
        alone = tokenizer.encode([text])[0]
        for field in ("ids", "word_start", "starts", "ends"):
            assert getattr(encoded, field).tolist() == getattr(alone, field).tolist()
        assert tokenizer.decode(encoded.ids).removeprefix(" ") == text.removeprefix(" ")
        assert (encoded.ends <= len(text)).all()


@functools.cache
def _shared() -> TextTokenizer:
    return train_tokenizer(TEXTS, 300)


# -- training and identity -----------------------------------------------------------------


def test_training_is_deterministic_and_gives_the_roles_the_first_ids() -> None:
    one, other = (train_tokenizer(iter(TEXTS * 3), 400) for _ in range(2))
    assert one.json == other.json
    vocabulary = one.vocabulary
    assert (vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id) == (0, 1, 2)
    assert (vocabulary.sep_id, vocabulary.mask_id, vocabulary.special_ids) == (
        3,
        4,
        (0, 1, 2, 3, 4),
    )
    assert 261 <= vocabulary.size <= 400


def test_a_vocabulary_without_room_for_bytes_is_an_error() -> None:
    with pytest.raises(BenchError, match="at least 261"):
        train_tokenizer(TEXTS, 260)


def test_a_saved_tokenizer_has_the_same_identity(byte_level: TextTokenizer, tmp_path: Path) -> None:
    byte_level.save(tmp_path / "tokenizer.json")
    again = TextTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.sha256 == byte_level.sha256 == tokenizer_sha256(tmp_path / "tokenizer.json")
    assert again.vocabulary == byte_level.vocabulary
    assert again.encode(TEXTS)[3].ids.tolist() == byte_level.encode(TEXTS)[3].ids.tolist()


def test_special_tokens_in_a_text_are_text(byte_level: TextTokenizer) -> None:
    text = "a [MASK] b [SEP]"
    assert not byte_level.vocabulary.is_special(
        torch.tensor(byte_level.encode([text])[0].ids)
    ).any()
    parsed = byte_level.encode([text], parse_special=True)[0].ids.tolist()
    assert parsed.count(4) == parsed.count(3) == 1
    assert 4 not in byte_level.encode([text])[0].ids


# -- drawing --------------------------------------------------------------------------------------


def vocabulary_of(size: int, special: tuple[int, ...]) -> Vocabulary:
    roles = dict.fromkeys(("pad_id", "unk_id", "cls_id", "sep_id", "mask_id"), special[0])
    return Vocabulary(size=size, special_ids=special, **roles)


@settings(max_examples=80)
@given(size=st.integers(2, 300), data=st.data())
def test_draws_are_the_ordinary_ids_in_order(size: int, data: st.DataObject) -> None:
    special = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size - 1))
    vocabulary = vocabulary_of(size, tuple(sorted(special)))
    ordinary = [i for i in range(size) if i not in special]
    n = len(ordinary)
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    assert vocabulary.draw_ordinary(middles.float()).tolist() == ordinary
    flags = vocabulary.is_special(torch.arange(size).view(1, -1))
    assert flags[0].nonzero().flatten().tolist() == sorted(special)


@pytest.mark.parametrize("special", [(0, 1, 2, 3, 4), (0, 1, 2, 3, 50_000), (0, 101, 102, 103)])
def test_draws_are_exact_at_the_edges(special: tuple[int, ...]) -> None:
    """Tests draws right below the edge between two tokens, where a float32 product rounds up."""
    vocabulary = vocabulary_of(50_368, special)
    ordinary = [i for i in range(50_368) if i not in special]
    edges = [-(-k * 2**24 // len(ordinary)) for k in range(1, len(ordinary) + 1)]
    below = torch.tensor([(edge - 1) / 2**24 for edge in edges])
    assert vocabulary.draw_ordinary(below).tolist() == ordinary
    assert vocabulary.draw_ordinary(torch.zeros(1, 2)).tolist() == [[ordinary[0]] * 2]


def test_draws_are_uniform() -> None:
    vocabulary = vocabulary_of(13, (0, 1, 7))
    generator = torch.Generator().manual_seed(0)
    counts = vocabulary.draw_ordinary(torch.rand(100_000, generator=generator)).bincount(
        minlength=13
    )
    assert counts[[0, 1, 7]].tolist() == [0, 0, 0]
    assert (counts[[2, 3, 4, 5, 6, 8, 9, 10, 11, 12]] - 10_000).abs().max() < 450  # 4.5 sigma
