"""The list of checks for objectives and for tasks, run as a report or as pytest tests."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.pretraining.objective import Objective
from bench.probing.task import DataRoot, Task
from bench.testing.checks import (
    corruption,
    declaration,
    feedback,
    leaks,
    learning,
    predictions,
    purity,
)
from bench.testing.checks import tasks as task_checks
from bench.testing.findings import (
    Finding,
    Inapplicable,
    Unchecked,
    preserved,
    run_check,
    short_name,
)

if TYPE_CHECKING:
    import pytest

Check = Callable[..., None]

OBJECTIVE_CHECKS: tuple[Check, ...] = (
    declaration.check_metadata,
    declaration.check_settings,
    declaration.check_light_import,
    corruption.check_shapes,
    corruption.check_fixed_shapes,
    corruption.check_special_tokens,
    corruption.check_labels,
    predictions.check_quota,
    predictions.check_visible_labels,
    predictions.check_vectorized,
    purity.check_batch_untouched,
    purity.check_process_untouched,
    purity.check_head,
    purity.check_reproducible,
    purity.check_static_masking,
    purity.check_rows_independent,
    leaks.check_hidden_tokens,
    leaks.check_future,
    learning.check_short_rows,
    learning.check_micro_batches,
    learning.check_token_head,
    learning.check_gradient,
    learning.check_learning,
    learning.check_cost,
    feedback.check_feedback,
)
"""The checks of an objective, each called with an instance."""

TASK_CHECKS: tuple[Check, ...] = (
    declaration.check_task_metadata,
    declaration.check_light_import,
    task_checks.check_missing_data,
    task_checks.check_examples,
    task_checks.check_deterministic,
    task_checks.check_outcomes,
    task_checks.check_random_features,
    task_checks.check_planted_features,
    task_checks.check_not_applicable,
    task_checks.check_reader_untouched,
)
"""The checks of a task, each called with an instance and the root of its data."""


def checks_of(item: Any, data: DataRoot | None = None) -> list[Check]:
    """The checks for an objective or a task, each to be called with the item.

    Args:
        item: A class or an instance.
        data: The root of a task's data; ignored for an objective.

    Raises:
        BenchError: The item is neither an objective nor a task.
    """
    cls = item if inspect.isclass(item) else type(item)
    if issubclass(cls, Objective):
        return list(OBJECTIVE_CHECKS)
    if issubclass(cls, Task):
        return [
            functools.wraps(check)(functools.partial(check, data=data))
            if check.__module__ == task_checks.__name__
            else check
            for check in TASK_CHECKS
        ]
    raise BenchError(f"{cls.__name__} is neither a bench.Objective nor a bench.Task")


def examine(item: Any, data: DataRoot | None = None) -> list[Finding]:
    """Run every check on an objective or a task and return the findings.

    Args:
        item: A class (with its default settings) or an instance.
        data: The root of a task's data.
    """
    checks = checks_of(item, data)
    try:
        built = item() if inspect.isclass(item) else item
    except Exception as error:  # the constructor of a plugin may raise anything
        text = f"expected default settings to be enough; saw {type(error).__name__}: {error}"
        return [Finding("metadata", "failed", text)]
    return [run_check(check, built) for check in checks]


def parametrize_with_checks(
    items: Iterable[Any], data: DataRoot | None = None
) -> pytest.MarkDecorator:
    """Make one pytest test of every check on every item.

        @parametrize_with_checks([Mine, Mine(rate=0.3), MyTask])
        def test_conformance(item, check):
            check(item)

    Args:
        items: Objectives and tasks, as classes or instances.
        data: The root of the tasks' data; tasks without data are skipped, with the reason.
    """
    import pytest

    cases = []
    for item in items:
        built: Any = item() if inspect.isclass(item) else item
        title = built.display_name if isinstance(built, Objective) else built.name
        for check in checks_of(built, data):
            name = short_name(check)
            cases.append(pytest.param(built, _skipping(check), id=f"{title}-{name}"))
    return pytest.mark.parametrize(("item", "check"), cases)


def _skipping(check: Check) -> Check:
    """The check for pytest, skipped with the reason where it does not apply or lacks data."""

    @functools.wraps(check)
    def checked(item: Any) -> None:
        import pytest

        try:
            with preserved():
                check(item)
        except (Inapplicable, Unchecked) as reason:
            pytest.skip(str(reason))

    return checked
