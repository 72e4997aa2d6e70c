"""What an engine runs: one pretraining with its scores, or the baselines of all tasks.

A job is written as JSON and read back in the worker process, so that every engine can pass it on as
a file or on standard input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bench.probing.task import DataRoot, Probe
from bench.spec import Init, RunSpec

BASELINES = "baselines"
"""The id of the job that needs no encoder."""

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
        """Plain values that `from_json` reads."""
        data = self.data
        return {
            "out": str(self.out),
            "data": {
                "folder": None if data.folder is None else str(data.folder),
                "limit": data.limit,
                "size": data.size,
                "prepared": None if data.prepared is None else str(data.prepared),
            },
            "tasks": list(self.tasks),
            "probes": list(self.probes),
            "probe_settings": list(self.probe_settings),
            "options": [list(pair) for pair in self.options],
            "forget": None if self.forget is None else str(self.forget),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`."""
        data = dict(plain["data"])
        for key in ("folder", "prepared"):
            data[key] = None if data[key] is None else Path(data[key])
        return cls(
            Path(plain["out"]),
            DataRoot(**data),
            tuple(plain["tasks"]),
            tuple(plain["probes"]),
            tuple(plain["probe_settings"]),
            tuple((flag, value) for flag, value in plain["options"]),
            None if plain.get("forget") is None else Path(plain["forget"]),
        )


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

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.spec.id

    @property
    def title(self) -> str:
        """What a progress bar calls the run."""
        budget = f", {self.spec.budget}" if self.is_on_curve else ""
        return f"{self.spec.display_name} s{self.spec.seed}{budget}"

    def to_json(self) -> dict[str, Any]:
        """Plain values that `read_job` reads."""
        return {
            "kind": "run",
            "spec": self.spec.to_json(),
            "evaluation": self.evaluation.to_json(),
            "allow_inexact": self.allow_inexact,
            "is_on_curve": self.is_on_curve,
            "tuning": None if self.tuning is None else dict(self.tuning),
        }


@dataclasses.dataclass(frozen=True)
class BaselinesJob:
    """Score the baselines that need no encoder."""

    evaluation: Evaluation
    id: str = BASELINES
    title: str = BASELINES

    def to_json(self) -> dict[str, Any]:
        """Plain values that `read_job` reads."""
        return {"kind": BASELINES, "evaluation": self.evaluation.to_json()}


@dataclasses.dataclass(frozen=True)
class EncoderJob:
    """Score a public encoder without any training."""

    init: Init
    device: str
    evaluation: Evaluation

    @property
    def id(self) -> str:
        """A name that no other job has."""
        return f"encoder-{self.init.sha256[:8]}"

    @property
    def title(self) -> str:
        """What a progress bar calls it."""
        return self.init.name

    def to_json(self) -> dict[str, Any]:
        """Plain values that `read_job` reads."""
        evaluation, init = self.evaluation.to_json(), dataclasses.asdict(self.init)
        return {"kind": "encoder", "init": init, "device": self.device, "evaluation": evaluation}


Job = RunJob | BaselinesJob | EncoderJob


def read_job(plain: Mapping[str, Any]) -> Job:
    """The job that `to_json` wrote."""
    evaluation = Evaluation.from_json(plain["evaluation"])
    if plain["kind"] == BASELINES:
        return BaselinesJob(evaluation)
    if plain["kind"] == "encoder":
        return EncoderJob(Init(**plain["init"]), plain["device"], evaluation)
    spec = RunSpec.from_json(plain["spec"])
    flags = plain["allow_inexact"], plain["is_on_curve"]
    return RunJob(spec, evaluation, *flags, plain["tuning"])


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
