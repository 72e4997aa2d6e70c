"""Every built-in objective and task keeps the contract that plugins must keep."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from bench.probing.task import DataRoot
from bench.testing import (
    OBJECTIVE_CHECKS,
    check_light_import,
    check_missing_data,
    check_task_metadata,
    examine,
    parametrize_with_checks,
)
from bench.testing.report import data_root
from tests.helpers.paths import SHARED
from tests.helpers.registry import REGISTRY

TEXTS = SHARED / "corpora" / "wikitext"
OBJECTIVES = REGISTRY.of("objective")
TASKS = REGISTRY.of("task")
MODULES = {item.__module__: item for item in (*OBJECTIVES.values(), *TASKS.values())}


@functools.cache
def real_data() -> DataRoot:
    """The labelled data and the text for self-supervised tasks, as far as they are at hand."""
    folder = SHARED / "tasks"
    texts = [str(TEXTS)] if TEXTS.is_dir() else None
    return data_root(folder if folder.is_dir() else None, texts, None)


@parametrize_with_checks(OBJECTIVES.values())
def test_objective(item: Any, check: Any) -> None:
    if check.__name__ == check_light_import.__name__:
        pytest.skip("it starts a process; test_light_import runs it")
    check(item)


@pytest.mark.parametrize("name", TASKS)
def test_task_metadata(name: str) -> None:
    task = TASKS[name]()
    check_task_metadata(task)
    if "require" in vars(TASKS[name]):  # others are generated, which takes a second or two
        check_missing_data(task)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_light_import(module: str) -> None:
    check_light_import(MODULES[module]())


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_task(name: str) -> None:
    findings = examine(TASKS[name], real_data())
    failures = [f"{f.check}: {f.message}" for f in findings if f.status == "failed"]
    assert not failures
    unchecked = [f.message for f in findings if f.status == "not checked"]
    if unchecked:
        pytest.skip(unchecked[0])


def test_checks_are_public() -> None:
    import bench.testing

    for check in OBJECTIVE_CHECKS:
        assert getattr(bench.testing, check.__name__) is check
        assert check.__doc__
