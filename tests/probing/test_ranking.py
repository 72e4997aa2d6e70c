"""Rankings and their metrics, against trec_eval and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.probing.ranking import (
    METRICS,
    NO_DOCUMENT,
    BestDocuments,
    expected_gain,
    normalized_gain,
    ranking_order,
    ranking_outcomes,
    recall,
    reciprocal_rank,
)

scores = st.lists(st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=60)


def outcomes(names: list[str], values: np.ndarray, relevant: list[dict[str, int]]) -> dict:
    """The metrics of documents by name, as a task computes them."""
    order = ranking_order(names)
    place = {names[i]: k for k, i in enumerate(order)}
    best = BestDocuments(len(values))
    best.add(values[:, order], 0)
    gains = [{place[one]: float(g) for one, g in own.items() if g > 0} for own in relevant]
    return ranking_outcomes(best.ranking(), gains)


def test_the_metrics_are_those_of_trec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    generator = np.random.default_rng(0)
    names = [f"d{i}" for i in generator.permutation(300)]  # d9 is after d10 as a string
    values = generator.integers(0, 40, (50, 300)) / 8  # seven documents share each score
    values[25:] = generator.normal(size=(25, 300))
    relevant = [
        {names[i]: int(generator.integers(0, 4)) for i in generator.permutation(300)[:25]}
        for _ in range(50)
    ]
    ours = outcomes(names, values, relevant)
    judged = {str(q): own for q, own in enumerate(relevant)}
    run = {str(q): dict(zip(names, map(float, row), strict=True)) for q, row in enumerate(values)}
    measures = {"ndcg_cut.10", "recall.100", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(run)
    rows = [theirs[str(q)] for q in range(50)]
    np.testing.assert_allclose(ours["ndcg@10"], [row["ndcg_cut_10"] for row in rows])
    np.testing.assert_allclose(ours["recall@100"], [row["recall_100"] for row in rows])
    rank = np.array([row["recip_rank"] for row in rows])
    np.testing.assert_allclose(ours["mrr@10"], np.where(rank >= 1 / 10 - 1e-9, rank, 0.0))
    assert (rank < 1 / 10).any()


def test_scores_are_compared_in_single_precision_as_in_trec_eval() -> None:
    best = BestDocuments(1)
    best.add(np.array([[0.5, 0.5 + 1e-12, 0.5 - 1e-12]]), 0)
    assert best.ranking().tolist() == [[0, 1, 2]]


def test_metrics_by_hand() -> None:
    ranking = np.array([7, 1, 5, 0])
    assert normalized_gain(ranking, {1: 1.0}) == pytest.approx(1 / np.log2(3))
    both = normalized_gain(np.array([1, 5, 0]), {0: 3.0, 1: 1.0})
    assert both == pytest.approx((1 + 3 / 2) / (3 + 1 / np.log2(3)))
    assert recall(ranking, {1: 1.0, 0: 2.0, 9: 1.0, 8: 1.0}) == 0.5
    assert reciprocal_rank(ranking, {0: 1.0, 5: 1.0}) == pytest.approx(1 / 3)
    late = np.arange(12)
    assert (reciprocal_rank(late, {10: 1.0}), reciprocal_rank(late, {9: 1.0})) == (0.0, 0.1)
    assert recall(np.arange(120), {100: 1.0, 99: 1.0}) == 0.5


def test_the_expected_gain_is_the_mean_of_random_orders() -> None:
    gains = {0: 3.0, 4: 1.0, 7: 1.0}
    generator = np.random.default_rng(0)
    drawn = [normalized_gain(generator.permutation(30), gains) for _ in range(4_000)]
    error = np.std(drawn) / len(drawn) ** 0.5
    assert expected_gain(30, gains) == pytest.approx(np.mean(drawn), abs=3 * error)
    assert expected_gain(1, {0: 2.0}) == 1.0


@given(scores, st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=60)
def test_the_order_of_documents_changes_no_score(values: list[float], seed: int) -> None:
    names = [f"d{i}" for i in range(len(values))]
    relevant = [{name: i % 3 for i, name in enumerate(names)} | {names[0]: 1}]
    order = np.random.default_rng(seed).permutation(len(values))
    first = outcomes(names, np.array([values]), relevant)
    other = outcomes([names[i] for i in order], np.array([values])[:, order], relevant)
    for metric in METRICS:
        np.testing.assert_array_equal(first[metric], other[metric])


@given(scores, st.integers(1, 7), st.integers(1, 20))
@hypothesis_settings(max_examples=60)
def test_documents_in_parts_give_the_ranking_of_all(
    values: list[float], size: int, depth: int
) -> None:
    row = np.array([values, values[::-1]])
    best = BestDocuments(2, depth)
    for start in range(0, len(values), size):
        best.add(row[:, start : start + size], start)
    expected = np.argsort(-row, axis=1, kind="stable")[:, :depth]
    np.testing.assert_array_equal(best.ranking(), expected)


def test_a_document_of_minus_infinity_is_in_no_ranking() -> None:
    best = BestDocuments(1)
    best.add(np.array([[1.0, -np.inf, -3e38]]), 0)
    assert best.ranking().tolist() == [[0, 2, NO_DOCUMENT]]
    assert recall(best.ranking()[0], {1: 1.0}) == 0.0
