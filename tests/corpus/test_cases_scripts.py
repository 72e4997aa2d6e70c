# ruff: noqa: RUF001 (the tests need letters of other scripts)
"""Corpora that people really bring: scripts without spaces, lines, copies, foreign tokenizers.

Each test makes its own small text of a kind that once gave a wrong result in silence.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import bench
from bench.corpus.files import Files
from bench.corpus.preparation import PreparedCorpus, prepare_corpus
from bench.corpus.sentences import sentence_starts
from bench.corpus.tokenizer import TextTokenizer
from bench.errors import BenchError, FailedError, RefusedError
from bench.pretraining.batch import IGNORED
from bench.pretraining.batch_reader import BatchReader
from bench.pretraining.corruption.realised import RealisedRate, realised_rates, unknown_share
from bench.pretraining.noise import Noise
from bench.pretraining.objective import MaskedObjective, Objective
from bench.probing.overlap import shares_words
from tests.helpers.corpora import ListCorpus, numbered_sentences
from tests.helpers.registry import REGISTRY

ZH = (
    "我们 学生 老师 学校 北京 今天 天气 很好 读书 喜欢 山上 河流 大学 公园 春天 快乐 城市 经济 发展"
)
TH = "ภาษา ไทย เป็น สวยงาม นักเรียน โรงเรียน อ่าน หนังสือ ประเทศ เมือง ใหญ่ ครู สอน วันนี้ อากาศ"
HI = "जाता नदी सुन्दर जो बारे है के स्कूल भाषा मित्र हिन्दी बताता किताब हुआ पर्वत में लिखता घर"


def documents_of(words: str, joint: str, stop: str, count: int = 160) -> list[str]:
    draw = random.Random(0)
    return [
        joint.join(
            joint.join(draw.choices(words.split(), k=draw.randint(6, 14))) + joint + stop
            for _ in range(6)
        )
        for _ in range(count)
    ]


def dna(count: int = 160) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices("ACGT", k=400)) + "." for _ in range(count)]


TEXTS = {
    "chinese": documents_of(ZH, "", "。"),
    "thai": documents_of(TH, "", "!"),
    "hindi": documents_of(HI, " ", "।"),
    "dna": dna(),
}
MASKED = sorted(
    name
    for name, cls in REGISTRY.of("objective").items()
    if issubclass(cls, MaskedObjective) and name != "all_tokens_mlm"
)


@pytest.fixture(scope="module", params=TEXTS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:  # the same words with and without ICU
        patch.setattr("bench.corpus.words.choice.has_icu", lambda: False)
        folder = tmp_path_factory.mktemp(request.param)
        return prepare_corpus(ListCorpus(TEXTS[request.param]), None, 1024, folder)


# -- no objective asks for something else than it says -------------------------------------------


def objective_named(name: str) -> Objective:
    objective: Objective = REGISTRY.get("objective", name)()
    return objective


@pytest.mark.parametrize("name", MASKED)
def test_every_masked_objective_realises_its_rate(prepared: PreparedCorpus, name: str) -> None:
    reader = BatchReader(prepared.tokenizer.vocabulary, 64, torch.device("cpu"))
    reader.collect_statistics(objective_named(name), prepared.train)
    (rate,) = realised_rates(objective_named(name), prepared, reader, 0)
    assert rate.nominal is not None
    assert rate.realised == pytest.approx(rate.nominal, rel=0.1)
    assert rate.unknown == 0.0
    assert rate.warnings() == []


@pytest.mark.parametrize("name", ["token", "whole_word", "span"])
def test_punctuation_is_asked_for_at_about_its_share(prepared: PreparedCorpus, name: str) -> None:
    vocabulary = prepared.tokenizer.vocabulary
    is_stop = np.array(
        [t.strip() in "。।!." for t in map(prepared.tokenizer.token, range(vocabulary.size))]
    )
    reader = BatchReader(vocabulary, 64, torch.device("cpu"))
    rows = np.arange(min(prepared.train.num_rows(64), 400))
    batch = reader.read(prepared.train, rows, 0.0)
    example = objective_named(name).corrupt(batch, vocabulary, Noise(0, 0, batch.example_ids))
    asked = is_stop[example.labels[example.labels != IGNORED].numpy()].mean()
    share = is_stop[batch.tokens[batch.real].numpy()].mean()
    assert abs(asked - share) < max(0.02, 0.35 * share)


@pytest.mark.parametrize("name", ["whole_word", "span", "pmi"])
def test_a_word_longer_than_the_quota_is_cut(name: str, tmp_path: Path) -> None:
    prepared = prepare_corpus(ListCorpus(TEXTS["dna"]), None, 300, tmp_path, words="spaces")
    assert prepared.words is not None
    assert "400 characters" in prepared.words.warnings()[0]
    reader = BatchReader(prepared.tokenizer.vocabulary, 64, torch.device("cpu"))
    (rate,) = realised_rates(objective_named(name), prepared, reader, 0)
    assert rate.realised == pytest.approx(0.15, rel=0.1)


def test_ingredients_are_checked_one_by_one(prepared: PreparedCorpus) -> None:
    reader = BatchReader(prepared.tokenizer.vocabulary, 64, torch.device("cpu"))
    rates = realised_rates(objective_named("biphasic"), prepared, reader, 0)
    assert [rate.objective for rate in rates] == ["causal", "token"]
    assert realised_rates(objective_named("untrained"), prepared, reader, 0) == []


def test_rates_that_are_far_off_are_warnings() -> None:
    assert RealisedRate("span", 0.15, 0.149, 0.0).warnings() == []
    assert "asks for 5.9%" in RealisedRate("span", 0.15, 0.059, 0.0).warnings()[0]
    assert "12.0% of the tokens are unknown" in RealisedRate("span", None, 1.0, 0.12).warnings()[0]


@pytest.mark.slow
def test_the_record_and_compare_have_the_warning(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(numbered_sentences(300)), encoding="utf-8")
    tokenizer = wordpiece(
        tmp_path / "tokenizer.json", ["Sentence", "number", "says", "It", "ends", ".", "here"]
    )
    found = bench.run(
        "token", corpus=corpus, tokenizer=tokenizer, tasks="none", budget="4k", seeds=1,
        out=tmp_path / "out", device="cpu", progress=False,
    )  # fmt: skip
    text = " ".join(found.to_text().split())
    assert "ASKED FOR SOMETHING ELSE" in text
    assert "unknown to the tokenizer" in text
    (path,) = (tmp_path / "out" / "runs").glob("token-*/run.json")
    (rate,) = json.loads(path.read_text())["realised_rates"]
    assert rate["nominal"] == 0.15
    assert 0.05 < rate["unknown"] < 1


def test_a_run_that_predicts_nothing_fails(tmp_path: Path) -> None:
    corpus = ListCorpus(TEXTS["chinese"])
    file = wordpiece(tmp_path / "tokenizer.json", ["the", "cat"], split="WhitespaceSplit")
    prepared = prepare_corpus(corpus, file, 300, tmp_path / "cache")
    assert unknown_share(prepared) == 1.0
    reader = BatchReader(prepared.tokenizer.vocabulary, 64, torch.device("cpu"))
    for name in ("token", "causal"):
        with pytest.raises(FailedError, match=r"100\.0% of the tokens are unknown"):
            realised_rates(objective_named(name), prepared, reader, 0)


# -- documents ------------------------------------------------------------------------------------


def documents(path: Path, **options: Any) -> list[str]:
    return list(Files([path], **options).documents())


def test_a_file_without_empty_lines_has_a_document_a_line(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"the cat is bad today {i}.\n" for i in range(50)), encoding="utf-8")
    assert len(documents(file)) == 50
    assert "one document a line" in Files([file]).note
    assert len(documents(file, documents="blank-lines")) == 1
    assert len(documents(file, documents="files")) == 1
    prints = {Files([file], documents=unit).fingerprint() for unit in ("auto", "lines", "files")}
    assert len(prints) == 2


def test_text_wrapped_at_a_width_is_one_document(tmp_path: Path) -> None:
    words = ("a long text that someone wrapped at a width of seventy characters " * 30).split()
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 70:
            lines.append(line.strip())
            line = ""
        line += f"{word} "
    file = tmp_path / "wrapped.txt"
    file.write_text("\n".join([*lines, line]), encoding="utf-8")
    assert len(documents(file)) == 1
    assert Files([file]).note == ""


def test_copies_are_counted(tmp_path: Path) -> None:
    prepared = prepare_corpus(ListCorpus(["the cat is good today."] * 50), None, 300, tmp_path)
    assert (prepared.documents, prepared.copies, prepared.heldout) == (50, 49, None)


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.tsv", 'text\tn\nhe said "x\t1\nyes, so\t2\n', ['he said "x', "yes, so"]),
        ("a.log", "one happened\ntwo happened\n", ["one happened", "two happened"]),
        ("wiki.train", "one\n\ntwo\n", ["one", "two"]),
        ("a.py", "def f():\n\n    return 1\n", ["def f():\n\n    return 1"]),
        ("a.json", '[{"text": "one"}, {"text": "two"}]', ["one", "two"]),
        ("a.json", '{"text": "one"}\n{"text": "two"}\n', ["one", "two"]),
        ("a.json", '["one", "two"]', ["one", "two"]),
        ("reads.fasta", ">1\nACGT\n>2\nGGCC\n", [">1", "ACGT", ">2", "GGCC"]),
    ],
)
def test_formats(name: str, content: str, texts: list[str], tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    assert documents(file) == texts


def test_a_folder_of_code_is_read_and_a_folder_of_text_is_read_without_code(tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "README.md", "__pycache__/a.py", "p.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'{{"name": "{name}"}}', encoding="utf-8")
    assert len(documents(tmp_path)) == 4
    for name in ("b.md", "c.md", "d.txt"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    assert len(documents(tmp_path)) == 4
    assert ".py" in Files([tmp_path]).note


def test_what_is_no_text_and_an_unknown_choice_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    with pytest.raises(BenchError, match="is not text"):
        Files([tmp_path / "a.bin"])
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BenchError, match="--documents 'pages' is none of"):
        documents(tmp_path / "a.txt", documents="pages")
    (tmp_path / "a.json").write_text('[{"body": "x"}]', encoding="utf-8")
    with pytest.raises(BenchError, match="no column 'text'"):
        documents(tmp_path / "a.json")


# -- sentences, overlap ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["यह घर है।|वह नदी है॥|ठीक", "هل هذا بيت؟ |نعم۔ |هذا", "ይህ ቤት ነው። |ያ", "ဒါအိမ်ပါ။|ဟုတ်ကဲ့",
     "他来了。|她走了！|“好。”|完．|好", "ខ្ញុំ។|អ្នក", "One. |Two? |Three"],
)  # fmt: skip
def test_sentence_ends_of_many_scripts(text: str) -> None:
    sentences = text.split("|")
    joined = "".join(sentences)
    starts = [0]
    for sentence in sentences[:-1]:
        starts.append(starts[-1] + len(sentence))
    assert sentence_starts(joined) == starts


def test_near_copies_in_a_script_without_spaces_overlap() -> None:
    train, test = TEXTS["chinese"][:20], TEXTS["chinese"][20:40]
    near = [text[:30] + "龘" + text[31:] for text in train[:5]]
    seen = shares_words(train, [*near, *test])
    assert seen[:5].all()


# -- tokenizers -----------------------------------------------------------------------------------

SPECIAL = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),
}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789."


def saved(tokenizer: Tokenizer, path: Path, special: tuple[str, ...]) -> Path:
    tokenizer.add_special_tokens(list(special))
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    return path


def wordpiece(path: Path, words: list[str], split: str = "Whitespace", unk: str = "[UNK]") -> Path:
    special = SPECIAL["bert"] if unk in SPECIAL["bert"] else SPECIAL["roberta"]
    vocabulary = {token: i for i, token in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unk))
    tokenizer.pre_tokenizer = getattr(pre_tokenizers, split)()
    return saved(tokenizer, path, special)


def unigram(path: Path, unk_id: int | None, special: tuple[str, ...]) -> Path:
    pieces = [*special, "▁", *LETTERS]
    scores = [(piece, 0.0 if piece in special else -3.0) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=unk_id))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return saved(tokenizer, path, special)


def wordlevel(path: Path) -> Path:
    special = SPECIAL["roberta"]
    vocabulary = {token: i for i, token in enumerate([*special, "the", "cat"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return saved(tokenizer, path, special)


def bpe(path: Path, special: tuple[str, ...], byte_level: bool) -> Path:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if byte_level else list(LETTERS)
    vocabulary = {token: i for i, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return saved(tokenizer, path, special)


FAMILIES = {
    "bert": lambda path: wordpiece(path, [*LETTERS, *(f"##{c}" for c in LETTERS)]),
    "wordpiece without its unk": lambda path: wordpiece(
        path, [*LETTERS, *(f"##{c}" for c in LETTERS)], unk="<no>"
    ),
    "roberta": lambda path: bpe(path, SPECIAL["roberta"], byte_level=True),
    "gpt2": lambda path: bpe(path, ("<|endoftext|>",), byte_level=True),
    "bpe of letters": lambda path: bpe(path, (), byte_level=False),
    "xlm-r": lambda path: unigram(path, 3, ("<s>", "<pad>", "</s>", "<unk>", "<mask>")),
    "unigram without unk": lambda path: unigram(path, None, SPECIAL["roberta"]),
    "unigram without any": lambda path: unigram(path, None, ()),
    "t5": lambda path: unigram(path, 2, ("<pad>", "</s>", "<unk>", "<extra_id_0>")),
    "wordlevel": wordlevel,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_any_tokenizer_has_five_roles_and_reads_special_spellings_as_text(
    family: str, tmp_path: Path
) -> None:
    tokenizer = TextTokenizer.from_file(FAMILIES[family](tmp_path / "tokenizer.json"))
    vocabulary = tokenizer.vocabulary
    spellings = [
        spelling
        for names in SPECIAL.values()
        for spelling in names
        if "unk" not in spelling.lower()
    ]
    text = f"the cat {' '.join(spellings)} 7 <|endoftext|> <extra_id_0> ☃ 学"
    (encoded,) = tokenizer.encode([text])
    special = set(vocabulary.special_ids) - {vocabulary.unk_id}
    assert not special & set(encoded.ids.tolist())
    assert (np.diff(encoded.starts) >= 0).all()
    knows_all = family in ("roberta", "gpt2")
    assert (vocabulary.unk_id in encoded.ids) == (not knows_all)
    assert encoded.dropped == 0
    (own,) = tokenizer.encode([f"a {tokenizer.mask_spelling}"], parse_special=True)
    assert vocabulary.mask_id in own.ids
    assert TextTokenizer(tokenizer.json.encode()).sha256 == tokenizer.sha256


def test_roles_are_what_the_tokenizer_says(tmp_path: Path) -> None:
    file = bpe(tmp_path / "a.json", ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>"), byte_level=True)
    vocabulary = TextTokenizer.from_file(file).vocabulary
    assert vocabulary.cls_id == 0
    assert vocabulary.pad_id == 1
    assert (vocabulary.sep_id, vocabulary.unk_id, vocabulary.mask_id) == (2, 3, 4)


def test_dropped_characters_are_counted(tmp_path: Path) -> None:
    data = json.loads(bpe(tmp_path / "a.json", (), byte_level=False).read_text())
    data["added_tokens"].append(
        {"id": len(LETTERS), "content": "<|end|>", "special": True, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
    )  # fmt: skip
    (tmp_path / "b.json").write_text(json.dumps(data), encoding="utf-8")
    (encoded,) = TextTokenizer.from_file(tmp_path / "b.json").encode(["cat ☃☃ cat"])
    assert encoded.dropped == 2
    prepared = prepare_corpus(
        ListCorpus(["the cat ☃.", "another cat"]), tmp_path / "b.json", 300, tmp_path
    )
    assert prepared.skipped["characters that the tokenizer drops"] == 1


def test_a_unigram_model_without_room_for_an_unknown_token_is_refused(tmp_path: Path) -> None:
    data = json.loads(unigram(tmp_path / "a.json", None, ()).read_text())
    data["added_tokens"].append(
        {"id": len(LETTERS) + 1, "content": "<|end|>", "special": True, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
    )  # fmt: skip
    with pytest.raises(RefusedError, match="no unknown token"):
        TextTokenizer(json.dumps(data).encode())
