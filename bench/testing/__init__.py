"""For those who write objectives and tasks: what they must hold to, as checks to run.

    bench check mine                       every check, as a person reads it

    from bench.testing import parametrize_with_checks

    @parametrize_with_checks([Mine, Mine(rate=0.3), MyTask])
    def test_conformance(item, check):     # every check, a test each
        check(item)

A check is a plain function too: `check_hidden_tokens(Mine())` raises `Broken` or does nothing.
"""

from bench.testing.conformance import (
    OBJECTIVE_CHECKS,
    TASK_CHECKS,
    checks_of,
    examine,
    parametrize_with_checks,
)
from bench.testing.findings import Broken, Finding, Inapplicable, Unchecked
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
    "Broken",
    "Finding",
    "Inapplicable",
    "Unchecked",
    "checks_of",
    "examine",
    "parametrize_with_checks",
    "rows_of",
    "sample_batch",
    "short_batch",
]
