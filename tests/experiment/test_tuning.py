"""Equal tuning: what may be tuned, what is chosen, and that tuned rows share a table."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from bench.errors import BenchError
from bench.experiment import resolve
from bench.experiment.objectives import variants
from bench.experiment.options import check_difference
from bench.experiment.tuning import applied, choose, read_tuning
from bench.sizes import SIZES
from bench.spec import RunSpec
from tests.helpers.registry import REGISTRY

TRAINING = SIZES["tiny"].training
OBJECTIVES = {name: REGISTRY.get("objective", name)() for name in ("token", "span", "untrained")}
RATES = "training.learning_rate=1e-3,2e-3,4e-3"


def test_every_objective_gets_the_same_trials() -> None:
    tuning = read_tuning([RATES, "training.weight_decay=0.01,0.1"], "loss", OBJECTIVES, TRAINING)
    assert tuning is not None
    counts = [len(tuning.combinations(one)) for one in OBJECTIVES.values()]
    assert counts == [6, 6, 6]
    _, training = applied(
        tuning.combinations(OBJECTIVES["token"])[-1], OBJECTIVES["token"], TRAINING
    )
    assert (training.learning_rate, training.weight_decay) == (4e-3, 0.1)
    assert read_tuning((), "loss", OBJECTIVES, TRAINING) is None


def test_the_lowest_loss_is_chosen_and_the_edge_is_named() -> None:
    tuning = read_tuning(RATES, "loss", OBJECTIVES, TRAINING)
    assert tuning is not None
    inner = choose(tuning, OBJECTIVES["token"], TRAINING, [5.0, 4.0, math.nan], 30.0, 2.0)
    assert (inner.training.learning_rate, inner.edges) == (2e-3, ())
    assert inner.to_json(tuning.labels, "loss")["trials"][2][1] is None
    edge = choose(tuning, OBJECTIVES["token"], TRAINING, [5.0, 4.0, 3.0], 30.0, 2.0)
    assert edge.edges == ("training.learning_rate=0.004",)
    with pytest.raises(BenchError, match="every trial of token diverged"):
        choose(tuning, OBJECTIVES["token"], TRAINING, [math.inf, math.nan, math.inf], 1.0, 1.0)


def test_one_bracket_has_one_spelling() -> None:
    """Else the same trials would be two comparisons, and edges would depend on the order."""
    spellings = (RATES, "training.learning-rate=0.004,0.001,2e-3,0.0020")
    labels = {
        tuning.labels
        for item in spellings
        if (tuning := read_tuning(item, "loss", OBJECTIVES, TRAINING)) is not None
    }
    assert labels == {("training.learning_rate=0.001,0.002,0.004",)}


@pytest.mark.parametrize(
    ("item", "on", "message"),
    [
        ("training.learning_rate", "loss", "write OWNER.SETTING=VALUE,VALUE"),
        ("training.learning_rate=1e-3", "loss", "two values or more"),
        ("training.learning_rate=1e-3,0.001", "loss", "two values or more"),
        ("training.rate=1,2", "loss", "no setting of training named 'rate'"),
        ("training.learning_rate=1e-3,-1", "loss", "training.learning_rate"),
        ("encoder.num_layers=2,3", "loss", "The encoder is the same for every objective"),
        ("causal.rate=1,2", "loss", "belong to training or to an objective of this command"),
        ("span.rate=0.15,0.3", "loss", "not comparable; choose on the self-supervised tasks"),
        (RATES, "test", "none of loss, self"),
    ],
)
def test_what_cannot_be_tuned_is_refused(item: str, on: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        read_tuning(item, on, OBJECTIVES, TRAINING)


def test_tuned_rows_share_a_table_and_not_with_others() -> None:
    def spec(rate: float, tuned: tuple[str, ...]) -> RunSpec:
        experiment = resolve("token", REGISTRY, tasks="none", device="cpu")
        return RunSpec(
            objective="token", settings={}, objective_code="0" * 64, seed=0, size="tiny",
            encoder=experiment.shape,
            training=dataclasses.replace(experiment.training, learning_rate=rate),
            budget=experiment.budget, corpus_sha256="", tokenizer_sha256="", device="cpu",
            torch_version="2", display_name="token", tuned=tuned,
        )  # fmt: skip

    low, high = (spec(rate, (RATES,)) for rate in (1e-3, 4e-3))
    assert low.comparison == high.comparison
    assert low.id != high.id
    assert spec(1e-3, ()).comparison != low.comparison
    assert spec(1e-3, (f"{RATES},8e-3",)).comparison != low.comparison
    assert RunSpec.from_json(low.to_json()) == low


def test_lists_of_one_setting_are_united() -> None:
    experiment = resolve(
        "token", REGISTRY, tasks="none", device="cpu",
        tune=["training.learning_rate=1e-3,2e-3", "training.learning_rate=2e-3,4e-3"],
    )  # fmt: skip
    assert experiment.tuning is not None
    assert experiment.tuning.labels == ("training.learning_rate=0.001,0.002,0.004",)


def test_variants_that_tuning_would_unite_are_refused() -> None:
    with pytest.raises(BenchError, match="both would be one objective"):
        resolve(
            "token(rate=0.15|0.3)", REGISTRY, device="cpu",
            tune="token.rate=0.15,0.3", tune_on="self",
        )  # fmt: skip


@pytest.mark.parametrize("name", ["task", "tune", "encoder", "ladder", "probe", "settings"])
@pytest.mark.parametrize("value", [5, [5]])
def test_an_argument_of_another_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(BenchError, match=f"{name}: give a text or a list of texts"):
        resolve("token", REGISTRY, device="cpu", **{name: value})


def test_values_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BenchError, match="--detect inf"):
        check_difference(math.inf)
    with pytest.raises(BenchError, match="rate has no value"):
        variants("span", REGISTRY, rate=[])
    with pytest.raises(BenchError, match="the name or the class of an objective"):
        variants(5, REGISTRY)  # type: ignore[arg-type]
