"""Records from somebody else: every field with every kind of wrong value, and damaged outcomes.

A command may leave the record out and name it, refuse it, or be right to accept the value. It never
ends in another error than a `BenchError`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import api
from bench.catalog import describe
from bench.errors import BenchError, RefusedError
from bench.records.outcomes import read_outcomes
from bench.records.scores import _own_sha256
from bench.reporting import directions
from bench.reporting.text import render
from bench.storage import MANIFEST
from tests.helpers.store_generator import make_store

ABSENT = object()
VALUES = [
    None, "", "1", -1, 0, 3.5, 10**400, 1e308, -1e308, True, [], {}, "x" * 5_000, ["a"], {"a": 1},
    "\ud800", "Infinity", [[[[]]]], 2**63, ABSENT,
]  # fmt: skip


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for key, child in children:
        yield (*above, key)
        if isinstance(child, dict | list):
            yield from places(child, (*above, key))


def changed(record: Any, place: tuple[Any, ...], value: Any) -> Any:
    record = copy.deepcopy(record)
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    if value is ABSENT:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return record


class Store:
    """A folder of records, of which one run is damaged and made whole again."""

    def __init__(self, folder: Path) -> None:
        self.out = make_store(folder, 2, 2, 2, 20)
        self.run = sorted((self.out / "runs").iterdir())[0]
        self.score = sorted((self.run / "scores").glob("*.json"))[0]
        self.outcomes = self.score.with_suffix(".parquet")
        files = (self.run / "run.json", self.run / MANIFEST, self.score, self.outcomes)
        self.before = {path: path.read_bytes() for path in files}

    def write(self, path: Path, content: Any) -> None:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(payload)
        if path.name == "run.json":  # whoever sends it writes a manifest that fits
            manifest = json.loads(self.before[self.run / MANIFEST])
            del manifest["sha256"]
            manifest["format"] = 1  # which had no hash of the manifest itself
            entry = manifest["files"]["run.json"]
            entry["sha256"] = hashlib.sha256(payload).hexdigest()
            entry |= {key: len(payload) for key in ("bytes", "size") if key in entry}
            (self.run / MANIFEST).write_text(json.dumps(manifest))

    def restore(self) -> None:
        for path, payload in self.before.items():
            path.write_bytes(payload)

    def commands(self) -> dict[str, Callable[[], object]]:
        def compare_and_verify() -> None:
            compared = api.compare(out=self.out)
            for name in ("table", "json", "latex"):
                render(compared, name, 100, False)  # type: ignore[arg-type]
            directions.verify(compared, directions.read_directions())

        return {
            "compare": compare_and_verify,
            "describe": lambda: describe(self.run.name, self.out).to_text(),  # type: ignore[union-attr]
        }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("mutations"))


def cases(store: Store) -> list[tuple[Path, Any, str]]:
    found = []
    for path in (store.run / "run.json", store.score):
        record = json.loads(store.before[path])
        record.pop("sha256", None)  # else every change is found by it
        for place in places(record):
            for value in VALUES:
                shown = "absent" if value is ABSENT else repr(value)[:20]
                found.append((path, changed(record, place, value), f"{path.name} {place} {shown}"))
    score = json.loads(store.before[store.score])
    score.pop("sha256", None)
    for seed in range(60):
        draw = random.Random(seed)
        payload = bytearray(store.before[store.outcomes])
        for _ in range(3):
            payload[draw.randrange(len(payload))] = draw.randrange(256)
        found.append((store.outcomes, bytes(payload), f"outcomes {seed}"))
    return found


def refusals(store: Store, path: Path, content: Any) -> list[str]:
    """Do all commands on a damaged store; the errors that are none of bench's."""
    faults = []
    store.write(path, content)
    if path == store.outcomes:  # under a right hash
        score = json.loads(store.before[store.score])
        score.pop("sha256", None)
        score["outcomes_sha256"] = hashlib.sha256(content).hexdigest()
        store.write(store.score, score)
    for name, command in store.commands().items():
        try:
            command()
        except BenchError:
            pass
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {error}")
    store.restore()
    return faults


@pytest.mark.filterwarnings("ignore")
def test_some_fields_with_wrong_values(store: Store) -> None:
    drawn = random.Random(0).sample(cases(store), 4)
    assert not {why: faults for path, one, why in drawn if (faults := refusals(store, path, one))}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))  # for the processes of a test run
def test_every_field_with_every_wrong_value(store: Store, part: int) -> None:
    every = cases(store)[part::4]
    assert len(every) > 250
    assert not {why: faults for path, one, why in every if (faults := refusals(store, path, one))}


def test_a_damaged_record_is_left_out_and_named(store: Store) -> None:
    score = json.loads(store.before[store.score])
    try:
        store.write(store.score, score | {"sha256": _own_sha256(score)})
        assert api.compare(out=store.out).damaged == ()
        store.write(store.score, score | {"sha256": _own_sha256(score), "value": 0.123})
        comparison = api.compare(out=store.out)
        (sentence,) = comparison.damaged
        assert str(store.score) in sentence
        assert "was changed after it was written" in sentence
        store.restore()
        store.write(store.run / "run.json", b"{}")
        (sentence,) = api.compare(out=store.out).damaged
        assert str(store.run / "run.json") in sentence
        with pytest.raises(RefusedError, match="not a record of format 2"):
            api.compare(store.run.name, out=store.out)  # asked for by name
    finally:
        store.restore()
    assert api.compare(out=store.out).damaged == ()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param(
            {"example": ["x" * 10_000] * 30_000, "outcome": [0.5] * 30_000},
            "names of examples",
            marks=pytest.mark.slow,
        ),
        # An array of strings gives all names the room of the longest, at four bytes a letter.
        ({"example": ["x" * 2_000_000, *map(str, range(200))], "outcome": [0.5] * 201}, "names of"),
        ({"example": [1, 2], "outcome": [0.5, float("inf")]}, "not finite"),
        ({"example": [1, 2], **{f"c{i}": [0.0, 1.0] for i in range(300)}}, "2 rows x 301"),
    ],
)
def test_outcomes_are_bounded(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 1_000_000
    with pytest.raises(RefusedError, match=message):
        read_outcomes((tmp_path / "x.parquet").read_bytes(), tmp_path / "x.parquet")


@pytest.mark.parametrize("columns", [{"exbmple": [1, 2], "outcome": [0.0, 1.0]}, {"example": [1]}])
def test_outcomes_without_names_cannot_be_paired(columns: dict[str, Any], tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    payload = (tmp_path / "x.parquet").read_bytes()
    assert read_outcomes(payload, tmp_path / "x.parquet") is None
