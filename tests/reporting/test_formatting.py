from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bench.reporting.formatting import decimal, listing


def test_names_in_a_sentence() -> None:
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listing(["span", "causal, bidirectional"]) == 'span and "causal, bidirectional"'


@given(st.integers(-(10**5), 10**5), st.integers(-3, 3))
def test_rounding_does_not_depend_on_the_last_bits(twentieths: int, bits: int) -> None:
    value = twentieths / 20
    nudged = value
    for _ in range(abs(bits)):
        nudged = math.nextafter(nudged, math.copysign(math.inf, bits))
    assert decimal(nudged) == decimal(value)
    assert abs(float(decimal(value)) - value) <= 0.05 + 1e-9


def test_zero_has_no_minus() -> None:
    assert [decimal(-0.04), decimal(-0.04, sign="+"), decimal(0.25, 0)] == ["0.0", "+0.0", "0"]
    assert decimal(math.nan) == "nan"
