import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.corpus import files
from bench.corpus.files import Files
from bench.corpus.sources import DOCUMENT_CHARACTERS, cut_document
from bench.errors import BenchError
from tests.helpers.paths import SHARED


def read(path: Path, **options: Any) -> tuple[list[str], dict[str, int]]:
    corpus = Files([path], **options)
    documents = list(corpus.documents())
    assert list(corpus.documents()) == documents, "a second pass gives the same documents"
    return documents, corpus.skipped


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# -- formats --------------------------------------------------------------------------------------


def test_text_is_cut_at_empty_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "a.md", "# one\nstill one\n\n \t\ntwo\n\n\n\n  three")
    assert read(file) == (["# one still one", "two", "three"], {})


def test_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "one\ntwo", "n": 1}, {"text": ""}, {"text": None}]
    lines = "\n".join(map(json.dumps, [*rows, {"text": 5}])) + "\n\n"
    expected = ["one\ntwo"], {"blank": 3, "not text": 1}
    assert read(write(tmp_path / "a.jsonl", lines)) == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (["one\ntwo"], {"blank": 2})
    text = io.StringIO()
    csv.writer(text).writerows([["n", "body"], ["1", "one\ntwo"], ["2", ""], ["3", "x" * 200_000]])
    file = write(tmp_path / "a.csv", text.getvalue())
    assert read(file, text_column="body") == (["one\ntwo", "x" * 200_000], {"blank": 1})


def test_text_after_an_unquoted_comma_is_refused(tmp_path: Path) -> None:
    """Case 33 of the shared cases: the text after the first comma was lost in every row."""
    file = write(tmp_path / "a.csv", "text,year\na cat sat, well, yes,2000\n")
    with pytest.raises(BenchError, match=r"a\.csv, line 2: 4 cells, but the header has 2 columns"):
        read(file)
    file = write(tmp_path / "b.csv", 'text,year\n"a cat" sat,2000\n')
    with pytest.raises(BenchError, match=r"b\.csv, near line 2"):
        read(file)


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
def test_the_error_for_a_missing_column_lists_the_columns(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({"body": ["x"], "n": [1]}), file)
    else:
        write(file, '{"body": "x", "n": 1}' if name.endswith("jsonl") else "body,n\nx,1\n")
    with pytest.raises(BenchError, match=rf"{name} has no column 'text'; it has 'body', 'n'"):
        read(file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": ', "line 2 is not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", '["x"]', "line 1 is not a JSON object"),
        ("a.parquet", "PAR1 no parquet at all", "a.parquet"),
        ("a.parquet", "", "a.parquet"),
        ("a.txt.gz", "not packed", "damaged gzip"),
        ("a.txt.gz", gzip.compress(b"text" * 999, mtime=0)[:-9], "damaged gzip"),
        ("a.txt", "text".encode("utf-16"), "UTF-16"),
        ("a.csv", "text,b\nx,y".encode("utf-16"), "UTF-16"),
        ("a.jsonl", "{}".encode("utf-16"), "UTF-16"),
    ],
)
def test_errors_for_damaged_files_name_the_file(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        read(write(tmp_path / name, content))


def test_a_column_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [{"x": 1}]}), tmp_path / "a.parquet")
    with pytest.raises(BenchError, match="cannot be read as text"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_packed_files_have_the_same_documents(tmp_path: Path, name: str) -> None:
    content = {"a.txt": "one", "a.jsonl": '{"text": "one"}', "a.csv": "text\none"}[name]
    packed = write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))
    assert read(packed) == read(write(tmp_path / name, content)) == (["one"], {})


# -- folders and special files --------------------------------------------------------------------


def test_a_folder_is_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b/2.txt", "a.txt", "b/10.txt", ".git/x.txt", ".y.txt", "z.pdf", "b.txt"):
        write(tmp_path / name, name)
    assert read(tmp_path)[0] == ["a.txt", "b.txt", "b/10.txt", "b/2.txt"]


def test_a_folder_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no text in the folder"):
        read(tmp_path)


def test_the_error_for_a_broken_link_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(BenchError, match=r"a\.txt cannot be read"):
        read(tmp_path / "a.txt")


def test_overlong_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROW_BYTES", 3_000_000)
    rows = ['{"text": "a"}', json.dumps({"text": "x" * 3_000_000}), '{"text": "b"}']
    assert read(write(tmp_path / "a.jsonl", "\n".join(rows))) == (
        ["a", "b"],
        {"row over 3 MB": 1},
    )
    with pytest.raises(BenchError, match="line of over 3 MB"):
        read(write(tmp_path / "a.csv", "text\n" + "x" * 3_000_001))
    with pytest.raises(BenchError, match="field"):
        read(write(tmp_path / "b.csv", 'text\n"never closed' + "\n" + "xxxxx\n" * 600_000))


# -- long documents -------------------------------------------------------------------------------


def test_long_blocks_are_cut_at_white_space(tmp_path: Path) -> None:
    words = [f"word{i * i}" for i in range(40_000)]
    documents, _ = read(write(tmp_path / "a.txt", " ".join(words)))
    assert len(documents) > 2
    assert max(map(len, documents)) <= DOCUMENT_CHARACTERS
    assert " ".join(documents).split() == words
    assert list(cut_document(" ".join(words))) == documents
    for length in range(65_534, 65_538):  # lines that end where a piece does
        text = "x" * length + "\nsame\n\nother"
        assert read(write(tmp_path / "b.txt", text))[0] == ["x" * length + " same", "other"]
    whole = "x" * (2 * DOCUMENT_CHARACTERS + 5)
    assert [*map(len, cut_document(whole))] == [DOCUMENT_CHARACTERS] * 2 + [5]
    assert list(cut_document(" \n ")) == []


# -- the fingerprint ------------------------------------------------------------------------------


def test_fingerprints_depend_on_content_and_relative_names(tmp_path: Path) -> None:
    def fingerprint(folder: Path, **options: Any) -> str:
        return Files([folder], **options).fingerprint()

    one, other = tmp_path / "one", tmp_path / "elsewhere" / "two"
    for folder in (one, other):
        folder.mkdir(parents=True)
        write(folder / "a.txt", "text")
        write(folder / "b.txt", "more")
    first = fingerprint(one)
    assert first == fingerprint(other)
    assert len(first) == 64
    assert first != fingerprint(one, text_column="body")
    write(other / "b.txt", "more\n")
    assert first != fingerprint(other)
    (one / "b.txt").rename(one / "c.txt")
    assert first != fingerprint(one)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data")
def test_published_text_is_read(tmp_path: Path) -> None:
    documents, skipped = read(SHARED / "corpora" / "tiny_shakespeare")
    assert sum(map(len, documents)) > 1_000_000
    assert not skipped
