import csv
import gzip
import io
import json
import os
import socket
import sys
import time
import tracemalloc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.corpus import files, hub
from bench.corpus.sources import DOCUMENT_CHARACTERS, Corpus, cut_document, open_corpus
from bench.errors import BenchError
from tests.helpers.paths import SHARED

DATA = SHARED


class Tiny(Corpus):
    name: ClassVar[str] = "tiny"
    summary: ClassVar[str] = "three documents"

    def __init__(self, num_words: int = 3) -> None:
        self.num_words = num_words

    @classmethod
    def sized(cls, size: str, num_words: int) -> Corpus:
        return cls(num_words)

    def fingerprint(self) -> str:
        return "0" * 64

    def documents(self) -> Iterator[str]:
        yield from ["one", "two", "three"][: self.num_words]


class Fixed(Corpus):
    name: ClassVar[str] = "fixed"
    summary: ClassVar[str] = "of one length"

    def fingerprint(self) -> str:
        return "1" * 64

    def documents(self) -> Iterator[str]:
        yield "one"


KNOWN: dict[str, type[Corpus]] = {"tiny": Tiny, "fixed": Fixed}


def read(path: Path, **options: Any) -> tuple[list[str], dict[str, int]]:
    corpus = open_corpus([str(path)], KNOWN, **options)
    documents = list(corpus.documents())
    assert list(corpus.documents()) == documents, "another reading, other documents"
    return documents, corpus.skipped


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# -- names ----------------------------------------------------------------------------------------


def test_names_files_and_amounts(tmp_path: Path) -> None:
    assert isinstance(open_corpus(["tiny"], KNOWN), Tiny)
    assert len([*open_corpus(["tiny"], KNOWN, num_words=2).documents()]) == 2
    assert isinstance(open_corpus(["fixed"], KNOWN, num_words=2), Fixed)
    file = written(tmp_path / "a b ü.txt", "text")
    assert open_corpus([str(file)], KNOWN).display_name == "a b ü.txt"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "empty"),
        (["tinny"], "no corpus or file named 'tinny'; did you mean 'tiny'"),
        (["missing.txt"], "no file or folder 'missing.txt'"),
        (["/no/where"], "no file or folder"),
        (["tiny", "fixed"], "tiny stands alone"),
        (["hf:a/b", "hf:c/d"], "hf:a/b stands alone"),
        (["hf:"], "names no dataset"),
        (["hf:../../x/y"], "names no dataset"),
        ([__file__], "of no known format"),
    ],
)
def test_a_name_nobody_answers_to(spec: list[str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        open_corpus(spec, KNOWN)


# -- formats --------------------------------------------------------------------------------------


def test_text_is_cut_at_empty_lines(tmp_path: Path) -> None:
    file = written(tmp_path / "a.md", "# one\nstill one\n\n \t\ntwo\n\n\n\n  three")
    assert read(file) == (["# one still one", "two", "three"], {})


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_and_a_byte_order_mark(tmp_path: Path, end: str) -> None:
    text = "\ufeff" + end.join(["one", "more", "", "two", ""])
    assert read(written(tmp_path / "a.txt", text))[0] == ["one more", "two"]
    rows = "\ufeff" + end.join(["text,n", "one,1", '"two, too",2', ""])
    assert read(written(tmp_path / "a.csv", rows))[0] == ["one", "two, too"]
    if end != "\r":
        lines = "\ufeff" + end.join(['{"text": "one"}', '{"text": "two"}'])
        assert read(written(tmp_path / "a.jsonl", lines))[0] == ["one", "two"]


def test_nul_and_invalid_bytes_are_mended_and_counted(tmp_path: Path) -> None:
    file = written(tmp_path / "a.txt", b"caf\xff\xfe au\0 lait \xef\xbf\xbd\n\n\0\n")
    assert read(file) == (
        ["caf\ufffd\ufffd au lait \ufffd"],
        {"NUL": 2, "invalid UTF-8 bytes": 2, "blank": 1},
    )
    file = written(tmp_path / "a.jsonl", b'{"text": "x\xc3 \\u0000\\ud800"}\n')
    assert read(file)[0] == ["x\ufffd \ufffd"]
    assert read(file)[1] == {"NUL": 1, "invalid UTF-8 bytes": 2}
    file = written(tmp_path / "a.csv", b"text\ncaf\xe9\n\0\n")
    assert read(file) == (["caf\ufffd"], {"invalid UTF-8 bytes": 1, "NUL": 1, "blank": 1})


def test_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "one\ntwo", "n": 1}, {"text": ""}, {"text": None}]
    lines = "\n".join(map(json.dumps, [*rows, {"text": 5}])) + "\n\n"
    expected = ["one\ntwo"], {"blank": 3, "not text": 1}
    assert read(written(tmp_path / "a.jsonl", lines)) == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (["one\ntwo"], {"blank": 2})
    text = io.StringIO()
    csv.writer(text).writerows([["n", "body"], ["1", "one\ntwo"], ["2"], ["3", "x" * 200_000]])
    file = written(tmp_path / "a.csv", text.getvalue())
    assert read(file, text_column="body") == (["one\ntwo", "x" * 200_000], {"blank": 1})


