"""The two record formats as models. A malformed record is refused, with the name of the key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"[a-z][a-z0-9_]{0,63}"
RUN_ID = rf"{NAME}-{NAME}-s[0-9]{{1,10}}-[0-9a-f]{{8}}"

_Name = Annotated[str, Field(pattern=f"^{NAME}$")]
# Strict, because the records are used as they are read: "1" is no number and true is none either.
_Number = Annotated[float, Field(strict=True)]
_Amount = Annotated[float, Field(strict=True, ge=0)]
_Whole = Annotated[int, Field(strict=True)]
_Count = Annotated[int, Field(strict=True, ge=0)]
_Flag = Annotated[bool, Field(strict=True)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A record format: the keys that are read are checked, further keys are allowed."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Budget(Record):
    axis: Literal["tokens", "predictions", "flops", "seconds"]
    amount: _Amount


class _Spent(Record):
    tokens: _Amount
    predictions: _Amount
    flops: _Amount
    seconds: _Amount


class _Parameters(Record):
    encoder: _Whole
    extra: _Whole


class Tuning(Record):
    """The trials that chose the settings of a run."""

    settings: list[str]
    on: Literal["loss", "self"]
    trials: list[tuple[str, _Number | None]]
    chosen: str
    edges: list[str]
    tokens: _Amount
    seconds: _Amount


class _Continued(Record):
    """The checkpoint that a run continues."""

    name: str = ""
    has_head: _Flag = False
    keeps_head: _Flag = False
    start_loss: _Number | None = None


class _Forgetting(Record):
    corpus: str = ""
    corpus_sha256: str = ""
    before: _Number | None = None
    after: _Number | None = None


class Run(Record):
    """A pretraining: `run.json`."""

    format: Literal[2]
    id: Annotated[str, Field(pattern=f"^{RUN_ID}$")]
    status: str
    objective: _Name
    settings: dict[str, Any]
    display_name: str
    seed: _Whole
    size: _Name
    spec: dict[str, Any]
    scoring: Literal["masked", "shifted", "causal"] | None
    attention: Literal["full", "causal"] = "full"
    budget: _Budget
    spent: _Spent
    parameters: _Parameters
    tokens_per_second: _Amount | None
    corpus_sha256: str
    tokenizer_sha256: str
    comparison: str
    validation_loss: _Number | None = None
    unigram_loss: _Number | None = None
    init: _Continued = _Continued()
    forgetting: _Forgetting = _Forgetting()
    options: list[tuple[str, str]] = []
    tuning: Tuning | None = None


class _Overlap(Record):
    share: _Number | None = None
    clean_value: _Number | None = None


class _FinetuningSeed(Record):
    seed: _Whole
    dev: _Number
    epochs: _Number
    collapsed: _Flag


class _Stage(Record):
    is_edge: _Flag | None = None


class _Choice(Record):
    """The choices on the dev part."""

    grid: list[list[_Number]] = []
    poolings: list[str] = []
    embedding: str | None = None
    embeddings: dict[str, _Number] = {}


class Details(_Choice):
    """The details of a score that are read; a family may keep more."""

    dev: _Number | None = None
    selectivity: _Number | None = None
    leak: _Overlap | None = None
    corpus_overlap: _Overlap | None = None
    collapsed_seeds: list[_Whole] = []
    seeds: list[_FinetuningSeed] = []
    is_edge: _Flag | None = None
    is_at_last_epoch: _Flag | None = None
    texts: _Amount = 0.0
    truncated_texts: _Amount = 0.0
    data_notes: list[str] = []
    contrastive: _Stage | None = None
    cosine: _Choice | None = None
    meaning: str | None = None


class _PublicEncoder(Record):
    name: str
    sha256: _Sha256
    stage: dict[str, str] | None = None


class Score(Record):
    """A score of a run or of a baseline."""

    format: Literal[2]
    task: _Name
    family: str
    metric: str
    chance: _Number | None
    run: Annotated[str, Field(pattern=f"^{RUN_ID}$")] | None
    baseline: _Name | None
    encoder: _PublicEncoder | None = None
    attention: Literal["native", "bidirectional"]
    status: Literal["ok", "not_applicable"]
    value: _Number | None
    stderr: _Amount | None
    metrics: dict[str, tuple[_Number, _Amount]]
    details: Details
    data_sha256: _Sha256
    probe_settings: dict[str, Any]
    task_code_sha256: _Sha256
    seconds: _Amount
    examples: _Count
    outcomes_sha256: _Sha256 | None = None
    sha256: _Sha256 | None = None
    is_own: _Flag = False
    is_diagnostic: _Flag = False

    @model_validator(mode="after")
    def _is_whole(self) -> Score:
        if (self.run is None) == (self.baseline is None):
            raise ValueError("a score belongs to a run or to a baseline, and to one of them only")
        if self.status == "ok" and (self.value is None or self.stderr is None):
            raise ValueError("a score that is ok has a value and a stderr")
        return self
