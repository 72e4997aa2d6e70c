import functools
import json
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus import preparation, store
from bench.corpus.preparation import (
    PreparedCorpus,
    default_cache,
    find_prepared,
    held_out_below,
    open_prepared,
    prepare_corpus,
)
from bench.corpus.sources import Corpus, open_corpus
from bench.corpus.store import SENTENCE_START, SPECIAL, WORD_START, StoreWriter, TokenStore
from bench.corpus.tokenizer import TextTokenizer, Vocabulary, sentence_starts
from bench.corpus.trainer import char_tokenizer
from bench.errors import BenchError, RefusedError
from bench.settings import sha256_json
from bench.storage import file_sha256, write_manifest
from tests.helpers.paths import ROOT

TEXTS = ["The cat sat. It ran", "A dog?\n\nno dog", "Жat is unknoЖn. ЖЖ too", "!"]
STORE_FILES = ["tokens.bin", "flags.bin", "documents.bin", "counts.bin"]


class Given(Corpus):
    name: ClassVar[str] = "given"
    summary: ClassVar[str] = "documents as given"

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.metrics = 0

    def fingerprint(self) -> str:
        return str(sha256_json(self.texts))

    def documents(self) -> Iterator[str]:
        self.metrics += 1
        yield from self.texts


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


def sentences(count: int) -> list[str]:
    return [f"Sentence number {i} says {i * i}. It ends here." for i in range(count)]


