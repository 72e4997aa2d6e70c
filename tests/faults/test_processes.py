"""Rows 1, 3, 11, 16, 17 and 21: runs as processes that are killed, stopped, crash and race."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.storage import file_sha256
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT

FLAGS = [
    "--objective", "token", "--corpus", "text.txt", "--tasks", "none", "--seeds", "0",
    "--budget", "100k",
    "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
]  # fmt: skip

CRASHING = """
import os, signal, stat, time
from typing import ClassVar
import bench

FLOOD = (b'\\xff\\n{"event": "ended"}\\n{"event": "progress", "share": "x", "step": 1, "nats": 1,'
         b' "tokens": 1, "tokens_per_second": 1}\\n' + b"[" * 10_000 + b"half a line")

class _Bad(bench.MaskedObjective):
    summary: ClassVar[str] = "ends its process"
    source: ClassVar[str] = "tests"
    def choose(self, batch, noise):
        self.end()

@bench.settings
class Exits(_Bad):
    # It leaves a child behind that has all its files open.
    name: ClassVar[str] = "exits"
    def end(self):
        if os.fork() == 0:
            os.setsid()
            os.close(1)
            os.close(2)
            time.sleep(300)
        os._exit(0)

@bench.settings
class Floods(_Bad):
    name: ClassVar[str] = "floods"
    def end(self):
        # One of these files is the channel of its reports.
        for file in range(3, 64):
            try:
                if stat.S_ISFIFO(os.fstat(file).st_mode):
                    os.write(file, FLOOD)
            except OSError:
                pass
        raise ValueError("it wrote everywhere")

@bench.settings
class Segfaults(_Bad):
    name: ClassVar[str] = "segfaults"
    def end(self):
        os.kill(os.getpid(), signal.SIGSEGV)

@bench.settings
class Raises(_Bad):
    name: ClassVar[str] = "raises"
    def end(self):
        raise ValueError("a plugin's own fault")

@bench.hookimpl
def bench_objectives():
    return [Exits, Floods, Segfaults, Raises]
