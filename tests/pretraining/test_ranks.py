"""A run in several processes has the bits of one process with as many micro-batches."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.corpus.preparation import PreparedCorpus
from bench.engines.jobs import RunJob
from bench.engines.worker.rank_launcher import launch
from bench.errors import BenchError
from bench.pretraining.loop import Pretraining
from bench.pretraining.ranks import ALONE, Ranks, join
from bench.storage import file_sha256
from tests.conftest import MakeSpec
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT
from tests.helpers.ranks import encoders


@pytest.mark.slow
def test_two_processes_are_two_micro_batches(corpus: PreparedCorpus, tmp_path: Path) -> None:
    """For every built-in objective: weights, costs and losses to the bit."""
    alone = encoders(corpus, 1, tmp_path, "plain")
    assert len(alone) > 15
    assert encoders(corpus, 2, tmp_path, "plain") == alone


@pytest.mark.slow
def test_two_processes_that_read_late_are_two_micro_batches(
    corpus: PreparedCorpus, tmp_path: Path
) -> None:
    late = encoders(corpus, 1, tmp_path, "late", "token")
    assert encoders(corpus, 2, tmp_path, "late", "token") == late


@pytest.mark.slow
@pytest.mark.parametrize(("first", "rest"), [(2, 1), (1, 2)])
def test_another_number_of_processes_resumes(
    first: int, rest: int, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    alone = encoders(corpus, 1, tmp_path, "plain")
    encoders(corpus, first, tmp_path, "first")
    assert encoders(corpus, rest, tmp_path, "rest") == alone


@pytest.mark.slow
def test_memory_that_is_exhausted_on_one_rank(corpus: PreparedCorpus, tmp_path: Path) -> None:
    """All ranks halve their micro-batches; four are added in another order than in one process."""
    alone = encoders(corpus, 1, tmp_path, "shortage", "token")["token"].split()
    ranks = encoders(corpus, 2, tmp_path, "shortage", "token")["token"].split()
    _, *costs, nats, micro_batches = alone
    assert ranks[1:4] == costs
    assert float(ranks[4]) == pytest.approx(float(nats), rel=1e-6)
    assert ranks[5] == micro_batches == "4"


FLAGS = [
    "--objective", "token", "--corpus", "text.txt", "--tasks", "none", "--seeds", "0",
    "--budget", "60k", "--device", "cpu", "--gpus-per-run", "2",
    "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "BENCH_CACHE": str(folder / "cache"),
        "BENCH_CHECKPOINT_SECONDS": "0.1",
    }  # fmt: skip
    if not (folder / "text.txt").exists():
        folder.mkdir(exist_ok=True)
        write_text(folder)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "bench", "run", *FLAGS], cwd=folder, env=environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(process: subprocess.Popen[str], folder: Path, code: int = 0) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    (run,) = folder.glob("results/runs/token-*")
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    return file_sha256(run / "encoder.safetensors")


@pytest.mark.slow
def test_a_killed_rank_ends_all_and_the_run_resumes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = finished(start(whole), whole)
    process = start(killed)
    end = time.monotonic() + 200
    while not list(killed.glob("results/runs/.unfinished/token*/step-*")):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(second_rank(killed), signal.SIGKILL)
    assert finished(process, killed) == expected


def second_rank(folder: Path) -> int:
    """The process id of rank 1 among the processes with the cache of a folder."""
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            content = entry.read_bytes()
            if f"BENCH_CACHE={folder}".encode() in content and b"LOCAL_RANK=1" in content:
                return int(entry.parent.name)
    raise AssertionError("there is no second rank")


# Without processes


def test_a_batch_needs_a_part_for_every_rank(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    spec, objective = make_spec()  # eight rows
    with pytest.raises(BenchError, match="9 processes cannot share a batch of token: it has 8"):
        Pretraining(spec, objective, corpus, "cpu", None, Ranks(0, 9))
    assert Pretraining(spec, objective, corpus, "cpu").ranks is ALONE


def test_ranks_that_are_described_in_part_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join("cpu") is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(BenchError, match="RANK, MASTER_ADDR, MASTER_PORT is not set"):
        join("cpu")


def test_a_rank_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\nif os.environ['RANK'] == '0': time.sleep(60)\nsys.exit(3)\n"
    )
    monkeypatch.setattr("sys.orig_argv", [sys.executable, str(program)])
    monkeypatch.setattr("bench.engines.worker.rank_launcher.GRACE_SECONDS", 0.1)
    previous = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert launch(2) == 3
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_a_run_on_several_gpus_needs_them(make_spec: MakeSpec) -> None:
    spec, _ = make_spec()
    job = RunJob(spec, None, processes=4)  # type: ignore[arg-type]
    assert (job.resources.cpus, job.resources.gpus) == (4 * spec.training.threads, 0)
