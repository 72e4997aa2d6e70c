"""Equal tuning: every objective gets the same trials of some settings at a tenth of the budget.

The choice is made on held-out loss of the same objective (losses of different objectives are not
comparable), or on the dev parts of the self-supervised tasks, and never on a reported split. Rows
that were tuned with the same trials share a table, whatever was chosen.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError
from bench.settings import as_mapping, from_mapping, sha256_json

if TYPE_CHECKING:
    from bench.pretraining.objective import Objective
    from bench.spec import Training

TRIAL_SHARE = 0.1
"""Share of the budget that each trial gets."""
On = Literal["loss", "self"]
Combination = dict[tuple[str, str], str]
"""(owner, setting) -> value."""


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The settings that are tuned, with the values that each objective tries."""

    settings: Mapping[tuple[str, str], tuple[str, ...]]
    on: On = "loss"
    """The criterion: the held-out loss, or the dev parts of the self-supervised tasks."""

    @property
    def labels(self) -> tuple[str, ...]:
        """`training.learning_rate=0.001,0.002`, for records and titles."""
        return tuple(
            f"{owner}.{name}={','.join(values)}" for (owner, name), values in self.settings.items()
        )

    def combinations(self, objective: Objective) -> list[Combination]:
        """The trials of one objective: its own settings, and those of training."""
        own = {
            key: values
            for key, values in self.settings.items()
            if key[0] in ("training", objective.name)
        }
        return [dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]


@dataclasses.dataclass(frozen=True)
class Choice:
    """The choice of tuning for one objective."""

    objective: Objective
    training: Training
    trials: tuple[tuple[str, float], ...]
    """Settings as text, and the loss (or 1 - the mean dev score) of each trial."""
    chosen: str
    edges: tuple[str, ...]
    """Settings whose chosen value is the first or the last one that was tried."""
    tokens: float
    seconds: float

    def to_json(self, labels: tuple[str, ...], on: On) -> dict[str, Any]:
        """Plain values for the run's record."""
        return {
            "settings": list(labels),
            "on": on,
            "trials": [
                [text, value if math.isfinite(value) else None] for text, value in self.trials
            ],
            "chosen": self.chosen,
            "edges": list(self.edges),
            "tokens": self.tokens,
            "seconds": self.seconds,
        }


def read_tuning(
    tune: str | Iterable[str], on: str, objectives: Mapping[str, Objective], training: Training
) -> Tuning | None:
    """Read `OWNER.SETTING=V,V,...` items; None if there are none.

    Raises:
        BenchError: Not of that form, an unknown or impossible setting, or one that cannot be
            tuned on the loss.
    """
    if on not in ("loss", "self"):
        raise BenchError(f"--tune-on {on!r} is none of loss, self")
    settings: dict[tuple[str, str], tuple[str, ...]] = {}
    for item in [tune] if isinstance(tune, str) else tune:
        match = re.fullmatch(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)=(.+)", str(item), re.DOTALL)
        values = tuple(v.strip() for v in match[3].split(",") if v.strip()) if match else ()
        form = BenchError(
            f"--tune {item!r}: write OWNER.SETTING=VALUE,VALUE,... with two values or more, as "
            "training.learning_rate=5e-4,1e-3,2e-3,4e-3"
        )
        if match is None:
            raise form
        owner, name = match[1].replace("-", "_"), match[2].replace("-", "_")
        named = [one for one in objectives.values() if one.name == owner and one.trains]
        if owner != "training" and not named:
            owners = dict.fromkeys(one.name for one in objectives.values() if one.trains)
            raise BenchError(
                f"--tune {item}: {owner!r} has no settings to tune; they belong to training or to "
                f"an objective of this command ({', '.join(owners)}). The encoder is the same for "
                "every objective"
            )
        if owner != "training" and on == "loss":
            raise BenchError(
                f"--tune {item}: losses of {owner} at different values of {name} are not "
                "comparable; choose on the self-supervised tasks with --tune-on self"
            )
        bases = [training] if owner == "training" else named
        values = (*settings.get((owner, name), ()), *values)
        settings[owner, name] = _canonical(values, name, owner, bases)
        if len(settings[owner, name]) < 2:
            raise form
    _refuse_equal_variants(settings, objectives)
    return Tuning(settings, on) if settings else None  # type: ignore[arg-type]


def _refuse_equal_variants(
    settings: Iterable[tuple[str, str]], objectives: Mapping[str, Objective]
) -> None:
    """Refuse variants that differ in a tuned setting only: they would become one.

    Raises:
        BenchError: There are some.
    """
    tuned = {*settings}
    known: dict[str, str] = {}
    for shown, one in objectives.items():
        rest = {k: v for k, v in as_mapping(one).items() if (one.name, k) not in tuned}
        other = known.setdefault(sha256_json([one.name, rest]), shown)
        if other != shown:
            raise BenchError(
                f"--tune chooses the setting in which {other} and {shown} differ, so both would "
                "be one objective; name it once"
            )


def _canonical(
    values: Iterable[str], name: str, owner: str, bases: Iterable[Training | Objective]
) -> tuple[str, ...]:
    """The values in one spelling (`1e-3` is `0.001`) and numbers from the lowest to the highest.

    So the same bracket is the same comparison, however it is written, and its edges are its ends.
    """
    read: dict[Any, None] = {}
    for value in values:
        for base in bases:
            checked = from_mapping(type(base), as_mapping(base) | {name: value}, owner)
            read[as_mapping(checked)[name]] = None
    is_number = all(isinstance(value, int | float) for value in read)
    return tuple(str(value) for value in (sorted(read) if is_number else read))


def applied(
    combination: Combination, objective: Objective, training: Training
) -> tuple[Objective, Training]:
    """Objective and training with the values of a trial."""
    own = {name: value for (owner, name), value in combination.items() if owner != "training"}
    shared = {name: value for (owner, name), value in combination.items() if owner == "training"}
    return (
        from_mapping(type(objective), as_mapping(objective) | own, objective.name),
        from_mapping(type(training), as_mapping(training) | shared, "training"),
    )


def choose(
    tuning: Tuning,
    objective: Objective,
    training: Training,
    values: list[float],
    tokens: float,
    seconds: float,
) -> Choice:
    """The best trial of an objective.

    Args:
        tuning: What was tried.
        objective: The objective before tuning.
        training: The training before tuning.
        values: The loss of each combination; not finite where the trial diverged.
        tokens: Tokens of all trials together.
        seconds: Seconds of all trials together.

    Raises:
        BenchError: Every trial diverged.
    """
    combinations = tuning.combinations(objective)
    finite = [value if math.isfinite(value) else math.inf for value in values]
    if min(finite) == math.inf:
        raise BenchError(
            f"--tune: every trial of {objective.display_name} diverged or has no validation loss; "
            "try lower learning rates, or a corpus of more than one document"
        )
    best = combinations[finite.index(min(finite))]
    edges = tuple(
        f"{owner}.{name}={value}"
        for (owner, name), value in best.items()
        if value in (tuning.settings[owner, name][0], tuning.settings[owner, name][-1])
        and len(tuning.settings[owner, name]) > 2
    )
    chosen_objective, chosen_training = applied(best, objective, training)
    return Choice(
        chosen_objective,
        chosen_training,
        tuple((text_of(one), value) for one, value in zip(combinations, values, strict=True)),
        text_of(best),
        edges,
        tokens,
        seconds,
    )


def text_of(combination: Combination) -> str:
    """A combination as `training.learning_rate=0.002, span.rate=0.3`."""
    return ", ".join(f"{owner}.{name}={value}" for (owner, name), value in combination.items())
