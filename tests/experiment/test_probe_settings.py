"""Settings of probes and of fine-tuning, from the command line to the task."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.experiment.tasks import read_probe_settings
from tests.helpers.registry import REGISTRY

TASKS = {name: REGISTRY.get("task", name) for name in ("word_class", "entities", "agreement")}


def test_every_combination_is_evaluated():
    overrides = {"probe": {"max_train_examples": "32|128"}, "finetune": {"max_epochs": 3}}
    assert read_probe_settings(overrides, TASKS) == (
        {"probe": {"max_train_examples": "32"}, "finetune": {"max_epochs": 3}},
        {"probe": {"max_train_examples": "128"}, "finetune": {"max_epochs": 3}},
    )
    assert read_probe_settings({}, TASKS) == ({},)


def test_a_setting_changes_the_identity_of_tasks_that_have_it():
    task, other = TASKS["word_class"](), TASKS["agreement"]()
    before = task.identity()
    for each in (task, other):
        each.configure({"probe": {"readouts": "layer,all", "max_train_examples": "32"}})
    assert task.identity() == before | {"readouts": ["layer", "all"], "max_train_examples": 32}
    assert TASKS["word_class"]().identity() == before  # another task object is not changed
    task.probe = "finetune"
    task.configure({"finetune": {"learning_rates": "1e-4,1e-3"}})
    assert task.identity()["learning_rates"] == [1e-4, 1e-3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"probe": {"c": 1}}, "no setting of probe named 'c'"),
        ({"finetune": {"epochs": 1}}, "no setting of finetune named 'epochs'.*max_epochs"),
        ({"probe": {"readouts": "layer|layer,mean"}}, "probe.readouts"),
        ({"finetune": {"max_epochs": "3|none"}}, "finetune.max_epochs"),
    ],
)
def test_mistakes_are_named_before_anything_runs(overrides, message):
    with pytest.raises(BenchError, match=message):
        read_probe_settings(overrides, TASKS)
