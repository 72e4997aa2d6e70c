"""Every engine gives the same encoders, whatever happens to processes and nodes."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.engines import ENGINES, read_engine
from bench.engines.grid import read_grid
from bench.engines.job_files import (
    LOST_SECONDS,
    ProgressWriter,
    all_progress,
    load_job,
    progress_file,
    read_progress,
)
from bench.engines.jobs import BaselinesJob, Evaluation, JobState, Resources, RunJob
from bench.engines.local import _Machine
from bench.errors import BenchError
from bench.probing.task import DataRoot
from bench.storage import file_sha256
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT

FLAGS = [
    "--objective", "token,causal", "--corpus", "text.txt", "--tasks", "none", "--seeds", "0-1",
    "--budget", "60k", "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
]  # fmt: skip


def bench(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}",
        "BENCH_CACHE": str(folder / "cache"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "bench", *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**environment, **options.pop("env", {})}, **options,
    )  # fmt: skip


def done(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    output, errors = process.communicate(timeout=500)
    assert process.returncode == code, errors
    return output, errors


def encoders(out: Path) -> dict[str, str]:
    files = out.glob("runs/*/encoder.safetensors")
    return {file.parent.name: file_sha256(file) for file in files}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a corpus, and the encoders of the local engine."""
    folder = tmp_path_factory.mktemp("engines")
    write_text(folder)
    (folder / "bin").mkdir()
    command = folder / "bin" / "bench"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m bench "$@"\n')
    command.chmod(0o755)
    done(bench(folder, "run", *FLAGS, "--out", "local"))
    expected = encoders(folder / "local")
    assert len(expected) == 6  # with two untrained ones
    return folder, expected


