"""The two record formats as models. A malformed record is refused, with the name of the key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

NAME = r"[a-z][a-z0-9_]{0,63}"
RUN_ID = rf"{NAME}-{NAME}-s[0-9]{{1,10}}-[0-9a-f]{{8}}"

_Name = Annotated[str, Field(pattern=f"^{NAME}$")]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A record format: the keys that are read are checked, further keys are allowed."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Budget(Record):
    axis: Literal["tokens", "predictions", "flops", "seconds"]
    amount: NonNegativeFloat


class _Spent(Record):
    tokens: NonNegativeFloat
    predictions: NonNegativeFloat
    flops: NonNegativeFloat
    seconds: NonNegativeFloat


class _Parameters(Record):
    encoder: int
    extra: int


class Tuning(Record):
    """The trials that chose the settings of a run."""

    settings: list[str]
    on: Literal["loss", "self"]
    trials: list[tuple[str, float | None]]
    chosen: str
    edges: list[str]
    tokens: NonNegativeFloat
    seconds: NonNegativeFloat


class Run(Record):
    """A pretraining: `run.json`."""

    format: Literal[2]
    id: Annotated[str, Field(pattern=f"^{RUN_ID}$")]
    status: str
    objective: _Name
    settings: dict[str, Any]
    display_name: str
    seed: int
    size: _Name
    spec: dict[str, Any]
    scoring: Literal["masked", "shifted", "causal"] | None
    budget: _Budget
    spent: _Spent
    parameters: _Parameters
    tokens_per_second: NonNegativeFloat | None
    corpus_sha256: str
    tokenizer_sha256: str
    comparison: str
    validation_loss: float | None = None
    unigram_loss: float | None = None
    options: list[tuple[str, str]] = []
    tuning: Tuning | None = None


class _Overlap(Record):
    share: float | None = None
    clean_value: float | None = None


class _FinetuningSeed(Record):
    seed: int
    dev: float
    epochs: float
    collapsed: bool


class _Stage(Record):
    is_edge: bool | None = None


class _Choice(Record):
    """What was chosen on dev."""

    grid: list[list[float]] = []
    poolings: list[str] = []
    embedding: str | None = None
    embeddings: dict[str, float] = {}


class Details(_Choice):
    """What is read of a score's details; a family may keep more."""

    dev: float | None = None
    selectivity: float | None = None
    leak: _Overlap | None = None
    corpus_overlap: _Overlap | None = None
    collapsed_seeds: list[int] = []
    seeds: list[_FinetuningSeed] = []
    is_edge: bool | None = None
    is_at_last_epoch: bool | None = None
    texts: NonNegativeFloat = 0.0
    truncated_texts: NonNegativeFloat = 0.0
    data_notes: list[str] = []
    contrastive: _Stage | None = None
    cosine: _Choice | None = None
    meaning: str | None = None


class Score(Record):
    """A score of a run or of a baseline."""

    format: Literal[2]
    task: _Name
    family: str
    metric: str
    chance: float | None
    run: Annotated[str, Field(pattern=f"^{RUN_ID}$")] | None
    baseline: _Name | None
    attention: Literal["native", "bidirectional"]
    status: Literal["ok", "not_applicable"]
    value: float | None
    stderr: NonNegativeFloat | None
    metrics: dict[str, tuple[float, NonNegativeFloat]]
    details: Details
    data_sha256: _Sha256
    probe_settings: dict[str, Any]
    task_code_sha256: _Sha256
    seconds: NonNegativeFloat
    examples: Annotated[int, Field(ge=0)]
    outcomes_sha256: _Sha256 | None = None
    sha256: _Sha256 | None = None
    is_own: bool = False
    is_diagnostic: bool = False

    @model_validator(mode="after")
    def _is_whole(self) -> Score:
        if (self.run is None) == (self.baseline is None):
            raise ValueError("a score belongs to a run or to a baseline, and to one of them only")
        if self.status == "ok" and (self.value is None or self.stderr is None):
            raise ValueError("a score that is ok has a value and a stderr")
        return self
