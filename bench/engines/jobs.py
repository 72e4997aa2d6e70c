"""The jobs of an engine: one pretraining with its scores, or the baselines of all tasks.

A job is written as JSON to `OUT/jobs/` and read back by `bench work`, perhaps on another machine.
So it has no absolute path: corpora are named by their hashes and found in the cache of the machine,
and other files are named relative to `OUT`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bench.probing.task import DataRoot, Probe
from bench.settings import sha256_json
from bench.spec import Init, RunSpec

BASELINES = "baselines"
"""The kind of the job that needs no encoder."""

Status = Literal["waiting", "running", "finished", "diverged", "failed", "stopped"]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The tasks that are scored, on which data, and where the records lie."""

    out: Path
    """Folder of the records, absolute."""
    data: DataRoot
    """Where the labelled data come from, with the prepared corpus."""
    tasks: tuple[str, ...] = ()
    """Registered names, or KIND:FILE for a user's labels."""
    probes: tuple[Probe, ...] = ("linear",)
    probe_settings: tuple[Mapping[str, Mapping[str, Any]], ...] = ({},)
    """Settings by owner (`probe`, `finetune`); each task is scored with each of them."""
    options: tuple[tuple[str, str], ...] = ()
    """The options of the command, without objectives and seeds, for the records."""
    forget: Path | None = None
    """The prepared second corpus, whose held-out loss every run measures."""

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads, without absolute paths."""
        from bench.probing.data.user_tasks import moved_reference

        data = self.data
        return {
            "data": {
                "folder": None if data.folder is None else _relative(data.folder, self.out),
                "limit": data.limit,
                "size": data.size,
                "prepared": None if data.prepared is None else data.prepared.name,
            },
            "tasks": [
                moved_reference(task, self.out, lambda path: Path(_relative(path, self.out)))
                for task in self.tasks
            ],
            "probes": list(self.probes),
            "probe_settings": list(self.probe_settings),
            "options": [list(pair) for pair in self.options],
            "forget": None if self.forget is None else self.forget.name,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], out: Path) -> Evaluation:
        """The inverse of `to_json`, on this machine.

        Raises:
            BenchError: This machine does not have the prepared corpus.
        """
        from bench.corpus.preparation import stores_named
        from bench.probing.data.user_tasks import moved_reference

        data = dict(plain["data"])
        if data["folder"] is not None:
            data["folder"] = (out / data["folder"]).resolve()
        if data["prepared"] is not None:
            data["prepared"] = stores_named(data["prepared"])
        return cls(
            out,
            DataRoot(**data),
            tuple(
                moved_reference(task, out, lambda path: path.resolve()) for task in plain["tasks"]
            ),
            tuple(plain["probes"]),
            tuple(plain["probe_settings"]),
            tuple((flag, value) for flag, value in plain["options"]),
            None if plain["forget"] is None else stores_named(plain["forget"]),
        )


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out)).as_posix()


@dataclasses.dataclass(frozen=True)
class Resources:
    """The needs of one job, or the limits of several at once."""

    cpus: int
    gpus: int = 0


@dataclasses.dataclass(frozen=True)
class RunJob:
    """Pretrain one specification, or find it finished, and score what has no score yet."""

    spec: RunSpec
    evaluation: Evaluation
    allow_inexact: bool = False
    """Resume although the thread count or the version of torch changed."""
    is_on_curve: bool = False
    """Whether the title names the budget, because the experiment has several."""
    tuning: Mapping[str, Any] | None = None
    """The trials that chose its settings, for the record."""
    processes: int = 1
    """The ranks that share the run."""
    is_sharded: bool = False
    """Whether the encoder's layers are divided among them."""

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.spec.id

    @property
    def resources(self) -> Resources:
        """The threads of the run, and a GPU for each of its processes."""
        gpus = self.processes if self.spec.device == "cuda" else 0
        return Resources(self.spec.training.threads * self.processes, gpus)

    @property
    def is_alone(self) -> bool:
        """Whether a neighbour on the same machine would spend the run's own budget."""
        return self.spec.budget.axis == "seconds" or self.spec.device == "mps"  # it has one GPU

    @property
    def title(self) -> str:
        """The name of the run in a progress bar."""
        budget = f", {self.spec.budget}" if self.is_on_curve else ""
        return f"{self.spec.display_name} s{self.spec.seed}{budget}"

    def to_json(self) -> dict[str, Any]:
        """Plain values that `read_job` reads."""
        spec = self.spec.to_json()
        if self.spec.init is not None:
            folder = Path(self.spec.init.folder)
            spec["init"]["folder"] = _relative(folder, self.evaluation.out)
        return {
            "kind": "run",
            "spec": spec,
            "evaluation": self.evaluation.to_json(),
            "allow_inexact": self.allow_inexact,
            "is_on_curve": self.is_on_curve,
            "tuning": None if self.tuning is None else dict(self.tuning),
            "processes": self.processes,
            "is_sharded": self.is_sharded,
        }