# -- the stream -----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_tokens", [1, 20, 1 << 19])
def test_the_stream_is_every_document_and_its_end(
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


def test_flags_say_where_words_and_sentences_begin(folder: Path, tokenizer: TextTokenizer) -> None:
    built = TokenStore.open(folder)

    def marked(bit: int) -> list[str]:
        """One character a token: each document with a bar before each marked one."""
        bars = ["|" if flag & bit else "" for flag in built.flags]
        cells = [bar + char for bar, char in zip(bars, "\0".join([*TEXTS, ""]), strict=True)]
        return "".join(cells).split("\0")[:-1]

    assert marked(SPECIAL)[2] == "|Жat is unkno|Жn. |Ж|Ж too|"
    assert all(built.flags[built.documents[1:] - 1] == SPECIAL)
    # A word begun by unknown characters begins at its first known one.
    assert marked(WORD_START) == [
        *("|The| cat| sat|.| It| ran", "|A| dog|?|\n|\n|no| dog"),
        *("Ж|at| is| unknoЖ|n|.| ЖЖ| too", "|!"),
    ]
    assert marked(SENTENCE_START) == [
        *("|The cat sat. |It ran", "|A dog?\n\n|no dog"),
        *("Ж|at is unknoЖn. ЖЖ| too", "|!"),
    ]


def test_sentences_are_those_of_the_text(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    texts = ["The cat sat. It ran. A dog? no. That is.  It sat" * n for n in range(1, 30)]
    built = TokenStore.open(write(tmp_path / "store", tokenizer, texts))
    expected = [
        start + int(first)
        for text, first in zip(texts, built.documents[:-1], strict=True)
        for start in sentence_starts(text)
    ]
    assert np.flatnonzero(built.flags & SENTENCE_START).tolist() == expected


def test_byte_level_sentences_begin_at_the_token_with_their_first_letter(tmp_path: Path) -> None:
    texts = sentences(50)
    made = prepare_corpus(Given(texts), None, 300, tmp_path)
    begins = made.train.tokens[np.flatnonzero(made.train.flags & SENTENCE_START)]
    firsts = {made.tokenizer.decode([i]).strip()[:1] for i in begins}
    assert firsts <= {"S", "I", ""}  # "": the space, where it is a token of its own
    assert len(begins) == 2 * made.train.num_documents


# -- rows -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 80), data=st.data())
def test_rows_are_the_stream_cut(length: int, data: st.DataObject) -> None:
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
    assert (rows.word_start | ~first_of_run).all(), "each run of text begins with a word"


@functools.cache
def _shared_store() -> TokenStore:
    made = char_tokenizer(["The cat sat. It ran A dog?\n\nno dog is unknown. too!" * 2], 100)
    with tempfile.TemporaryDirectory() as place:  # a mapped file outlives its name
        return TokenStore.open(write(Path(place) / "store", made, TEXTS))


def test_a_row_begun_amid_a_word_begins_a_word(folder: Path) -> None:
    built = TokenStore.open(folder)
    row = built.rows(np.array([1]), 3, 2, 0)  # "The": its second row is "e "
    assert row.word_start.tolist() == [[False, True, True]]
    assert not row.sentence_start.any()


def test_how_many_rows_there_are(folder: Path) -> None:
    built = TokenStore.open(folder)
    n = built.num_tokens
    assert built.num_rows(n + 1) == built.num_rows(n + 1, include_partial=True) == 1
    assert built.num_rows(n) == 1
    assert built.num_rows(n, include_partial=True) == 2
    assert built.num_rows(n + 100) == 1  # shorter than a row: one, padded
    assert built.rows(np.array([0]), n + 100, 2, 0).attention_mask is not None
    for row_ids in ([2], [-1]):
        with pytest.raises(IndexError, match="rows"):
            built.rows(np.array(row_ids), n, 2, 0)


# -- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORE_FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "append"])
def test_a_damaged_store_is_refused(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    written: dict[str, Callable[[], Any]] = {
        "flip": lambda: path.write_bytes(content),
        "truncate": lambda: path.write_bytes(content[:-1]),
        "empty": lambda: path.write_bytes(b""),
        "remove": path.unlink,
        "append": lambda: path.write_bytes(content + b"\0"),
    }
    written[damage]()
    with pytest.raises(RefusedError, match=name):
        TokenStore.open(folder)


def test_an_id_beyond_the_vocabulary_is_refused(folder: Path, tokenizer: TextTokenizer) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    facts = {key: manifest[key] for key in ("tokens", "documents", "vocabulary", "token_bytes")}
    tokens = np.fromfile(folder / "tokens.bin", "<u2")
    tokens[7] = tokenizer.vocabulary.size
    tokens.tofile(folder / "tokens.bin")
    write_manifest(folder, STORE_FILES, **facts)
    with pytest.raises(RefusedError, match=rf"token {tokens[7]}, but the vocabulary ends"):
        TokenStore.open(folder)
    for wrong in ({"tokens": 1}, {"token_bytes": 3}, {"vocabulary": 9}, {"documents": "x"}):
        write_manifest(folder, STORE_FILES, **(facts | wrong))
        with pytest.raises(RefusedError, match="store"):
            TokenStore.open(folder)


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(70_000))]
    model = {
        "type": "WordLevel",
        "vocab": {w: i for i, w in enumerate(words)},
        "unk_token": "[UNK]",
    }
    payload = {"version": "1.0", "added_tokens": [], "model": model,
               "pre_tokenizer": {"type": "Whitespace"}}  # fmt: skip
    large = TextTokenizer(json.dumps(payload).encode())
    built = TokenStore.open(write(tmp_path / "store", large, ["w1 w69999", "w65536"]))
    assert built.tokens.dtype == np.uint32
    assert built.tokens.tolist() == [6, 70_004, 3, 65_541, 3]


def test_two_bytes_reach_65536_entries(tmp_path: Path) -> None:
    for size, width in ((65_536, 2), (65_537, 4)):
        vocabulary = Vocabulary(size, 0, 1, 2, 3, 4, (0, 1, 2, 3, 4))
        with StoreWriter(tmp_path, vocabulary) as writer:
            writer.close()
        assert json.loads((tmp_path / "manifest.json").read_text())["token_bytes"] == width


# -- the held-out part ----------------------------------------------------------------------------

hashes = st.integers(0, 2**64 - 1)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.one_of(hashes, st.integers(0, 2**59)),
        st.tuples(st.integers(1, 500_000), st.integers(1, 3)),
    ),
    st.randoms(use_true_random=False),
)
def test_held_out_in_any_order(texts: dict[int, tuple[int, int]], draw: Any) -> None:
    documents = [(h, length) for h, (length, copies) in texts.items() for _ in range(copies)]
    below = held_out_below(iter(documents))
    draw.shuffle(documents)
    assert held_out_below(iter(documents)) == below
    held_out = sorted(h for h in texts if h < below)
    if len(texts) < 2:
        assert not held_out
        return
    assert 0 < len(held_out) < len(texts)
    assert len(held_out) == 1 or held_out[-1] < 0.05 * 2**64
    sizes = [texts[h][0] * texts[h][1] for h in held_out]
    assert sum(sizes[:-1]) < 800_000
    others = [h for h in texts if below <= h < 0.05 * 2**64]
    assert not others or sum(sizes) >= 800_000 or max(texts) < 0.05 * 2**64


