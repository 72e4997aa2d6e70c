"""The contract of a task: the declared metric and chance level, and those of loaded examples."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.probing.task import DataRoot, Score, Splits, Task

FRAME = pd.DataFrame()


class Declared(Task):
    name, summary, source, family, metric, chance = "declared", "", "", "none", "accuracy", 0.5

    def load(self, data: DataRoot) -> Splits:
        return Splits(FRAME, FRAME, "0" * 64)

    def score(self, reader, splits, noise) -> Score:
        raise NotImplementedError


class Undeclared(Declared):
    chance = None


@pytest.mark.parametrize(
    ("task", "metric", "chance", "expected"),
    [
        (Declared, None, None, ("accuracy", 0.5)),
        (Declared, "f1", 0.0, ("f1", 0.0)),
        (Undeclared, None, None, ("accuracy", None)),
        (Undeclared, None, 0.25, ("accuracy", 0.25)),
    ],
)
def test_the_examples_take_precedence_over_the_declaration(task, metric, chance, expected) -> None:
    splits = Splits(FRAME, FRAME, "0" * 64, metric=metric, chance=chance)
    assert (task().metric_of(splits), task().chance_of(splits)) == expected


def test_the_identity_has_the_probe_only_where_there_is_a_choice() -> None:
    class Probed(Declared):
        probes = ("linear", "knn")

    assert Declared().identity() == {}
    assert Probed().identity() == {"probe": "linear"}
