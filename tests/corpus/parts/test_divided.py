"""Stores that several processes build: the bytes of one process, stops, and edited files."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.corpus import partition, preparation
from bench.corpus.files import Files
from bench.corpus.parts import divided
from bench.corpus.parts.cutting import cut_files
from bench.corpus.preparation import PreparedCorpus, prepare_corpus
from bench.errors import BenchError, RefusedError
from bench.storage import file_sha256
from tests.helpers.paths import ROOT

FILES = ("train/tokens.bin", "train/flags.bin", "train/documents.bin", "train/manifest.json",
         "heldout/flags.bin", "heldout/tokens.bin", "manifest.json", "tokenizer.json")  # fmt: skip


def write_corpus(folder: Path, blocks: int = 300) -> Path:
    """Text with blank lines, lines, code, rows, packed files, and damage in each."""
    folder.mkdir()
    texts = [f"Block {i} says {i * i % 97}.\nIt is naïve, हिन्दी {i % 7}!" for i in range(blocks)]
    texts[5] = "x" * 3000
    texts[7] = texts[8]  # a copy
    text = "\n\n".join(texts).replace("naïve, हिन्दी 3", "a\0b").encode()
    # Of two byte order marks only the one at the start of the file is no text.
    damaged = text.replace(b"says 4", b"says \xff").replace(b"Block 9", b"\xef\xbb\xbfBlock 9")
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf" + damaged)
    (folder / "b.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    (folder / "lines.txt").write_text("".join(f"line {i} of a log\n" for i in range(blocks)))
    rows = [json.dumps({"text": one}) for one in texts]
    (folder / "c.jsonl").write_text("\n".join([*rows, "", '{"text": null}']))
    (folder / "d.txt.gz").write_bytes(gzip.compress(text))
    pq.write_table(pa.table({"text": texts[:50]}), folder / "e.parquet")
    (folder / "f.csv").write_text("text\n" + "\n".join(f'"row {i}\n{i}"' for i in range(90)))
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (divided, preparation):
        monkeypatch.setattr(module, "PART_BYTES", 14_000)


def contents(prepared: PreparedCorpus) -> dict[str, str]:
    return {name: file_sha256(prepared.folder / name) for name in FILES} | {
        "folder": prepared.folder.name
    }


@pytest.mark.parametrize("num_bytes", [1, 37, 1000, 10**9])
def test_the_parts_have_the_documents_of_the_whole(tmp_path: Path, num_bytes: int) -> None:
    corpus = Files([write_corpus(tmp_path / "text", 60)])
    whole = list(corpus.documents())
    parts = [part.corpus() for part in cut_files(corpus, num_bytes)]
    assert [text for part in parts for text in part.documents()] == whole
    assert len(parts) > 5 or num_bytes > 10**4
    for kind, count in corpus.skipped.items():
        assert sum(part.skipped.get(kind, 0) for part in parts) == count
    assert corpus.fingerprint_read() == corpus.fingerprint()


@pytest.mark.parametrize("line", ["{", '\ufeff{"text": "y"}'])
def test_a_damaged_line_has_its_number_in_the_whole_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n' * 60 + line + "\n")
    last = cut_files(Files([path]), 14)[-1]
    with pytest.raises(BenchError, match=r"a\.jsonl, line 61 is not JSON"):
        list(last.corpus().documents())


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [None, "char"])
@pytest.mark.usefixtures("small_parts")
def test_one_process_and_three_build_the_same_bytes(tmp_path: Path, tokenizer: str | None) -> None:
    corpus, built = Files([write_corpus(tmp_path / "text")]), []
    for number in (1, 3):
        cache = tmp_path / str(number)
        prepared = prepare_corpus(corpus, tokenizer, 400, cache, num_processes=number)
        assert prepared.heldout is not None
        built.append(contents(prepared))
        assert not list((cache / "parts").glob("*"))
    assert built[0] == built[1]


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_a_sample_that_is_drawn_is_the_same_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition.Sample.__init__, "__defaults__", (9_000, 1 << 64))
    monkeypatch.setattr(partition.Sample.training_texts, "__defaults__", (8_000,))
    corpus = Files([write_corpus(tmp_path / "text")])
    built = [
        contents(prepare_corpus(corpus, None, 400, tmp_path / str(n), num_processes=n))
        for n in (1, 2)
    ]
    assert built[0] == built[1]


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_a_file_edited_between_the_two_passes_is_refused(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "text")

    def edit(stage: str, documents: int) -> None:
        if stage == "encoding the documents" and not documents:
            path = folder / "c.jsonl"
            path.write_text(path.read_text().replace("Block 250 says", "Block 250 sayz"))

    with pytest.raises(RefusedError, match=r"was changed while it was read \(.*c\.jsonl"):
        prepare_corpus(Files([folder]), None, 400, tmp_path / "cache", edit, num_processes=2)
    assert not list((tmp_path / "cache").glob("stores/*/"))


PROGRAM = """
import sys
from pathlib import Path
from bench.corpus import preparation
from bench.corpus.files import Files
from bench.corpus.parts import divided
from bench.errors import BenchError
divided.PART_BYTES = preparation.PART_BYTES = 60_000
say = lambda stage, documents: print(stage, documents, flush=True)
try:
    corpus = Files([Path("text")])
    preparation.prepare_corpus(corpus, None, 400, Path("cache"), say, num_processes=2)
except BenchError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.slow
def test_a_signal_is_answered_within_a_second_and_finished_parts_stay(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", 1500)
    whole = prepare_corpus(Files([tmp_path / "text"]), None, 400, tmp_path / "other")
    process = start(tmp_path)
    assert process.stdout is not None
    finished = 0
    for line in process.stdout:  # until the second part is encoded
        finished += line.startswith("encoding") and not line.endswith(" 0\n")
        if finished == 2:
            break
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - sent < 1
    assert process.returncode == 75
    assert "the same command resumes it" in errors
    assert len(list(tmp_path.glob("cache/parts/*/*/manifest.json"))) >= 2
    assert not list(tmp_path.glob("cache/stores/*/"))
    again = start(tmp_path)
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    encoded = [line for line in output.splitlines() if line.startswith("encoding")]
    (folder,) = (tmp_path / "cache" / "stores").glob("*/")
    assert {name: file_sha256(folder / name) for name in FILES} == {
        name: file_sha256(whole.folder / name) for name in FILES
    }
    assert int(encoded[-1].split()[-1]) < whole.documents, "finished parts are not encoded again"
    assert not list(tmp_path.glob("cache/parts/*"))