def test_held_out_is_a_twentieth() -> None:
    draw = np.random.default_rng(0)
    documents = [(int(h), 10) for h in draw.integers(0, 2**64, 20_000, dtype=np.uint64)]
    below = held_out_below(iter(documents))
    assert 0.045 < sum(h < below for h, _ in documents) / 20_000 < 0.055


def test_copies_of_one_document_stay_together(tmp_path: Path) -> None:
    made = prepare_corpus(Given(sentences(60) * 3), "char", 100, tmp_path)
    assert made.heldout is not None
    assert made.heldout.num_documents % 3 == made.train.num_documents % 3 == 0
    assert made.documents == 180
    train = {made.tokenizer.decode(text) for text in _documents(made.train)}
    assert not train & {made.tokenizer.decode(text) for text in _documents(made.heldout)}


def _documents(built: TokenStore) -> list[np.ndarray]:
    return np.split(np.asarray(built.tokens), built.documents[1:-1])


def test_one_document_has_no_held_out_part(tmp_path: Path) -> None:
    made = prepare_corpus(Given(["alone alone"] * 3), "char", 100, tmp_path)
    assert made.heldout is None
    assert made.train.num_documents == 3


def test_two_documents_are_one_and_one(tmp_path: Path) -> None:
    made = prepare_corpus(Given(["one one", "two two"]), "char", 100, tmp_path)
    assert made.heldout is not None
    assert made.heldout.num_documents == made.train.num_documents == 1


# -- the cache ------------------------------------------------------------------------------------


def test_what_is_built_is_found_again(tmp_path: Path) -> None:
    corpus, cache = Given(sentences(40)), tmp_path / "cache"
    assert not find_prepared(corpus, None, 300, cache)
    assert not cache.exists()
    stages: list[str] = []
    made = prepare_corpus(corpus, None, 300, cache, lambda stage, documents: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["reading", "training the tokenizer", "encoding"]
    metrics = corpus.metrics
    assert find_prepared(corpus, None, 300, cache) == made.folder
    again = prepare_corpus(corpus, None, 300, cache)
    assert corpus.metrics == metrics
    assert _identity(again) == _identity(made)
    assert _identity(open_prepared(made.folder)) == _identity(made)
    assert made.corpus_sha256 == corpus.fingerprint()
    assert made.tokenizer_sha256 == open_prepared(made.folder).tokenizer.sha256
    elsewhere = prepare_corpus(Given(sentences(40)), None, 300, tmp_path / "elsewhere")
    assert _identity(elsewhere) == _identity(made)


def _identity(made: PreparedCorpus) -> tuple[Any, ...]:
    parts = (made.train, made.heldout)
    tokens = [part and (part.tokens.tobytes(), part.flags.tobytes()) for part in parts]
    return (*tokens, made.tokenizer_sha256, made.corpus_sha256, made.documents, made.skipped)


def test_other_text_or_tokenizer_is_built_beside(tmp_path: Path) -> None:
    texts = sentences(40)
    made = prepare_corpus(Given(texts), None, 300, tmp_path)
    assert not find_prepared(Given([*texts, "more"]), None, 300, tmp_path)
    assert not find_prepared(Given(texts), None, 301, tmp_path)
    assert not find_prepared(Given(texts), "char", 300, tmp_path)
    made.tokenizer.save(tmp_path / "mine.json")
    assert find_prepared(Given(texts), tmp_path / "mine.json", 0, tmp_path)
    mine = prepare_corpus(Given(texts), str(tmp_path / "mine.json"), 0, tmp_path)
    assert _identity(mine) == _identity(made)


def test_a_corpus_without_text_is_an_error(tmp_path: Path) -> None:
    for texts in ([], ["", " \n"]):
        with pytest.raises(BenchError, match="no text in the corpus given"):
            prepare_corpus(Given(texts), None, 300, tmp_path / "cache")
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": null}\n')
    corpus = open_corpus([str(tmp_path / "a.jsonl")], {})
    with pytest.raises(BenchError, match=r"no text in the corpus a.jsonl \(left out: .*2"):
        prepare_corpus(corpus, None, 300, tmp_path / "cache")


def test_a_small_corpus_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = set()
    for room, metrics in ((40, 3), (10**6, 1)):
        monkeypatch.setattr(preparation, "_KEPT_CHARACTERS", room)
        corpus = Given(sentences(9))
        prepared = prepare_corpus(corpus, "char", 100, tmp_path / str(room))
        stored.add(file_sha256(prepared.folder / "train" / "tokens.bin"))
        assert corpus.metrics == metrics
    assert len(stored) == 1


def test_what_was_left_out_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one one\0\n\ntwo two\xff\n\nthree three")
    corpus = open_corpus([str(tmp_path / "a.txt")], {})
    for _ in range(2):
        made = prepare_corpus(corpus, "char", 100, tmp_path / "cache")
        assert made.skipped == {"NUL": 1, "invalid UTF-8 bytes": 1}
        assert (made.name, made.documents) == ("a.txt", 3)


def test_a_corpus_edited_while_it_is_read_is_refused(tmp_path: Path) -> None:
    class Edited(Given):
        def documents(self) -> Iterator[str]:
            yield from super().documents()
            self.texts.append("more")

    with pytest.raises(RefusedError, match=r"changed while it was read.*before.*after"):
        prepare_corpus(Edited(sentences(9)), _tokenizer_file(tmp_path), 0, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("stores/*/"))


def _tokenizer_file(folder: Path) -> Path:
    char_tokenizer(sentences(9), 100).save(folder / "tokenizer.json")
    return folder / "tokenizer.json"


@pytest.mark.parametrize(
    "part", ["tokenizer.json", "train/tokens.bin", "heldout/flags.bin", "train/manifest.json"]
)
def test_a_damaged_cache_is_refused(tmp_path: Path, part: str) -> None:
    prepare_corpus(Given(sentences(40)), "char", 100, tmp_path)
    path = next(tmp_path.glob(f"stores/*/{part}"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=part):
        prepare_corpus(Given(sentences(40)), "char", 100, tmp_path)


def test_a_changed_tokenizer_in_the_cache_is_refused(tmp_path: Path) -> None:
    prepare_corpus(Given(sentences(40)), "char", 100, tmp_path)
    path = next(tmp_path.glob("tokenizers/*/tokenizer.json"))
    path.write_text(path.read_text().replace("Fuse", "Fuze"))
    with pytest.raises(RefusedError, match=r"tokenizer\.json"):
        prepare_corpus(Given(sentences(40)), "char", 100, tmp_path)


def test_many_at_once_build_it_once(tmp_path: Path) -> None:
    corpora = [Given(sentences(300)) for _ in range(4)]
    made: list[PreparedCorpus] = []
    workers = [
        threading.Thread(target=lambda c=c: made.append(prepare_corpus(c, None, 300, tmp_path)))
        for c in corpora
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({_identity(one)[2:5] for one in made}) == 1
    assert len(made) == 4
    assert sum(corpus.metrics > 0 for corpus in corpora) <= 2  # the tokenizer's, the store's
    assert not list(tmp_path.rglob(".tmp-*"))


def test_the_cache_is_where_it_is_asked_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "bench"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), None])
def test_a_cache_that_cannot_be_written_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    """Permissions do not bind the superuser: a file in the way does."""
    (tmp_path / "file").touch()
    if error is not None:
        monkeypatch.setattr(preparation, "new_folder", lambda path: _raise(error))
    cache = tmp_path / "file" / "cache" if error is None else tmp_path / "cache"
    with pytest.raises(BenchError, match=r"cache.* cannot be written.*set BENCH_CACHE"):
        prepare_corpus(Given(sentences(5)), "char", 100, cache)


