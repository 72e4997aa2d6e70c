"""Rows 2, 4, 7, 20, 22, 23 and pipes of row 24: files, names, locks and many writers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError, RefusedError
from bench.pretraining.checkpoint import load_checkpoint, save_checkpoint
from bench.pretraining.tensors import read_tensors
from bench.probing.overlap import corpus_overlap
from bench.probing.task import Splits
from bench.records.scores import score_path
from bench.records.store import read_run, read_runs
from bench.storage import MANIFEST, exclusive, read_manifest, sweep_leftovers, write_manifest
from tests.helpers.paths import ROOT
from tests.records.test_store import make_run, make_score
from tests.test_storage import names


@pytest.mark.slow
def test_fault_02_kill_9_during_a_write_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from bench.storage import write_atomic
for number in range(10**6):
    write_atomic(Path(sys.argv[1]), bytes([number % 256]) * 30_000_000)
    print(number, flush=True)
"""
    target = tmp_path / "state"
    draw = random.Random(0)
    for _ in range(12):
        run = [sys.executable, "-c", code, str(target)]
        process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.random() * 0.25)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = target.read_bytes()
        assert len(content) == 30_000_000
        assert content.count(content[:1]) == len(content)
        sweep_leftovers(tmp_path)
        assert names(tmp_path) == ["state"]


def _save_checkpoints(work: Path) -> None:
    for step in range(10**6):
        parts = {"encoder": {"weight": torch.full((1_000_000,), float(step))}}
        save_checkpoint(work, step, parts, {"step": step})


@pytest.mark.slow
def test_fault_02_kill_9_during_a_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    draw = random.Random(0)
    for number in range(12):
        work = tmp_path / str(number)
        process = context.Process(target=_save_checkpoints, args=(work,))
        process.start()
        while not list(work.glob("step-*")):
            time.sleep(0.01)
        time.sleep(draw.random() * 0.25)
        process.kill()
        process.join()
        loaded = load_checkpoint(work)
        assert loaded is not None
        parts, state = loaded
        assert (parts["encoder"]["weight"] == state["step"]).all()
        assert not list(work.glob(".tmp-*"))


def test_fault_07_a_header_of_2_to_the_62_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    for payload in (
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}" + b"x" * 10,
        (40).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_o',
    ):
        path.write_bytes(payload)
        with pytest.raises(RefusedError, match=r"cannot read .*encoder\.safetensors"):
            read_tensors(path)


LEAVES_A_CHILD = """
import os, signal, sys, time
from pathlib import Path
from bench.storage import exclusive
with exclusive(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(300)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_fault_23_a_child_of_a_dead_process_keeps_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVES_A_CHILD, str(tmp_path / "lock")], cwd=ROOT,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        child = int(output.readline())
    try:
        assert process.wait() == -signal.SIGKILL
        os.kill(child, 0)  # it lives
        with exclusive(tmp_path / "lock", while_waiting=lambda: pytest.fail("it waits")):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_fault_23_a_living_process_keeps_its_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    has_lock, may_end = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "lock", has_lock, may_end))
    process.start()
    assert has_lock.wait(60)
    waits: list[None] = []

    def wait() -> None:
        waits.append(None)
        may_end.set()

    with exclusive(tmp_path / "lock", wait):
        assert waits
    process.join()


def _hold(path: Path, has_lock: Any, may_end: Any) -> None:
    with exclusive(path):
        has_lock.set()
        may_end.wait(60)


@pytest.mark.parametrize("name", ["run.json", MANIFEST, "scores"])
def test_fault_24_a_pipe_among_the_records_is_refused_without_waiting(
    name: str, tmp_path: Path
) -> None:
    folder = make_run(tmp_path)
    path = make_score(folder) if name == "scores" else folder / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RefusedError, match="not a regular file"):
        read_run(folder)


def test_fault_04_every_record_has_a_hash(corpus: PreparedCorpus, tmp_path: Path) -> None:
    """Whoever changes a number of a manifest, or of a cached overlap, is noticed."""
    write_manifest(tmp_path, [], documents=3)
    edited = (tmp_path / MANIFEST).read_text().replace('"documents": 3', '"documents": 4')
    (tmp_path / MANIFEST).write_text(edited)
    with pytest.raises(RefusedError, match=r"manifest\.json was changed .* expected .* found"):
        read_manifest(tmp_path)
    frame = pd.DataFrame({"text": ["a short text", "another text"]})
    splits = Splits(frame, frame, "04" * 32)
    folder = corpus.folder.parent.parent / "overlaps"
    before = set(folder.glob("*.json"))
    overlap = corpus_overlap(corpus.folder, splits)
    (path,) = set(folder.glob("*.json")) - before
    assert not overlap.seen.any()
    path.write_text(path.read_text().replace('"seen": []', '"seen": [1]'))
    assert not corpus_overlap(corpus.folder, splits).seen.any()
    assert '"seen": []' in path.read_text()  # searched again


@given(
    st.text(max_size=80)
    | st.sampled_from(["..", "../../x", "a/b", "a" * 300, "-o", "\uff53st", ""])
)
def test_fault_20_a_name_is_a_file_name_or_refused(name: str) -> None:
    root = Path("/somewhere/runs/x")
    try:
        path = score_path(root, name, "01234567")
    except BenchError:
        return
    assert path == root / "scores" / f"{name}-01234567.json"
    assert os.path.normpath(path) == str(path)
    assert name.isascii()


def test_fault_20_links_out_of_the_store_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    folder = make_run(out)
    (folder / "scores").symlink_to(outside)
    with pytest.raises(RefusedError, match="outside"):
        make_score(folder)
    assert list(outside.iterdir()) == []
    (folder / "scores").unlink()
    path = make_score(folder)
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)
    with pytest.raises(RefusedError, match="outside"):
        read_runs(out)
    path.unlink()
    make_run(outside, "span").rename(outside / "run")
    (out / "runs" / "span-tiny-s0-01234567").symlink_to(outside / "run")
    with pytest.raises(RefusedError, match="outside"):
        read_runs(out)
    (out / "runs" / "span-tiny-s0-01234567").unlink()
    (out / "runs" / "span-tiny-s0-01234567").symlink_to("span-tiny-s0-01234567")
    assert len(read_runs(out)) == 1


def _write_many(folder: Path, writer: int) -> None:
    draw = random.Random(writer)
    for number in range(6):
        make_score(folder, f"task_{writer}_{number}", [draw.randint(0, 1) for _ in range(50)] + [1])
        make_score(folder, "shared", [1.0, 0.0, 1.0])


def test_fault_22_eight_writers_and_a_reader_lose_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    context = multiprocessing.get_context("forkserver")  # a plain fork may copy a held lock
    context.set_forkserver_preload([__name__])
    writers = [context.Process(target=_write_many, args=(folder, writer)) for writer in range(8)]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        scores = read_runs(tmp_path)[0].scores
        assert len(scores) >= seen
        seen = len(scores)
        for score in scores[-2:]:
            assert score.outcomes() is not None
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    scores = read_runs(tmp_path)[0].scores
    assert len(scores) == 8 * 6 + 1
    for score in scores:
        frame = score.outcomes()
        assert frame is not None
        assert frame["outcome"].mean() == pytest.approx(score.data["value"])
    assert not [path for path in (folder / "scores").iterdir() if path.name.startswith(".")]
