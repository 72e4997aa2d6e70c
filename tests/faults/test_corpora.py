"""Rows 4, 24 and 26: corpora as people really have them, and their token stores."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.corpus import raw_files
from bench.corpus.files import Files
from bench.corpus.store import StoreWriter, TokenStore
from bench.corpus.tokenizer import TextTokenizer, Vocabulary
from bench.corpus.trainer import char_tokenizer
from bench.errors import BenchError, RefusedError
from bench.storage import write_manifest
from tests.corpus.test_files import read, write
from tests.corpus.test_store import STORE_FILES, TEXTS
from tests.corpus.test_store import write as write_store


@pytest.fixture
def tokenizer() -> TextTokenizer:
    return char_tokenizer(TEXTS, 100)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: TextTokenizer) -> Path:
    return write_store(tmp_path / "store", tokenizer, TEXTS)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_fault_24_line_ends_and_a_byte_order_mark(tmp_path: Path, end: str) -> None:
    text = "\ufeff" + end.join(["one", "more", "", "two", ""])
    assert read(write(tmp_path / "a.txt", text))[0] == ["one more", "two"]
    rows = "\ufeff" + end.join(["text,n", "one,1", '"two, too",2', ""])
    assert read(write(tmp_path / "a.csv", rows))[0] == ["one", "two, too"]
    if end != "\r":
        lines = "\ufeff" + end.join(['{"text": "one"}', '{"text": "two"}'])
        assert read(write(tmp_path / "a.jsonl", lines))[0] == ["one", "two"]


def test_fault_24_nul_and_invalid_bytes_are_repaired_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", b"caf\xff\xfe au\0 lait \xef\xbf\xbd\n\n\0\n")
    assert read(file) == (
        ["caf\ufffd\ufffd au lait \ufffd"],
        {"NUL": 2, "invalid UTF-8 bytes": 2, "blank": 1},
    )
    file = write(tmp_path / "a.jsonl", b'{"text": "x\xc3 \\u0000\\ud800"}\n')
    assert read(file)[0] == ["x\ufffd \ufffd"]
    assert read(file)[1] == {"NUL": 1, "invalid UTF-8 bytes": 2}
    file = write(tmp_path / "a.csv", b"text\ncaf\xe9\n\0\n")
    assert read(file) == (["caf\ufffd"], {"invalid UTF-8 bytes": 1, "NUL": 1, "blank": 1})


def test_fault_24_empty_files_have_no_documents(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.csv"):
        assert read(write(tmp_path / name, "")) == ([], {})


def test_fault_24_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    for path in (tmp_path / "a.txt", tmp_path):
        corpus = Files([path])
        with pytest.raises(BenchError, match=r"a\.txt is not a regular file"):
            next(corpus.documents())
        with pytest.raises(BenchError, match=r"a\.txt is not a regular file"):
            corpus.fingerprint()


def test_fault_24_the_error_for_an_unreadable_file_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The superuser ignores permissions, so the error of the system is simulated."""

    def denied(*args: Any) -> int:
        raise PermissionError(13, "Permission denied")

    corpus = Files([write(tmp_path / "a.txt", "x")])
    monkeypatch.setattr(raw_files.os, "open", denied)
    with pytest.raises(BenchError, match=r"a\.txt cannot be read \(Permission denied\)"):
        next(corpus.documents())


def test_fault_24_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_files, "_BOMB_BYTES", 3_000_000)
    monkeypatch.setattr(raw_files, "_BOMB_RATIO", 500)
    bomb = gzip.compress(bytes(30_000_000))
    for name in ("a.txt.gz", "a.jsonl.gz", "a.csv.gz"):
        with pytest.raises(BenchError, match=rf"{name} unpacks to over 500 times"):
            read(write(tmp_path / name, bomb))
    text = gzip.compress(b"".join(b"sentence number %d\n\n" % i for i in range(200_000)))
    assert len(read(write(tmp_path / "b.txt.gz", text))[0]) == 200_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.md"])
@pytest.mark.parametrize("unit", [b"word ", b"x", b" ", b"\0"])
def test_fault_24_a_line_of_50_mb_takes_little_memory(
    tmp_path: Path, name: str, unit: bytes
) -> None:
    content = unit * (50_000_000 // len(unit))
    packed = gzip.compress(content, 1) if name.endswith("gz") else content
    corpus = Files([write(tmp_path / name, packed)])
    del content, packed
    tracemalloc.start()
    total = sum(map(len, corpus.documents()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    assert total > 49_000_000 if unit.strip(b" \0") else total == 0


def test_fault_24_a_parquet_bomb_is_refused_and_never_unpacked_as_a_whole(tmp_path: Path) -> None:
    text = pa.array(["x" * 50_000])
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 40_000, pa.int32()), text)
    pq.write_table(pa.table({"text": rows}), tmp_path / "bomb.parquet")  # 2 GB in a few kB
    before, peaks = pa.total_allocated_bytes(), [0]
    documents = Files([tmp_path / "bomb.parquet"]).documents()
    with pytest.raises(BenchError, match=r"bomb\.parquet unpacks to over 1000 times .* bomb"):
        peaks.extend(pa.total_allocated_bytes() - before for _ in documents)
    assert max(peaks) < 20_000_000


@pytest.mark.parametrize("name", STORE_FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "append"])
def test_fault_04_a_damaged_store_is_refused(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damages: dict[str, Callable[[], Any]] = {
        "flip": lambda: path.write_bytes(content),
        "truncate": lambda: path.write_bytes(content[:-1]),
        "empty": lambda: path.write_bytes(b""),
        "remove": path.unlink,
        "append": lambda: path.write_bytes(content + b"\0"),
    }
    damages[damage]()
    with pytest.raises(RefusedError, match=name):
        TokenStore.open(folder)


def test_fault_26_an_id_beyond_the_vocabulary_is_refused(
    folder: Path, tokenizer: TextTokenizer
) -> None:
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


def test_fault_26_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(70_000))]
    model = {
        "type": "WordLevel",
        "vocab": {w: i for i, w in enumerate(words)},
        "unk_token": "[UNK]",
    }
    payload = {"version": "1.0", "added_tokens": [], "model": model,
               "pre_tokenizer": {"type": "Whitespace"}}  # fmt: skip
    large = TextTokenizer(json.dumps(payload).encode())
    built = TokenStore.open(write_store(tmp_path / "store", large, ["w1 w69999", "w65536"]))
    assert built.tokens.dtype == np.uint32
    assert built.tokens.tolist() == [6, 70_004, 3, 65_541, 3]


def test_fault_26_two_bytes_are_enough_for_65536_tokens(tmp_path: Path) -> None:
    for size, width in ((65_536, 2), (65_537, 4)):
        vocabulary = Vocabulary(size, 0, 1, 2, 3, 4, (0, 1, 2, 3, 4))
        with StoreWriter(tmp_path, vocabulary) as writer:
            writer.close()
        assert json.loads((tmp_path / "manifest.json").read_text())["token_bytes"] == width
