"""The conformance kit for authors of objectives and tasks: the contract as checks that run.

    bench check mine                       # every check, as a readable report

    from bench.testing import parametrize_with_checks

    @parametrize_with_checks([Mine, Mine(rate=0.3), MyTask])
    def test_conformance(item, check):     # one test per check
        check(item)

A check is a function that returns nothing or raises `ContractError`: `check_hidden_tokens(Mine())`.
"""

from bench.testing.checks.corruption import (
    check_fixed_shapes,
    check_labels,
    check_shapes,
    check_special_tokens,
)
from bench.testing.checks.declaration import (
    check_light_import,
    check_metadata,
    check_settings,
    check_task_metadata,
)
from bench.testing.checks.feedback import check_feedback
from bench.testing.checks.leaks import check_future, check_hidden_tokens
from bench.testing.checks.learning import (
    check_cost,
    check_gradient,
    check_learning,
    check_micro_batches,
    check_short_rows,
    check_token_head,
)
from bench.testing.checks.planting import plant_answers
from bench.testing.checks.predictions import (
    check_quota,
    check_vectorized,
    check_visible_labels,
)
from bench.testing.checks.purity import (
    check_batch_untouched,
    check_head,
    check_process_untouched,
    check_reproducible,
    check_rows_independent,
    check_static_masking,
)
from bench.testing.checks.readers import Answers, SyntheticReader, direction
from bench.testing.checks.tasks import (
    check_deterministic,
    check_examples,
    check_missing_data,
    check_not_applicable,
    check_outcomes,
    check_planted_features,
    check_random_features,
    check_reader_untouched,
)
from bench.testing.conformance import (
    OBJECTIVE_CHECKS,
    TASK_CHECKS,
    checks_of,
    examine,
    parametrize_with_checks,
)
from bench.testing.findings import ContractError, Finding, Inapplicable, Unchecked
from bench.testing.samples import (
    SAMPLE_VOCABULARY,
    SCATTERED_VOCABULARY,
    rows_of,
    sample_batch,
    short_batch,
)

__all__ = [
    "OBJECTIVE_CHECKS",
    "SAMPLE_VOCABULARY",
    "SCATTERED_VOCABULARY",
    "TASK_CHECKS",
    "Answers",
    "ContractError",
    "Finding",
    "Inapplicable",
    "SyntheticReader",
    "Unchecked",
    "check_batch_untouched",
    "check_cost",
    "check_deterministic",
    "check_examples",
    "check_feedback",
    "check_fixed_shapes",
    "check_future",
    "check_gradient",
    "check_head",
    "check_hidden_tokens",
    "check_labels",
    "check_learning",
    "check_light_import",
    "check_metadata",
    "check_micro_batches",
    "check_missing_data",
    "check_not_applicable",
    "check_outcomes",
    "check_planted_features",
    "check_process_untouched",
    "check_quota",
    "check_random_features",
    "check_reader_untouched",
    "check_reproducible",
    "check_rows_independent",
    "check_settings",
    "check_shapes",
    "check_short_rows",
    "check_special_tokens",
    "check_static_masking",
    "check_task_metadata",
    "check_token_head",
    "check_vectorized",
    "check_visible_labels",
    "checks_of",
    "direction",
    "examine",
    "parametrize_with_checks",
    "plant_answers",
    "rows_of",
    "sample_batch",
    "short_batch",
]