@dataclasses.dataclass(frozen=True)
class BaselinesJob:
    """Score the baselines that need no encoder."""

    evaluation: Evaluation
    threads: int = 1
    title: str = BASELINES
    is_alone: bool = False

    @property
    def id(self) -> str:
        """A name that no other job has."""
        return f"{BASELINES}-{sha256_json(self.evaluation.to_json())[:8]}"

    @property
    def resources(self) -> Resources:
        """Cores only."""
        return Resources(self.threads)

    def to_json(self) -> dict[str, Any]:
        """Plain values that `read_job` reads."""
        evaluation = self.evaluation.to_json()
        return {"kind": BASELINES, "threads": self.threads, "evaluation": evaluation}


@dataclasses.dataclass(frozen=True)
class EncoderJob:
    """Score a public encoder without any training."""

    init: Init
    device: str
    evaluation: Evaluation
    threads: int = 1
    is_alone: bool = False

    @property
    def resources(self) -> Resources:
        """As a run."""
        return Resources(self.threads, int(self.device == "cuda"))

    @property
    def id(self) -> str:
        """A name that no other job has."""
        return f"encoder-{self.init.sha256[:8]}"

    @property
    def title(self) -> str:
        """Its name in a progress bar."""
        return self.init.name

    def to_json(self) -> dict[str, Any]:
        """Plain values that `read_job` reads."""
        init = dataclasses.asdict(self.init)
        init["folder"] = _relative(Path(self.init.folder), self.evaluation.out)
        return {
            "kind": "encoder",
            "init": init,
            "device": self.device,
            "threads": self.threads,
            "evaluation": self.evaluation.to_json(),
        }


Job = RunJob | BaselinesJob | EncoderJob


def read_job(plain: Mapping[str, Any], out: Path) -> Job:
    """The job that `to_json` wrote.

    Args:
        plain: Its JSON.
        out: The folder of the records on this machine, absolute.

    Raises:
        BenchError: This machine does not have the prepared corpus.
        KeyError, TypeError, ValueError: It is no job.
    """
    evaluation = Evaluation.from_json(plain["evaluation"], out)
    if plain["kind"] == BASELINES:
        return BaselinesJob(evaluation, plain["threads"])
    if plain["kind"] == "encoder":
        init = _moved(Init(**plain["init"]), out)
        return EncoderJob(init, plain["device"], evaluation, plain["threads"])
    spec = RunSpec.from_json(plain["spec"])
    if spec.init is not None:
        spec = dataclasses.replace(spec, init=_moved(spec.init, out))
    flags = plain["allow_inexact"], plain["is_on_curve"]
    ranks = int(plain["processes"]), bool(plain.get("is_sharded", False))
    return RunJob(spec, evaluation, *flags, plain["tuning"], *ranks)


def _moved(init: Init, out: Path) -> Init:
    """The checkpoint on this machine; one of the hub is looked up if the files are not shared.

    Raises:
        BenchError: It is not here, and the hub cannot be asked.
        RefusedError: The hub has another version of it now.
    """
    from bench.errors import RefusedError
    from bench.pretraining.checkpoints.source import HUB_PREFIX, open_checkpoint

    folder = (out / init.folder).resolve()
    if folder.is_dir() or not init.name.startswith(HUB_PREFIX):
        return dataclasses.replace(init, folder=str(folder))
    here = open_checkpoint(init.name).init
    if here.sha256 != init.sha256:
        raise RefusedError(
            f"{init.name} is not the version that was submitted; name its revision: "
            f"{init.name}@REVISION"
        )
    return here


@dataclasses.dataclass
class JobState:
    """A job and its progress through an engine."""

    job: Job
    status: Status = "waiting"
    message: str | None = None
    """Why the job failed."""
    exit_code: int = 0
    run_id: str | None = None
    """The run that has a folder now."""
    num_starts: int = 0
    """How often its process was started."""

    @functools.cached_property
    def file(self) -> Path:
        """The file of the job, which `bench work` reads.

        Its name has a hash of its content: two commands on one run, with different tasks, share no
        file.
        """
        name = f"{self.job.id}.{sha256_json(self.job.to_json())[:8]}.json"
        return self.job.evaluation.out / "jobs" / name