def test_parquet_of_dictionaries_and_broken_strings(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"ok\xffx")]
    )
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (["ok", "\ufffdx"], {"invalid UTF-8 bytes": 1})
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"text": words}), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet")[0] == ["a", "b", "a"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_missing_column_names_those_there_are(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({"body": ["x"], "n": [1]}), file)
    else:
        written(file, '{"body": "x", "n": 1}' if name.endswith("jsonl") else "body,n\nx,1\n")
    with pytest.raises(BenchError, match=rf"{name} has no column 'text', but 'body', 'n'"):
        read(file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": ', "line 2 is not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", '["x"]', "line 1 is no JSON object"),
        ("a.parquet", "PAR1 no parquet at all", "a.parquet"),
        ("a.parquet", "", "a.parquet"),
        ("a.txt.gz", "not packed", "damaged gzip"),
        ("a.txt.gz", gzip.compress(b"text" * 999, mtime=0)[:-9], "damaged gzip"),
        ("a.txt", "text".encode("utf-16"), "UTF-16"),
    ],
)
def test_damaged_files_are_named(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        read(written(tmp_path / name, content))


def test_a_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [{"x": 1}]}), tmp_path / "a.parquet")
    with pytest.raises(BenchError, match="cannot be read as text"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_packed_files_hold_the_same(tmp_path: Path, name: str) -> None:
    content = {"a.txt": "one", "a.jsonl": '{"text": "one"}', "a.csv": "text\none"}[name]
    packed = written(tmp_path / f"{name}.gz", gzip.compress(content.encode()))
    assert read(packed) == read(written(tmp_path / name, content)) == (["one"], {})


def test_empty_files_hold_nothing(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.csv"):
        assert read(written(tmp_path / name, "")) == ([], {})


# -- folders and odd files ------------------------------------------------------------------------


def test_a_folder_is_read_in_order_hidden_files_aside(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b/2.txt", "a.txt", "b/10.txt", ".git/x.txt", ".y.txt", "z.pdf", "b.txt"):
        written(tmp_path / name, name)
    assert read(tmp_path)[0] == ["a.txt", "b.txt", "b/10.txt", "b/2.txt"]


def test_a_folder_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no text in the folder"):
        read(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    for path in (tmp_path / "a.txt", tmp_path):
        corpus = open_corpus([str(path)], KNOWN)
        with pytest.raises(BenchError, match=r"a\.txt is not a regular file"):
            next(corpus.documents())
        with pytest.raises(BenchError, match=r"a\.txt is not a regular file"):
            corpus.fingerprint()


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind the superuser, so the system's answer is played."""

    def denied(*args: Any) -> int:
        raise PermissionError(13, "Permission denied")

    corpus = open_corpus([str(written(tmp_path / "a.txt", "x"))], KNOWN)
    monkeypatch.setattr(files.os, "open", denied)
    with pytest.raises(BenchError, match=r"a\.txt cannot be read \(Permission denied\)"):
        next(corpus.documents())


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(BenchError, match=r"a\.txt cannot be read"):
        read(tmp_path / "a.txt")


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BOMB_BYTES", 3_000_000)
    monkeypatch.setattr(files, "_BOMB_RATIO", 500)
    bomb = gzip.compress(bytes(30_000_000))
    for name in ("a.txt.gz", "a.jsonl.gz", "a.csv.gz"):
        with pytest.raises(BenchError, match=rf"{name} unpacks to over 500 times"):
            read(written(tmp_path / name, bomb))
    honest = gzip.compress(b"".join(b"sentence number %d\n\n" % i for i in range(200_000)))
    assert len(read(written(tmp_path / "b.txt.gz", honest))[0]) == 200_000


def test_overlong_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROW_BYTES", 3_000_000)
    rows = ['{"text": "a"}', json.dumps({"text": "x" * 3_000_000}), '{"text": "b"}']
    assert read(written(tmp_path / "a.jsonl", "\n".join(rows))) == (
        ["a", "b"],
        {"row over 3 MB": 1},
    )
    with pytest.raises(BenchError, match="line of over 3 MB"):
        read(written(tmp_path / "a.csv", "text\n" + "x" * 3_000_001))
    with pytest.raises(BenchError, match="field"):
        read(written(tmp_path / "b.csv", 'text\n"never closed' + "\n" + "xxxxx\n" * 600_000))


# -- long documents -------------------------------------------------------------------------------


def test_long_blocks_are_cut_at_white_space(tmp_path: Path) -> None:
    words = [f"word{i * i}" for i in range(40_000)]
    documents, _ = read(written(tmp_path / "a.txt", " ".join(words)))
    assert len(documents) > 2
    assert max(map(len, documents)) <= DOCUMENT_CHARACTERS
    assert " ".join(documents).split() == words
    assert list(cut_document(" ".join(words))) == documents
    for length in range(65_534, 65_538):  # lines that end where a piece does
        text = "x" * length + "\nsame\n\nother"
        assert read(written(tmp_path / "b.txt", text))[0] == ["x" * length + " same", "other"]
    whole = "x" * (2 * DOCUMENT_CHARACTERS + 5)
    assert [*map(len, cut_document(whole))] == [DOCUMENT_CHARACTERS] * 2 + [5]
    assert list(cut_document(" \n ")) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.md"])
@pytest.mark.parametrize("unit", [b"word ", b"x", b" ", b"\0"])
def test_a_line_of_50_mb_takes_little_memory(tmp_path: Path, name: str, unit: bytes) -> None:
    content = unit * (50_000_000 // len(unit))
    packed = gzip.compress(content, 1) if name.endswith("gz") else content
    corpus = open_corpus([str(written(tmp_path / name, packed))], KNOWN)
    del content, packed
    tracemalloc.start()
    total = sum(map(len, corpus.documents()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    assert total > 49_000_000 if unit.strip(b" \0") else total == 0


# -- identity -------------------------------------------------------------------------------------


def test_fingerprints_are_of_content_and_relative_names(tmp_path: Path) -> None:
    def fingerprint(folder: Path, **options: Any) -> str:
        return open_corpus([str(folder)], KNOWN, **options).fingerprint()

    one, other = tmp_path / "one", tmp_path / "elsewhere" / "two"
    for folder in (one, other):
        folder.mkdir(parents=True)
        written(folder / "a.txt", "text")
        written(folder / "b.txt", "more")
    first = fingerprint(one)
    assert first == fingerprint(other)
    assert len(first) == 64
    assert first != fingerprint(one, text_column="body")
    written(other / "b.txt", "more\n")
    assert first != fingerprint(other)
    (one / "b.txt").rename(one / "c.txt")
    assert first != fingerprint(one)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the development data")
def test_published_text_is_read(tmp_path: Path) -> None:
    documents, skipped = read(DATA / "corpora" / "tiny_shakespeare")
    assert sum(map(len, documents)) > 1_000_000
    assert not skipped


# -- the hub --------------------------------------------------------------------------------------


@pytest.fixture
def played_hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The two libraries and the network, played."""
    seen: dict[str, Any] = {"loads": 0}
    rows = [{"text": "one two"}, {"text": " "}, {"text": None}, {"text": "th\0ree\ud800"}] * 3

    def load_dataset(name: str, config: str | None, **options: Any) -> Iterator[dict[str, Any]]:
        seen.update(name=name, config=config, options=options, loads=seen["loads"] + 1)
        return iter(rows)

    class Api:
        def dataset_info(self, name: str, revision: str | None, timeout: float) -> Any:
            return types.SimpleNamespace(sha="c" * 40 if revision is None else "d" * 40)

    datasets = types.ModuleType("datasets")
    datasets.load_dataset = load_dataset  # type: ignore[attr-defined]
    library = types.ModuleType("huggingface_hub")
    library.HfApi = Api  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(hub, "require_network", lambda label: None)
    return seen


def test_the_hub_is_streamed_once_from_a_fixed_commit(played_hub: dict[str, Any]) -> None:
    corpus = open_corpus(["hf:org/name:part"], KNOWN)
    documents = list(corpus.documents())
    assert documents == ["one two", "three?"] * 3
    assert list(corpus.documents()) == documents
    assert corpus.skipped == {"blank": 6, "NUL": 3}
    assert played_hub == {
        "loads": 1,
        "name": "org/name",
        "config": "part",
        "options": {"split": "train", "streaming": True, "revision": "c" * 40},
    }


def test_hub_fingerprints_know_commit_and_amount(played_hub: dict[str, Any]) -> None:
    specs = ("hf:a", "hf:a:b", "hf:a@v1", f"hf:a@{'e' * 40}", "hf:b")
    prints = {open_corpus([spec], KNOWN).fingerprint() for spec in specs}
    prints.add(open_corpus(["hf:a"], KNOWN, num_words=5).fingerprint())
    assert len(prints) == 6
    assert open_corpus(["hf:a"], KNOWN).fingerprint() in prints


def test_hub_reading_stops_at_the_amount_asked_for(played_hub: dict[str, Any]) -> None:
    assert len(list(open_corpus(["hf:a"], KNOWN, num_words=2).documents())) == 2
    with pytest.raises(BenchError, match="no column 'body', but 'text'"):
        list(open_corpus(["hf:a"], KNOWN, text_column="body").documents())


def test_a_folder_is_not_taken_for_a_dataset(
    played_hub: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(BenchError, match=r"give --corpus \./org/name"):
        next(open_corpus(["hf:org/name"], KNOWN).documents())


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'objective-bench\[hf\]'"):
        next(open_corpus(["hf:a"], KNOWN).documents())


def _refuse(*args: Any, **options: Any) -> Any:
    raise RuntimeError("no sockets in tests")


def _hang(*args: Any, **options: Any) -> Any:
    time.sleep(3)
    return []


@pytest.mark.parametrize("answer", [_refuse, _hang])
def test_offline_is_said_in_under_a_second(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "socket", _refuse)
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    start = time.monotonic()
    with pytest.raises(BenchError, match=r"hf:a needs the network.*--corpus FILE"):
        open_corpus(["hf:a"], KNOWN).fingerprint()
    assert time.monotonic() - start < 1


def test_offline_by_choice_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BenchError, match="HF_HUB_OFFLINE is set"):
        open_corpus(["hf:a"], KNOWN).fingerprint()
    pinned = open_corpus([f"hf:a@{'e' * 40}"], KNOWN)
    assert len(pinned.fingerprint()) == 64  # a full commit needs no network
