"""Rates of corruption: a constant share of the tokens, or a linear schedule over the budget.

A schedule follows Ankner et al. 2024, who decrease the rate linearly during pretraining. It is
written as text, `0.30->0.15`, so that a rate is one setting on the command line and in a record.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _endpoints(rate: float | str) -> tuple[float, float]:
    """The rate at the start and at the end of the budget."""
    start, arrow, end = str(rate).partition("->")
    return float(start), float(end if arrow else start)


def _validate(rate: float | str) -> float | str:
    try:
        is_valid = all(0.0 <= endpoint <= 1.0 for endpoint in _endpoints(rate))
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"a rate must be a number from 0 to 1, or two of them as in 0.30->0.15; got {rate!r}"
        )
    return rate if "->" in str(rate) else float(rate)


Rate = Annotated[float | str, AfterValidator(_validate)]
"""A share of tokens, or the start and the end of a linear schedule: `0.30->0.15`."""


def rate_at(rate: float | str, progress: float) -> float:
    """The rate after a share `progress` of the budget (0 to 1)."""
    start, end = _endpoints(rate)
    return start + (end - start) * progress


def highest_rate(rate: float | str) -> float:
    """The maximum of the rate over the budget; fixed shapes must have room for it."""
    return max(_endpoints(rate))
