"""The reports of a worker while it works, one JSON line per event on its standard output."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_MAX_DIGITS = 18

EventName = Literal[
    "started",
    "progress",
    "alive",
    "pretrained",
    "scoring",
    "scored",
    "note",
    "done",
    "error",
    "ended",
]


@dataclasses.dataclass(frozen=True)
class Event:
    """One report of one worker."""

    name: ClassVar[EventName]

    def to_json(self) -> dict[str, Any]:
        """Plain values that `event_of` reads."""
        return {"event": self.name, **vars(self)}

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_json())


@dataclasses.dataclass(frozen=True)
class Started(Event):
    """The engine started the worker."""

    name = "started"


@dataclasses.dataclass(frozen=True)
class Progress(Event):
    """The state of the pretraining loop."""

    name = "progress"
    share: Annotated[float, Field(ge=0.0, le=1.0)]
    """Share of the budget spent, 0..1."""
    step: int
    nats: float
    """Training loss per prediction, in nats."""
    tokens: int
    tokens_per_second: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]

    @property
    def metrics(self) -> dict[str, float]:
        """The values that a dashboard shows, by name."""
        names = {"train_nats": self.nats, "tokens": self.tokens}
        return {**names, "tokens_per_second": self.tokens_per_second}


@dataclasses.dataclass(frozen=True)
class Alive(Event):
    """Long work goes on which has nothing else to report."""

    name = "alive"


@dataclasses.dataclass(frozen=True)
class Pretrained(Event):
    """The pretraining has a folder on disk, new or found."""

    name = "pretrained"
    status: Literal["finished", "diverged"]
    steps: int
    tokens: int
    seconds: float
    validation_loss: float | None

    @property
    def metrics(self) -> dict[str, float]:
        """The values that a dashboard shows, by name."""
        loss = {} if self.validation_loss is None else {"validation_loss": self.validation_loss}
        return {"tokens": self.tokens, "seconds": self.seconds, **loss}


@dataclasses.dataclass(frozen=True)
class Scoring(Event):
    """A task is being scored."""

    name = "scoring"
    task: str
    attention: Literal["native", "bidirectional"] = "native"


@dataclasses.dataclass(frozen=True)
class Scored(Event):
    """A new score is on disk."""

    name = "scored"
    task: str
    metric: str
    probe: str
    attention: Literal["native", "bidirectional"]
    value: float | None
    """None: the task does not apply to the run."""
    stderr: float | None

    @property
    def title(self) -> str:
        """Its name in a dashboard: `sst2/linear`, `sst2/linear_bidirectional`."""
        return f"{self.task}/{self.probe}" + f"_{self.attention}" * (self.attention != "native")


@dataclasses.dataclass(frozen=True)
class Note(Event):
    """A sentence for the user."""

    name = "note"
    text: str


@dataclasses.dataclass(frozen=True)
class Done(Event):
    """The job is complete; `run_id` names the folder that exists now, if any."""

    name = "done"
    run_id: str | None
    status: Literal["finished", "diverged"]


@dataclasses.dataclass(frozen=True)
class Failure(Event):
    """The job failed, with the exit code of the error."""

    name = "error"
    message: str
    exit_code: Annotated[int, Field(ge=1, le=255)]


@dataclasses.dataclass(frozen=True)
class Ended(Event):
    """The worker process is gone; the engine adds this event itself."""

    name = "ended"


_EVENTS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (Started, Progress, Alive, Pretrained, Scoring, Scored, Note, Done, Failure, Ended)
}


def read_event(line: str) -> Event:
    """The event of one line.

    Raises:
        ValueError: The line is not one that a worker wrote, as after a kill, or if a plugin writes
            to the standard output of its process.
    """
    try:
        event = event_of(json.loads(line, parse_int=_integer))
    except RecursionError:
        raise ValueError("no event: it is nested too deeply") from None
    if isinstance(event, Started | Ended):
        raise ValueError(f"the event {event.name!r} is the engine's own")
    return event


def event_of(plain: Any) -> Event:
    """The inverse of `to_json`.

    Raises:
        ValueError: It is no event, or a field has another type.
    """
    try:
        fields = dict(plain)
        return _reader(fields.pop("event")).validate_json(json.dumps(fields), strict=True)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"no event: {str(plain)[:80]!r}") from None


@functools.cache
def _reader(name: str) -> TypeAdapter[Event]:
    from pydantic import TypeAdapter

    return TypeAdapter(_EVENTS[name])


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)