def until(condition: Any, seconds: float = 400.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def workers(out: Path) -> list[int]:
    """Process ids of the workers that do a job of a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if "bench.engines.worker.worker import main" in line and str(out) in line:
                found.append(int(entry.parent.name))
    return found


@pytest.mark.slow
def test_printed_lines_run_by_xargs(place: tuple[Path, dict[str, str]]) -> None:
    folder, expected = place
    lines, errors = done(bench(folder, "run", *FLAGS, "--out", "printed", "--engine", "print"))
    assert len(lines.splitlines()) == 6
    assert "bench compare --out printed" in errors
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        ["xargs", "-d", "\n", "-P2", "-n1", "sh", "-c"], input=lines, text=True, check=True,
        cwd=folder, capture_output=True,
        env={**os.environ, **path, "BENCH_CACHE": str(folder / "cache")},
    )  # fmt: skip
    assert encoders(folder / "printed") == expected
    status, _ = done(bench(folder, "status", "--out", "printed"))
    assert status.strip() == "6 finished"
    file = folder / shlex.split(lines.splitlines()[0])[-1]
    assert str(folder) not in file.read_text()  # no absolute path of the submitter
    moved = folder / "elsewhere"
    (folder / "printed").rename(moved)  # a node that mounts the folder somewhere else
    for one in moved.glob("runs/*"):
        if one.name.startswith("token"):
            one.rename(folder / one.name)
    done(bench(folder, "work", str(moved / "jobs" / file.name)))
    assert set(encoders(moved)) < set(expected)


@pytest.mark.slow
def test_ray_with_a_killed_worker_and_a_killed_node(
    place: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    folder, expected = place
    out = folder / "ray"
    monkeypatch.setenv("BENCH_CACHE", str(folder / "cache"))  # that of the nodes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    try:
        env = {"RAY_ADDRESS": cluster.address}
        process = bench(folder, "run", *FLAGS, "--out", "ray", "--engine", "ray", env=env)
        until(lambda: workers(out) or process.poll() is not None)
        os.kill(workers(out)[0], signal.SIGKILL)
        until(lambda: list(out.glob("runs/[a-z]*")) or process.poll() is not None)
        cluster.remove_node(nodes[1], allow_graceful=False)
        done(process)
    finally:
        cluster.shutdown()
    assert encoders(out) == expected


@pytest.mark.slow
def test_a_local_ray_writes_nothing_into_the_home_folder(
    place: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    folder, expected = place
    env = {"HOME": str(tmp_path)}
    done(bench(folder, "run", *FLAGS, "--out", "ray_local", "--engine", "ray", env=env))
    assert encoders(folder / "ray_local") == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_slurm_jobs_that_are_preempted_or_killed_are_started_again(
    place: tuple[Path, dict[str, str]],
) -> None:
    """With submitit's local executor, which queues again as Slurm does."""
    pytest.importorskip("submitit")
    folder, expected = place
    out = folder / "slurm"
    engine = ["--engine", "slurm:cluster=local,timeout_min=30"]
    process = bench(folder, "run", *FLAGS, "--out", "slurm", *engine)
    until(lambda: len(workers(out)) > 1 or process.poll() is not None)
    first, second = workers(out)[:2]
    os.kill(parent_of(first), signal.SIGUSR2)  # preemption
    os.kill(second, signal.SIGKILL)  # out of memory
    done(process)
    assert encoders(out) == expected
    logs = "".join(file.read_text() for file in (out / "jobs" / "slurm").glob("*_log.err"))
    assert logs.count("this job is preempted") == 2


def parent_of(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


@pytest.mark.slow
def test_a_grid_runs_sizes_and_budgets_at_once(place: tuple[Path, dict[str, str]]) -> None:
    folder, expected = place
    (folder / "grid.toml").write_text(
        'objective = ["token", "causal"]\ncorpus = ["text.txt"]\ntasks = "none"\nseeds = "0-1"\n'
        'budget = ["30k", "60k"]\nset = ["encoder.hidden_size=32", "encoder.num_layers=2"]\n'
    )
    done(bench(folder, "grid", "grid.toml", "--out", "grid"))
    found = encoders(folder / "grid")
    assert found.items() >= expected.items()
    assert len(found) == 12  # as many at 30k


# Without processes


def test_an_engine_has_a_name_and_options() -> None:
    for name in ENGINES:
        with contextlib.suppress(BenchError):  # a package is missing
            assert read_engine(name).waits == (name != "print")
    with pytest.raises(BenchError, match="'slrum' is none of local, ray, slurm, print; did you"):
        read_engine("slrum")
    with pytest.raises(BenchError, match="--engine local has no options, got workers"):
        read_engine("local:workers=2")
    with pytest.raises(BenchError, match="write local:KEY=VALUE"):
        read_engine("local:4")
    pytest.importorskip("submitit")
    with pytest.raises(BenchError, match="no option 'partitoin'"):
        read_engine("slurm:partitoin=gpu")
    with pytest.raises(BenchError, match="timeout_min is a whole number, got '2h'"):
        read_engine("slurm:timeout_min=2h")


class _Job:
    def __init__(self, name: str, cpus: int, gpus: int = 0, is_alone: bool = False) -> None:
        self.id, self.resources, self.is_alone = name, Resources(cpus, gpus), is_alone


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A machine with 4 cores and GPUs 2 and 5, where processes are only noted."""
    started: dict[str, dict[str, str]] = {}

    class Process:
        def __init__(self, file: Path, *arguments: Any) -> None:
            *_, started[file.name], _template = arguments

        def wait(self) -> int:
            return 0

    monkeypatch.setattr("bench.engines.local.WorkerProcess", Process)
    monkeypatch.setattr("bench.engines.local.Template", lambda _environment: None)
    monkeypatch.setattr("bench.engines.local.visible_gpus", lambda: ["2", "5"])
    made = _Machine(Resources(4, 2))
    made.started = started  # type: ignore[attr-defined]
    return made


def state_of(job: Any) -> JobState:
    state = JobState(job)
    state.__dict__["file"] = Path(job.id)
    return state


def test_each_run_on_a_gpu_sees_one_gpu(machine: Any) -> None:
    waiting = [state_of(_Job(name, 3, 1)) for name in "abc"] + [state_of(_Job("cpu", 2))]
    for name, gpus in (("a", "2"), ("b", "5"), ("cpu", None)):
        state = machine.next_of(waiting)
        assert state.job.id == name
        waiting.remove(state)
        machine.start(state)
        assert machine.started[name].get("CUDA_VISIBLE_DEVICES") == gpus
        if name == "a":
            first = state
    assert machine.next_of(waiting) is None
    machine.end(first)
    assert machine.next_of(waiting).job.id == "c"
    machine.start(machine.next_of(waiting))
    assert machine.started["c"]["CUDA_VISIBLE_DEVICES"] == "2"


def test_runs_on_cores_start_as_far_as_cores_reach(machine: Any) -> None:
    first, second, third = (
        state_of(_Job(name, cpus)) for name, cpus in zip("abc", (3, 2, 1), strict=True)
    )
    machine.start(first)
    assert machine.next_of([second, third]) is third
    alone = state_of(_Job("d", 1, is_alone=True))
    assert machine.next_of([alone]) is None
    machine.end(first)
    machine.start(alone)
    assert machine.next_of([third]) is None
    machine.end(alone)
    more = state_of(_Job("e", 64))  # of a larger machine: one at a time
    assert machine.next_of([more]) is more


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_a_process_that_starts_ranks_is_not_forked(machine: Any, tmp_path: Path) -> None:
    state = state_of(_Job("a", 2))
    for processes, may_fork in ((1, True), (2, False)):
        state.__dict__["file"] = tmp_path / "job.json"
        state.file.write_text(json.dumps({"processes": processes}))
        assert machine._may_fork(state) is may_fork


def test_a_job_is_found_again_where_its_folder_lies_now(
    make_spec: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / "stores"
    cache.mkdir(parents=True)
    (cache / corpus.folder.name).symlink_to(corpus.folder)
    monkeypatch.setenv("BENCH_CACHE", str(cache.parent))
    labels = tmp_path / "here" / "labels, 2.csv"
    labels.parent.mkdir()
    labels.write_text("text,label\n")
    spec, _ = make_spec()
    data = DataRoot(tmp_path / "here", None, "tiny", cache / corpus.folder.name)
    task = f"classify:{labels},label=label,name=labels"
    for name in ("docs", "queries", "qrels"):
        (tmp_path / "here" / f"{name}.tsv").touch()
    here = tmp_path / "here"
    search = (
        f"retrieve:{here / 'docs.tsv'},queries={here / 'queries.tsv'},qrels={here / 'qrels.tsv'}"
    )
    evaluation = Evaluation(here / "out", data, ("sst2", task, search))
    states = [JobState(RunJob(spec, evaluation)), JobState(BaselinesJob(evaluation, 2))]
    from bench.engines.job_files import write_jobs

    write_jobs(states)
    (tmp_path / "here").rename(tmp_path / "there")
    for state in states:
        file = tmp_path / "there" / "out" / "jobs" / state.file.name
        assert str(tmp_path) not in file.read_text()
        job = load_job(file)
        there = tmp_path / "there"
        assert job.id == state.job.id
        assert job.resources == state.job.resources
        assert job.evaluation.data.folder == there
        assert job.evaluation.out == there / "out"
        assert job.evaluation.tasks[1].startswith(f"classify:{there / 'labels, 2.csv'},")
        assert f"qrels={there / 'qrels.tsv'}" in job.evaluation.tasks[2]
    (cache / corpus.folder.name).unlink()
    with pytest.raises(BenchError, match=r"no prepared corpus .* run `bench prepare` here"):
        load_job(file)
    for wrong in ("", "[]", "{}", '{"kind": "run"}', "[" * 100_000):
        file.write_text(wrong)
        with pytest.raises(BenchError, match="is no job"):
            load_job(file)


def test_the_state_of_a_job(tmp_path: Path) -> None:
    from bench.engines import events

    file = tmp_path / "jobs" / "a.1234.json"
    file.parent.mkdir()
    file.write_text("{}")
    assert all_progress(tmp_path)[0].status == "waiting"
    write = ProgressWriter(file, "token s0")
    write(events.Pretrained("finished", 10, 5_000, 1.5, 4.2))
    write(events.Scoring("sst2"))
    write.write()
    found = read_progress(file)
    assert (found.title, found.status, found.share) == ("token s0", "running", 1.0)
    assert found.detail == "scoring sst2"
    updated = json.loads(progress_file(file).read_text())["updated"]
    assert read_progress(file, updated + LOST_SECONDS + 1).status == "lost"
    write(events.Failure("no text", 3))
    found = read_progress(file)
    assert (found.status, found.exit_code, found.detail) == ("failed", 3, "no text")
    for damaged in ("", "[]", "{}", '{"events": 3, "last": null}'):
        progress_file(file).write_text(damaged)
        assert read_progress(file).status == "waiting"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objective", "is not TOML"),
        ('corpus = "micro"', "no objective is named"),
        ('objective = "token"\nsizes = "tiny"', "no option 'sizes'; did you mean 'size'"),
        ('objective = "token"\nbudget = []', "budget needs different values"),
        ('objective = "token"\nsize = ["tiny", "tiny"]', "size needs different values"),
        ('objective = "spam"', "no objective named 'spam'"),
        ('objective = "token"\ntext-column = "a"\ntext_column = "b"', "is given twice"),
    ],
)
def test_a_grid_with_a_mistake(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(text)
    with pytest.raises(BenchError, match=message):
        read_grid(file, tmp_path)


def test_a_grid_is_every_size_with_every_budget(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        'objective = ["token"]\nsize = ["tiny", "mini"]\nbudget = ["20k", 40000]\nseeds = 3\n'
    )
    grid = read_grid(file, tmp_path)
    assert [list(one.seeds) for one in grid] == [[3]] * 4  # as `--seeds 3`
    assert [(one.size.name, one.budget.amount) for one in grid] == [
        ("tiny", 20_000), ("tiny", 40_000), ("mini", 20_000), ("mini", 40_000),
    ]  # fmt: skip
