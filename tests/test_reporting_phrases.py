from __future__ import annotations

from bench.reporting.phrases import listing


def test_names_in_a_sentence() -> None:
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listing(["span", "causal, bidirectional"]) == 'span and "causal, bidirectional"'
