"""A fault for every check of an objective: it fails that check and passes all others."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from bench.pretraining.objective import Objective
from bench.testing import OBJECTIVE_CHECKS
from bench.testing.findings import run_check
from tests.helpers.faults import by_name, failed_checks, failure_message
from tests.testing.checks.faulty_objectives import (
    FAULTS,
    Boundless,
    Careless,
    Comparing,
    Counting,
    CountingChooser,
    Crashing,
    CrashingChooser,
    Detached,
    Fine,
    FineCausal,
    FinePairs,
    Forgetful,
    Greedy,
    GreedyChooser,
    LoopingColumns,
    Misnamed,
    Mistitled,
    Peeking,
    Scribbling,
    Seeding,
    ShortChooser,
    SpecialChooser,
    Spending,
    WideChooser,
)

CHECKS = by_name(OBJECTIVE_CHECKS)


def test_every_check_has_its_fault() -> None:
    assert list(FAULTS) == list(CHECKS)


@pytest.mark.parametrize("cls", [Fine, FineCausal])
def test_a_correct_objective_passes(cls: type[Objective]) -> None:
    assert failed_checks(cls(), CHECKS) == []


def test_rows_are_compared_in_the_declared_groups_only() -> None:
    assert failed_checks(FinePairs(), {"micro_batches": CHECKS["micro_batches"]}) == []
    says = "expected sums and counts to add up over micro-batches"
    assert says in failure_message(Comparing(), CHECKS["micro_batches"])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_its_check(name: str) -> None:
    failure_message(FAULTS[name](), CHECKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_no_other_check(name: str) -> None:
    assert failed_checks(FAULTS[name](), CHECKS) == [name]


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (Boundless, "expected weight to refuse NaN and values out of range; saw weight = nan"),
        (Greedy, r"saw id 59 for the special token 8 at position \d+ of row \d"),
        (Scribbling, r"saw batch\.sentence_start changed; look at Scribbling\.corrupt \(faulty_"),
        (Seeding, "saw torch's global generator changed"),
        (Counting, r"saw extras\['place'\] differ for rows \[5\] of 6 taken alone"),
        (Peeking, "expected no prediction to see its own label"),
        (Detached, r"saw none in embeddings\.norm\.weight, layers\.0"),
        (Spending, "expected the encoder to read the declared 144 positions .*; saw 288"),
    ],
)
def test_a_message_names_the_observation_and_the_place(cls: type[Objective], says: str) -> None:
    name = next(name for name, fault in FAULTS.items() if fault is cls)
    message = run_check(CHECKS[name], cls()).message
    assert re.search(says, message), message


@pytest.mark.parametrize(
    ("cls", "says"),
    [(Careless, "a docstring under the setting extra"), (Forgetful, "is @settings missing")],
)
def test_a_setting_without_help_or_declaration_fails(cls: type[Objective], says: str) -> None:
    assert says in run_check(CHECKS["settings"], cls()).message


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (Mistitled(), "expected the property display_name to be 'fine' with default settings"),
        (Misnamed(rate=0.5), "expected display_name to begin with 'fine'; saw 'rate 0.5'"),
    ],
)
def test_the_display_name_is_checked(objective: Objective, says: str) -> None:
    assert says in failure_message(objective, CHECKS["metadata"])


def test_a_crash_is_a_finding() -> None:
    finding = run_check(CHECKS["shapes"], Crashing())
    assert finding.status == "failed"
    assert "IndexError: no such place; look at corrupt (faulty_objectives.py:" in finding.message


def test_a_check_restores_the_state_of_the_process() -> None:
    before = torch.get_rng_state()
    run_check(CHECKS["process_untouched"], Seeding())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("cls", "name", "says"),
    [
        (
            GreedyChooser,
            "quota",
            r"expected at most quota chosen tokens in each row; saw 2\d, quota",
        ),
        (ShortChooser, "shapes", r"choose to return bool\[6, 24\], .*; saw bool\[6, 23\]"),
        (WideChooser, "shapes", r"saw bool\[1, 24\]"),
        (CountingChooser, "shapes", r"saw int64\[6, 24\]"),
        (SpecialChooser, "labels", r"saw the special token \d+ as a label"),
        (CrashingChooser, "shapes", "expected no error; saw "),
    ],
)
def test_a_fault_of_choose_points_at_choose(cls: type[Objective], name: str, says: str) -> None:
    message = failure_message(cls(), CHECKS[name])
    assert re.search(says, message), message
    where = r"look at (\w+Chooser\.)?choose \(faulty_objectives\.py:\d+\)"
    assert re.search(where, message), message


def test_a_loop_over_positions_is_noticed() -> None:
    assert "tokens looped" in failure_message(LoopingColumns(), CHECKS["vectorized"])


def test_a_trace_function_survives_the_count_of_bytecodes() -> None:
    def trace(*_: object) -> None: ...

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        run_check(CHECKS["vectorized"], Fine())
        assert sys.gettrace() is trace
    finally:
        sys.settrace(previous)