def _raise(error: Exception) -> Any:
    raise error


def test_a_full_disk_leaves_no_store(tmp_path: Path) -> None:
    code = f"""
import resource, sys
from pathlib import Path
from bench.corpus.preparation import prepare_corpus
from bench.corpus.sources import open_corpus
from bench.errors import FailedError
folder = Path({str(tmp_path)!r})
(folder / "a.txt").write_text("\\n\\n".join(f"sentence number {{i}} of many" for i in range(5000)))
corpus = open_corpus([str(folder / "a.txt")], {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    prepare_corpus(corpus, None, 300, folder / "cache")
except FailedError as error:
    assert "disk full" in str(error), error
else:
    sys.exit("written")
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    assert list(tmp_path.glob("cache/tokenizers/*/manifest.json"))
    assert not list(tmp_path.glob("cache/stores/*/"))
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.slow
def test_building_a_large_store_takes_little_memory(tmp_path: Path) -> None:
    class Long(Given):
        def documents(self) -> Iterator[str]:
            for i in range(30_000):
                yield f"Document {i} has {i * 7919 % 1000} words of text and then {i} more. " * 6

    path = _tokenizer_file(tmp_path)
    tracemalloc.start()
    made = prepare_corpus(Long([]), path, 0, tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.train.num_tokens > 8_000_000
    assert peak < 120_000_000  # the same for twice as long a corpus; all at once would be 300 MB
