# ruff: noqa: RUF001 (the tests need letters of other scripts)
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from bench.corpus.preparation import find_prepared, prepare_corpus
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.trainer import train_tokenizer
from bench.corpus.words import has_unspaced, letter_words, plain_words, split_words
from bench.corpus.words.choice import choose_words
from bench.corpus.words.models import Characters, Segmented, Spaces, WordModel, word_model
from bench.errors import BenchError
from tests.helpers.corpora import ListCorpus, numbered_sentences

HINDI = "हिन्दी में किताबें नहीं थीं।"
CHINESE = "我们2024年喜欢读书，今天天气很好。"
THAI = "ภาษาไทยเป็นภาษาที่สวยงาม"
needs_icu = pytest.mark.skipif(
    importlib.util.find_spec("icu4py") is None, reason="the extra `icu` is not installed"
)


def words_of(model: WordModel, text: str) -> list[str]:
    cuts = [*model.starts(text).nonzero()[0].tolist(), len(text)]
    return [text[low:high].strip() for low, high in itertools.pairwise(cuts)]


# -- one definition -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's an x_1, isn't it? 3.5", "It ' s an x_1 , isn ' t it ? 3 . 5"),
        (HINDI, "हिन्दी में किताबें नहीं थीं ।"),
        (CHINESE, "我 们 2024 年 喜 欢 读 书 ， 今 天 天 气 很 好 。"),
        ("カタカナとPython3です", "カ タ カ ナ と Python3 で す"),
        ("می‌خواهم بروم؟", "می‌خواهم بروم ؟"),
        ("cafe\u0301 ok", "cafe\u0301 ok"),
        ("ACGT" * 11, " ".join("ACGT" * 11)),
        ("", ""),
    ],
)
def test_a_word_is_what_a_reader_of_the_script_calls_one(text: str, words: str) -> None:
    assert split_words(text) == words.split()


def test_english_words_are_those_of_the_usual_pattern() -> None:
    import re

    text = " ".join(numbered_sentences(9)) + " naïve “quoted” — d’accord, 50% of $3"
    assert split_words(text) == re.findall(r"\w+|[^\w\s]", text)
    assert plain_words(text) == re.findall(r"\w+", text)


def test_thai_characters_keep_their_marks() -> None:
    assert "".join(split_words(THAI)) == THAI
    assert "ป็" in split_words(THAI)
    assert has_unspaced(THAI)
    assert not has_unspaced(HINDI)


def test_words_of_letters() -> None:
    assert [w.word for w in letter_words("Don't 42 eat_it")] == ["Don't", "eat", "it"]
    assert [w.word for w in letter_words("我2读。")] == ["我", "读"]
    assert [w.word for w in letter_words(HINDI)][:2] == ["हिन्दी", "में"]


# -- models ---------------------------------------------------------------------------------------


def test_characters() -> None:
    assert words_of(Characters(), "ab नहीं") == ["a", "b", "न", "हीं"]


def test_a_mark_continues_the_word_of_a_byte_level_tokenizer() -> None:
    tokenizer = train_tokenizer([HINDI] * 3, 261)
    (encoded,) = tokenizer.encode([HINDI])
    assert encoded.word_start.sum() > 12
    marked = Spaces().mark(HINDI, encoded)
    firsts = encoded.starts[marked]
    assert [HINDI[at:].split()[0] for at in firsts] == [*("हिन्दी", "में", "किताबें", "नहीं", "थीं।", "।")]
    (plain,) = tokenizer.encode(["plain words"])
    assert Spaces().mark("plain words", plain) is plain.word_start


def test_a_token_that_ends_in_another_word_belongs_to_its_first() -> None:
    tokenizer = train_tokenizer(["我们读书"] * 9, 290)
    (encoded,) = tokenizer.encode(["我们读书"])
    assert word_model("characters").mark("我们读书", encoded).tolist()[0]
    assert word_model("characters").mark("我们读书", encoded).sum() <= 4


@needs_icu
def test_icu_finds_words_by_dictionary() -> None:
    assert "喜欢" in words_of(word_model("icu"), "我们喜欢读书")
    assert "ภาษา" in words_of(word_model("icu"), THAI)
    assert "हिन्दी" in words_of(word_model("icu"), HINDI)


def test_without_icu_the_choice_icu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.corpus.words.models.has_icu", lambda: False)
    with pytest.raises(BenchError, match=r"objective-bench\[icu\]"):
        word_model("icu")


def test_a_segmented_file_gives_the_words_of_its_text(tmp_path: Path) -> None:
    file = tmp_path / "segmented.txt"
    file.write_text("我们 喜欢 读书\n今天 天气 好\n", encoding="utf-8")
    model = Segmented(file)
    assert words_of(model, "我们喜欢读书") == ["我们", "喜欢", "读书"]
    assert words_of(model, "今天天气好") == ["今天", "天气", "好"]
    with pytest.raises(BenchError, match="is not this corpus with spaces between the words"):
        model.starts("更多")
    with pytest.raises(BenchError, match="no such choice or file"):
        word_model(str(tmp_path / "none"))


# -- choice and identity --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "model", "identity"),
    [
        (numbered_sentences(40), "spaces", ()),
        ([HINDI] * 20, "spaces", ("spaces", "marks")),
        ([CHINESE] * 20, "mixed", ("mixed",)),
        ([THAI] * 20, "mixed", ("mixed", "marks")),
        (["ACGT" * 100] * 20, "characters", ("characters",)),
    ],
)
def test_auto_chooses_by_the_text(
    texts: list[str], model: str, identity: tuple[str, ...],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("bench.corpus.words.choice.has_icu", lambda: False)
    choice = choose_words(texts, "print", "auto", tmp_path)
    assert (choice.model, choice.identity) == (model, identity)
    assert choice.warnings() == []
    assert bool(choice.reason) == (model != "spaces")
    assert choose_words([], "print", "auto", tmp_path) == choice


def test_words_that_are_none_are_a_warning(tmp_path: Path) -> None:
    dna = choose_words(["ACGT" * 100], "dna", "spaces", tmp_path)
    assert "400 characters in the mean" in dna.warnings()[0]
    chinese = choose_words([CHINESE], "zh", "spaces", tmp_path)
    assert "scripts without spaces" in chinese.warnings()[0]


def test_words_are_part_of_the_identity_of_a_corpus(tmp_path: Path) -> None:
    spaced = ListCorpus(numbered_sentences(40))
    prepared = prepare_corpus(spaced, None, 300, tmp_path)
    assert prepared.corpus_sha256 == spaced.fingerprint()
    assert prepared.words is not None
    assert prepared.words.model == "spaces"
    single = prepare_corpus(spaced, None, 300, tmp_path, words="characters")
    assert single.corpus_sha256 != prepared.corpus_sha256
    assert single.folder != prepared.folder
    assert find_prepared(spaced, None, 300, tmp_path, "characters") == single.folder
    starts = [np.count_nonzero(one.train.flags & 1) for one in (prepared, single)]
    assert starts[0] < starts[1]


def test_a_trained_tokenizer_keeps_marks_in_words() -> None:
    kept = train_tokenizer([HINDI] * 9, 400, keeps_marks=True)
    cut = train_tokenizer([HINDI] * 9, 400)
    lengths = [len(tokenizer.encode([HINDI])[0].ids) for tokenizer in (kept, cut)]
    assert lengths[0] < lengths[1]
    assert kept.decode(kept.encode([HINDI])[0].ids) == HINDI
    assert isinstance(kept, TextTokenizer)
