"""Observers see what runs do, and cannot change or disturb it."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

import bench
from bench.engines import events
from bench.engines.jobs import BaselinesJob, Evaluation, JobState, RunJob
from bench.engines.observers import watching
from bench.engines.observers.observer import Observer
from bench.engines.observers.watching import observing
from bench.errors import BenchError
from bench.probing.task import DataRoot
from bench.registry import Registry
from bench.storage import file_sha256

RUN = {"budget": "20k", "seeds": 1, "device": "cpu", "progress": False}


class Recorder(Observer):
    """Keeps every call."""

    name = "recorder"
    summary = "keeps every call"
    calls: ClassVar[list[tuple[Any, ...]]] = []

    def started(self, spec: Any) -> None:
        self.calls.append(("started", spec.id))

    def progress(self, spec: Any, progress: Any) -> None:
        self.calls.append(("progress", spec.id, progress.step))

    def pretrained(self, spec: Any, pretrained: Any) -> None:
        self.calls.append(("pretrained", spec.id, pretrained.status, pretrained.tokens))

    def scored(self, spec: Any, score: Any) -> None:
        self.calls.append(("scored", spec.id, score.title, score.value))

    def finished(self, spec: Any, status: str, message: str | None) -> None:
        self.calls.append(("finished", spec.id, status))

    def close(self) -> None:
        self.calls.append(("close",))


class Raising(Recorder):
    name = "raising"

    def progress(self, spec: Any, progress: Any) -> None:
        raise ValueError("a fault of its own")


class Exiting(Recorder):
    name = "exiting"

    def started(self, spec: Any) -> None:
        sys.exit(1)


class Unbuilt(Recorder):
    name = "unbuilt"

    def __init__(self, out: Path) -> None:
        raise RuntimeError("no server")


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    Recorder.calls.clear()


@pytest.fixture
def state(make_spec: Any, tmp_path: Path) -> JobState:
    spec, _ = make_spec("token")
    return JobState(RunJob(spec, Evaluation(tmp_path, DataRoot())))


@pytest.mark.slow
def test_an_observer_sees_a_run_and_changes_neither_its_id_nor_its_weights(
    results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    observers = [Recorder, Raising, Exiting, Unbuilt]
    bench.run("token", tasks="agreement", limit=100, out=tmp_path, observe=observers, **RUN)
    (plain,) = (results / "runs").glob("token-*")
    (run,) = (tmp_path / "runs").glob("token-*")
    assert run.name == plain.name
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(run / file) == file_sha256(plain / file)
    record = json.loads((run / "run.json").read_text())
    assert "observe" not in json.dumps(record["options"])
    own = [call for call in Recorder.calls if call[1:2] == (run.name,)]
    names = list(dict.fromkeys(call[0] for call in own))
    assert names == ["started", "progress", "pretrained", "scored", "finished"]
    (score,) = (json.loads(path.read_text()) for path in (run / "scores").glob("*.json"))
    assert ("scored", run.name, "agreement/linear", score["value"]) in own
    assert ("pretrained", run.name, "finished", record["spent"]["tokens"]) in own
    assert own[-1] == ("finished", run.name, "finished")
    errors = capfd.readouterr().err
    for name, fault in (("raising", "a fault of its own"), ("exiting", "1"), ("unbuilt", "no se")):
        assert errors.count(f"observer {name} failed and is dropped; the runs continue") == 1
        assert fault in errors
    Recorder.calls.clear()  # the same command finds everything
    bench.run("token", tasks="agreement", limit=100, out=tmp_path, observe=Recorder, **RUN)
    own = [call[0] for call in Recorder.calls if call[1:2] == (run.name,)]
    assert own == ["started", "pretrained", "finished"]


def test_events_become_calls_in_order(state: JobState, tmp_path: Path) -> None:
    baselines = JobState(BaselinesJob(Evaluation(tmp_path, DataRoot())))
    with observing(Recorder, tmp_path) as watch:
        watch(state, events.Started())
        watch(baselines, events.Started())  # not a run
        watch(state, events.Progress(0.5, 3, 2.0, 100, 10.0))
        watch(state, events.Note("waiting"))
        watch(state, events.Pretrained("finished", 6, 200, 1.0, 2.5))
        watch(state, events.Scored("sst2", "accuracy", "linear", "bidirectional", 0.8, 0.1))
        state.status = "failed"
        watch(state, events.Ended())
    run = state.job.id
    assert Recorder.calls == [
        ("started", run), ("progress", run, 3), ("pretrained", run, "finished", 200),
        ("scored", run, "sst2/linear_bidirectional", 0.8), ("finished", run, "failed"), ("close",),
    ]  # fmt: skip


def test_a_hanging_observer_is_left_behind(
    state: JobState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    release = threading.Event()

    class Hanging(Recorder):
        name = "hanging"

        def started(self, spec: Any) -> None:
            release.wait(60)

    monkeypatch.setattr(watching, "CLOSING_SECONDS", 0.2)
    with observing([Hanging, Recorder], tmp_path) as watch:
        watch(state, events.Started())
    release.set()
    assert ("started", state.job.id) in Recorder.calls  # the other one is not held up
    assert "observer hanging did not finish" in capfd.readouterr().err


def test_events_survive_the_pipe() -> None:
    for event in (
        events.Pretrained("diverged", 6, 200, 1.0, None),
        events.Scored("sst2", "accuracy", "knn", "native", None, None),
    ):
        assert events.read_event(event.to_line()) == event


def install(site: Path, module: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(site))


def test_a_plugin_provides_an_observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import bench\n"
        "class Quiet(bench.Observer):\n"
        "    name = 'quiet'\n"
        "    summary = 'does nothing'\n"
        "    requires = 'no_such_package'\n"
        "@bench.hookimpl\n"
        "def bench_observers():\n"
        "    return [Quiet]\n"
    )
    install(tmp_path / "site", "acme_quiet", source, monkeypatch)
    info = tmp_path / "site" / "acme_quiet-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-quiet\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench]\nacme = acme_quiet\n")
    assert Registry().get("observer", "quiet").summary == "does nothing"
    with (
        pytest.raises(BenchError, match=r"--observe quiet needs .* pip install no_such_package"),
        observing("quiet", tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("observers", "message"),
    [
        ("tensorbord", "no observer named 'tensorbord'; did you mean 'tensorboard'"),
        (["wandb,spam"], "no observer named 'spam'"),
        (dict, "is no bench.Observer; give a name or a class"),
    ],
)
def test_an_unknown_observer_is_an_error_before_training(
    observers: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=message):
        bench.run("token", tasks="none", out=tmp_path / "out", observe=observers, **RUN)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Fake packages in the place of the three; what they are told."""
    calls: ClassVar[list[tuple[Any, ...]]] = []

    class Run:
        def __init__(self, **options: Any) -> None:
            calls.append(("init", options))
            self.summary = self

        def update(self, values: Any) -> None:
            calls.append(("summary", values))

        def log(self, values: Any, step: int | None = None) -> None:
            calls.append(("log", values, step))

        def finish(self, **options: Any) -> None:
            calls.append(("finish", options))

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            calls.append(("init", folder))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append(("log", {name: value}, step))

        def close(self) -> None:
            calls.append(("finish",))

    for name in ("tensorboard", "trackio", "wandb"):
        fake = ModuleType(name)
        fake.init = Run  # type: ignore[attr-defined]
        fake.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, fake)
    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    return calls


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_built_in_observer_logs_a_run(
    name: str, log: list[tuple[Any, ...]], state: JobState, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with observing(name, tmp_path) as watch:
        watch(state, events.Started())
        watch(state, events.Progress(0.5, 3, 2.0, 100, 10.0))
        watch(state, events.Pretrained("finished", 6, 200, 1.0, 2.5))
        watch(state, events.Scored("sst2", "accuracy", "linear", "native", 0.8, 0.1))
        watch(state, events.Scored("squad", "f1", "linear", "native", None, None))
        state.status = "finished"
        watch(state, events.Ended())
    assert capfd.readouterr().err == ""
    first, *_, last = log
    assert first[0] == "init"
    assert state.job.id in str(first)
    assert last[0] == "finish"
    values: dict[str, Any] = {}
    for call in log[1:-1]:
        values |= call[1]
    known = {"train_nats": 2.0, "tokens": 200, "tokens_per_second": 10.0, "validation_loss": 2.5}
    assert known.items() <= values.items()
    assert values["scores/sst2/linear"] == 0.8
    assert values.get("scores/squad/linear") is None
    steps = [call[2] for call in log if call[0] == "log" and "train_nats" in call[1]]
    assert steps == [3]


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_built_in_observer_without_its_package_is_one_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(BenchError, match=rf"--observe {name} needs .*: pip install {name}$"):
        bench.run("token", tasks="none", out=tmp_path / "out", observe=name, **RUN)
    assert not (tmp_path / "out").exists()
