"""Time and memory of corpora and label files that are large in one dimension."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.corpus import files
from bench.corpus.files import Files
from bench.errors import BenchError
from bench.probing.data.datasets import read_parquet
from bench.probing.data.label_files import formats
from bench.probing.data.label_files.formats import read_rows
from bench.records.outcomes import read_outcomes
from tests.helpers.paths import ROOT

READ = """
from bench.corpus.files import Files
corpus = Files([Path(name)])
total = sum(map(len, corpus.documents()))
"""
PREPARE = """
from bench.corpus.files import Files
from bench.corpus.preparation import prepare_corpus
prepared = prepare_corpus(Files([Path(name)]), None, 1000, Path("cache"), num_processes=1)
total = prepared.train.num_tokens
"""
LABELS = """
from bench.errors import BenchError
from bench.probing.data.label_files.formats import read_rows
try:
    read_rows(Path(name), [])
except BenchError as error:
    total = str(error)
"""


def run(folder: Path, program: str, name: str, seconds: float) -> tuple[str, float]:
    """What a program prints, and the most memory that it had beyond its imports, in MB.

    The memory is the kernel's peak of the process itself: `ru_maxrss` of a new process begins with
    that of the parent.
    """
    code = (
        "import sys; from pathlib import Path\n"
        "def peak(): return int(next(line for line in open('/proc/self/status') "
        "if line.startswith('VmHWM')).split()[1]) / 1024\n"
        "import numpy, pandas, pyarrow.parquet, tokenizers, bench.corpus.preparation, "
        "bench.probing.data.label_files.formats\n"
        "name = sys.argv[1]; before = peak()\n"
        f"{program}\nprint(total); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name], cwd=folder, capture_output=True, text=True,
        timeout=seconds, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    total, memory = done.stdout.splitlines()
    return total, float(memory)


def letters(num_bytes: int) -> str:
    return "".join("abcdefghij"[i * i % 9973 * 7 % 10] for i in range(num_bytes))


@pytest.mark.slow
def test_a_line_of_5_mb_without_a_space_is_prepared_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(letters(5_000_000))
    total, memory = run(tmp_path, PREPARE, "a.txt", seconds=60)
    assert int(total) > 100_000
    assert memory < 500


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["x", "word "])
def test_a_line_of_50_mb_is_read_in_little_memory(tmp_path: Path, unit: str) -> None:
    (tmp_path / "a.txt").write_text(unit * (50_000_000 // len(unit)))
    total, memory = run(tmp_path, READ, "a.txt", seconds=60)
    assert int(total) > 49_000_000
    assert memory < 10


@pytest.mark.slow
def test_a_folder_of_very_many_texts_takes_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for number in range(10_000):
        if number % 1000 == 0:
            (folder / f"{number}").mkdir(parents=True)
        (folder / f"{number // 1000 * 1000}" / f"{number}.txt").write_bytes(b"text %d" % number)
    total, memory = run(tmp_path, READ, "texts", seconds=120)
    assert int(total) > 60_000
    assert memory < 15  # about 1 kB for each file


def test_a_large_json_list_is_read_item_by_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f'text {i} é \\ " ] , [ {{' * (i % 7 + 1) for i in range(400)]
    rows = [*({"text": text, "n": i} for i, text in enumerate(texts)), {"text": None}]
    path, strings = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text("\ufeff \n" + json.dumps(rows, indent=1, ensure_ascii=False))
    strings.write_text(json.dumps(texts))
    whole = [list(Files([one]).documents()) for one in (path, strings)]
    for row_bytes in (400, 4000):
        monkeypatch.setattr(files, "ROW_BYTES", row_bytes)
        assert [list(Files([one]).documents()) for one in (path, strings)] == whole
    (tmp_path / "c.json").write_text(json.dumps([{"text": "x" * 20_000}, 1]))
    with pytest.raises(BenchError, match=r"c\.json is not JSON, or has an item of over"):
        list(Files([tmp_path / "c.json"]).documents())
    (tmp_path / "d.json").write_text(json.dumps({"data": texts}))
    with pytest.raises(BenchError, match=r"d\.json has over .* is no JSON list.*\.jsonl"):
        list(Files([tmp_path / "d.json"]).documents())
    path.write_text(path.read_text()[:-2])
    with pytest.raises(BenchError, match=r"a\.json is not JSON"):
        list(Files([path]).documents())


def dictionary(num_rows: int, text: str) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * num_rows, pa.int32()), pa.array([text]))


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_label_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, is_nested: bool) -> None:
    column = dictionary(100_000, "x" * 50_000)  # 5 GB in a few kB
    if is_nested:
        column = pa.ListArray.from_arrays(pa.array(range(0, 100_001, 10), pa.int32()), column)
    pq.write_table(pa.table({"text": column, "label": [1] * len(column)}), tmp_path / "a.parquet")
    message, memory = run(tmp_path, LABELS, "a.parquet", seconds=60)
    assert "a.parquet unpacks to over 1000 times its size" in message
    assert memory < 150


def test_an_ordinary_label_file_is_read_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.probing.data.datasets.SMALL_BYTES", 0)
    rows = [{"text": f"t{i % 9}", "tags": [f"a{i}", "b"], "spans": {"s": "x", "n": i}, "y": i}
            for i in range(3000)]  # fmt: skip
    rows.append({"text": None, "tags": None, "spans": None, "y": None})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    frame = read_parquet(tmp_path / "a.parquet")
    assert frame["text"][:9].tolist() == [f"t{i}" for i in range(9)]
    assert list(frame["tags"][7]) == ["a7", "b"]
    assert len(frame) == 3001


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.conll"])
def test_a_label_file_of_text_has_a_stated_limit(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MOST_BYTES", 10)
    (tmp_path / name).write_text("x" * 11)
    with pytest.raises(BenchError, match=rf"{name} is larger than .* the limit of a label file"):
        read_rows(tmp_path / name, [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["corpus", "examples", "outcomes"])
def test_a_flipped_bit_of_a_parquet_file_is_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A row may point beyond the texts of its dictionary, and a name be no text."""
    monkeypatch.setattr("bench.probing.data.datasets.SMALL_BYTES", 0)
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["one", "two", "three"], "example": ["one", "two", "three"]})
    pq.write_table(table.select([int(kind == "outcomes")]), path, compression="none")
    whole = path.read_bytes()
    read = {
        "corpus": lambda: list(Files([path]).documents()),
        "examples": lambda: read_parquet(path),
        "outcomes": lambda: read_outcomes(path.read_bytes(), path),
    }[kind]
    refused = 0
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                read()
            except BenchError:
                refused += 1
    assert refused > 100