"""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    if not (folder / "text.txt").exists():
        write_text(folder)
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "BENCH_CHECKPOINT_SECONDS": "0.1",
            **environment,
        },
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return errors


def sha_of(folder: Path) -> str:
    (run,) = (folder / "results" / "runs").glob("token-*")
    return file_sha256(run / "encoder.safetensors")


def wait_for(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 120
    while not list((folder / "results" / "runs" / ".unfinished").glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def install(folder: Path) -> None:
    """Make the plugin of `acme_crash.py` known."""
    info = folder / "acme_crash-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-crash\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench]\nacme = acme_crash\n")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, *FLAGS))
    return sha_of(folder)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 5])
def test_fault_01_kill_and_repeat_ends_in_the_same_encoder(
    times: int, tmp_path: Path, uninterrupted: str
) -> None:
    chance = random.Random(0)
    for _ in range(times):
        process = start(tmp_path, *FLAGS)
        wait_for(tmp_path, "*/step-*")
        time.sleep(chance.random())
        process.kill()
        process.communicate()
    finish(start(tmp_path, *FLAGS))
    assert sha_of(tmp_path) == uninterrupted
    assert not list((tmp_path / "results" / "runs" / ".unfinished").glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_fault_03_a_signal_saves_the_state_and_says_resumable(
    number: int, code: int, tmp_path: Path, uninterrupted: str
) -> None:
    process = start(tmp_path, *FLAGS, BENCH_CHECKPOINT_SECONDS="3600")
    wait_for(tmp_path, "*/identity.json")
    time.sleep(1)
    process.send_signal(number)
    errors = finish(process, code)
    assert "same command" in errors
    assert "Traceback" not in errors
    finish(start(tmp_path, *FLAGS))
    assert sha_of(tmp_path) == uninterrupted


@pytest.mark.slow
def test_fault_21_four_processes_do_one_run_once(tmp_path: Path, uninterrupted: str) -> None:
    for process in [start(tmp_path, *FLAGS) for _ in range(4)]:
        finish(process)
    assert sha_of(tmp_path) == uninterrupted


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_whoever_waits_for_the_run_of_another_process_is_not_taken_to_hang(tmp_path: Path) -> None:
    owner = start(tmp_path, *FLAGS)
    wait_for(tmp_path, "*/step-*")
    (template,) = children_of(owner.pid)
    worker = children_of(template)[0]
    os.kill(worker, signal.SIGSTOP)  # it keeps its lock
    waiter = start(tmp_path, *FLAGS, BENCH_SILENCE_SECONDS="20")  # a slow start takes as long
    time.sleep(45)
    is_waiting = waiter.poll() is None
    os.kill(worker, signal.SIGCONT)
    errors = finish(waiter)
    finish(owner)
    assert "another process is doing this run" in errors
    assert is_waiting


@pytest.mark.slow
def test_fault_17_a_crashing_plugin_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "acme_crash.py").write_text(CRASHING)
    install(tmp_path)
    bad = ["--objective", "exits,floods,segfaults,raises"]
    errors = finish(start(tmp_path, *bad, *FLAGS, "--budget", "5k"), 4)
    assert "token s0 finished" in errors
    assert "exits s0 failed" in errors
    assert "floods s0 failed: ValueError: it wrote everywhere" in errors
    assert "segfaults s0 failed: the worker was killed by signal 11" in errors
    assert "raises s0 failed: ValueError: a plugin's own fault" in errors
    # The child of the first one still lives, and keeps nobody waiting.
    again = start(tmp_path, "--objective", "exits", *FLAGS, "--budget", "5k")
    try:
        assert "waiting" not in finish(again, 4)
    finally:
        for child in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(child.name)) == int(child.name) and str(tmp_path) in (
                    os.readlink(child / "cwd")
                ):
                    os.kill(int(child.name), signal.SIGKILL)


@pytest.mark.slow
def test_fault_17_a_hanging_plugin_ends_with_its_children(tmp_path: Path) -> None:
    (tmp_path / "acme_crash.py").write_text(
        CRASHING.replace("os._exit(0)", "time.sleep(300)").replace("os.setsid()", "pass")
    )
    install(tmp_path)
    flags = ["--objective", "exits", *FLAGS[2:], "--budget", "5k"]
    errors = finish(start(tmp_path, *flags, BENCH_SILENCE_SECONDS="25"), 1)  # no other one trains
    assert "exits s0 failed: the worker was killed by signal 9 and reported no reason" in errors
    left = [path for path in Path("/proc").glob("[0-9]*/cwd") if path.exists()]
    assert str(tmp_path) not in [os.readlink(path) for path in left]


@pytest.mark.slow
def test_fault_03_workers_save_their_state_when_their_parent_dies(tmp_path: Path) -> None:
    flags = [*FLAGS, "--objective", "causal", "--budget", "2M"]
    process = start(tmp_path, *flags, BENCH_CHECKPOINT_SECONDS="3600")
    wait_for(tmp_path, "token-*/identity.json")
    wait_for(tmp_path, "causal-*/identity.json")
    time.sleep(3)
    process.kill()
    process.communicate()
    wait_for(tmp_path, "token-*/step-*/manifest.json")
    wait_for(tmp_path, "causal-*/step-*/manifest.json")


@pytest.mark.slow
def test_fault_11_a_full_disk_fails_the_run_and_keeps_what_was_good(tmp_path: Path) -> None:
    code = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.argv = ['bench', 'run', *sys.argv[1:]]\n"
        "runpy.run_module('bench', run_name='__main__')"
    )
    finish(start(tmp_path, *FLAGS, "--budget", "3k"))  # prepares the corpus
    done = subprocess.run(
        [sys.executable, "-c", code, *FLAGS, "--out", "other"], cwd=tmp_path, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "disk full" in done.stderr
    assert not [p for p in (tmp_path / "other" / "runs").iterdir() if p.name != ".unfinished"]


@pytest.mark.slow
def test_fault_16_a_plugin_runs_beside_a_broken_one(tmp_path: Path) -> None:
    """An objective and a task of another package, from list to table, beside a broken one."""
    (tmp_path / "acme.py").write_text(
        "from typing import ClassVar\n"
        "import bench\n"
        "from bench.probing.families.classification import TextClassification\n"
        "from bench.probing.data.datasets import as_splits\n"
        "@bench.settings\n"
        "class Halves(bench.MaskedObjective):\n"
        "    name: ClassVar[str] = 'halves'\n"
        "    summary: ClassVar[str] = 'the first tokens of a row'\n"
        "    source: ClassVar[str] = 'acme'\n"
        "    def choose(self, batch, noise):\n"
        "        return batch.real & (batch.real.long().cumsum(1) <= self.quota(batch)[:, None])\n"
        "class Dots(TextClassification):\n"
        "    name: ClassVar[str] = 'dots'\n"
        "    summary: ClassVar[str] = 'one dot or two'\n"
        "    source: ClassVar[str] = 'acme'\n"
        "    chance: ClassVar[float] = 0.5\n"
        "    def load(self, data):\n"
        "        import pandas as pd\n"
        "        rows = [(f'the {i} .' + ' .' * (i % 2), i % 2) for i in range(60)]\n"
        "        frame = pd.DataFrame(rows, columns=['text', 'label'])\n"
        "        return as_splits(frame[:40], frame[40:], data)\n"
        "@bench.hookimpl\n"
        "def bench_objectives():\n"
        "    return [Halves]\n"
        "@bench.hookimpl\n"
        "def bench_tasks():\n"
        "    return [Dots]\n"
    )
    for name, module in (("acme", "acme"), ("acme-broken", "no_such_module")):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[bench]\n{module} = {module}\n")

    def bench(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments], cwd=tmp_path, text=True, check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        ).stdout  # fmt: skip

    listed = json.loads(bench("list", "--json"))
    assert "halves" in [row["name"] for row in listed["objectives"]]
    assert "dots" in [row["name"] for row in listed["tasks"]]
    (broken,) = listed["broken"]
    assert broken["provider"] == "acme-broken:no_such_module"
    assert "No module named" in broken["problem"]
    flags = ["--budget", "5k", "--seeds", "0", "--tasks", "dots", *FLAGS[2:4], *FLAGS[10:]]
    write_text(tmp_path)
    rows = json.loads(bench("run", "--objective", "halves", *flags, "--json"))
    assert {"halves", "untrained", "majority"} <= {row["objective"] for row in rows}
    assert {row["task"] for row in rows} == {"dots"}
