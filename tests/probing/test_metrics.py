from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.probing.metrics import (
    bio_spans,
    f1_counts,
    label_counts,
    label_score,
    matthews,
    outcome_of,
    rank_correlation,
    rank_score,
    ratio,
    ratio_score,
    span_counts,
    standard_error,
)

LABELS = st.sampled_from(["O", "B-per", "I-per", "B-org", "I-org"])
SENTENCES = st.lists(
    st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=9), min_size=1, max_size=6
)


def spans_by_pattern(labels):
    """CoNLL's spans, read off the text of the labels with a pattern instead of a state."""
    text = "".join(f"{label} " for label in labels)
    found = set()
    for match in re.finditer(r"[BI]-(\w+) (?:I-\1 )*", text):
        first = text[: match.start()].count(" ")
        found.add((match[1], first, first + match[0].count(" ")))
    return found


@given(SENTENCES)
def test_span_f1_equals_that_of_spans_by_pattern(sentences):
    labels = [[pair[0] for pair in sentence] for sentence in sentences]
    predicted = [[pair[1] for pair in sentence] for sentence in sentences]
    sides = [[spans_by_pattern(one) for one in side] for side in (labels, predicted)]
    assert [bio_spans(one) for one in labels] == sides[0]
    matched = sum(len(a & b) for a, b in zip(*sides, strict=True))
    total = sum(len(one) for side in sides for one in side)
    expected = 2 * matched / total if total else 0.0
    assert ratio(*span_counts(labels, predicted)) == pytest.approx(expected)


@given(SENTENCES)
def test_span_f1_equals_seqeval(sentences):
    """Not in the `test` extra: its only distribution is a source that no longer builds alone."""
    f1_score = pytest.importorskip("seqeval.metrics").f1_score
    labels = [[pair[0] for pair in sentence] for sentence in sentences]
    predicted = [[pair[1] for pair in sentence] for sentence in sentences]
    reference = f1_score(labels, predicted, zero_division=0)
    assert ratio(*span_counts(labels, predicted)) == pytest.approx(reference)


def test_spans_by_hand():
    labels = ["B-per", "I-per", "B-per", "O", "I-org", "I-per", None, "I-per"]
    assert bio_spans(labels) == {
        ("per", 0, 2),
        ("per", 2, 3),
        ("org", 4, 5),
        ("per", 5, 8),  # seqeval does not see the word without a label
    }


def test_words_without_a_label_do_not_count():
    counts = label_counts([["a", None, "b"], [None]], [["a", None, "a"], [None]])
    assert [part.tolist() for part in counts] == [[1, 0], [2, 0]]


def test_one_label_per_example_gives_zeros_and_ones():
    right = np.array([1.0, 0, 0, 1, 1, 0, 1])
    assert outcome_of(right, np.ones(7)).tolist() == right.tolist()
    binomial = (ratio(right, np.ones(7)) * (1 - ratio(right, np.ones(7))) / 6) ** 0.5
    assert standard_error(right) == pytest.approx(binomial)
    assert standard_error(right[:1]) == 1.0  # a single example is no certainty


@pytest.fixture
def counts():
    generator = np.random.default_rng(3)
    num_labels = generator.integers(0, 12, 600).astype(float)
    skill = generator.beta(2, 1, 600)  # words of a sentence are correlated
    return generator.binomial(num_labels.astype(int), skill).astype(float), num_labels


def test_the_mean_of_outcomes_is_the_ratio_with_the_error_of_a_bootstrap(counts):
    numerator, denominator = counts
    outcomes = outcome_of(numerator, denominator)
    assert outcomes.mean() == pytest.approx(ratio(numerator, denominator))
    generator = np.random.default_rng(4)
    draws = generator.integers(0, len(numerator), (2_000, len(numerator)))
    bootstrap = (numerator[draws].sum(1) / denominator[draws].sum(1)).std()
    assert standard_error(outcomes) == pytest.approx(bootstrap, rel=0.08)
    value = ratio(numerator, denominator)
    naive = (value * (1 - value) / denominator.sum()) ** 0.5
    assert standard_error(outcomes) > 1.3 * naive  # words of a sentence are not independent


def test_the_clean_value_excludes_leaked_examples(counts):
    numerator, denominator = counts
    is_leaked = np.arange(600) < 150
    score = ratio_score(counts, is_leaked, {"layer": 1})
    clean = numerator[150:].sum() / denominator[150:].sum()
    assert score.details == {"layer": 1, "leak": {"share": 0.25, "clean_value": clean}}
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    everything = ratio_score(counts, np.ones(600, dtype=bool), {})
    assert everything.details["leak"]["clean_value"] is None


def test_no_span_anywhere_is_zero_and_no_error():
    score = ratio_score(span_counts([["O"]] * 12, [["O"]] * 12), np.zeros(12, dtype=bool), {})
    assert (score.value, score.stderr) == (0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40))
def test_matthews_equals_scikit_learn(pairs):
    from sklearn.metrics import matthews_corrcoef

    labels, predicted = np.array(pairs).T
    if len(np.unique((labels, predicted))) == 1:  # scikit-learn warns
        assert matthews(labels, predicted).mean() == 0
        return
    assert matthews(labels, predicted).mean() == pytest.approx(matthews_corrcoef(labels, predicted))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=40))
def test_spearman_equals_scipy(pairs):
    from scipy.stats import spearmanr

    x, y = np.array(pairs, dtype=float).T
    expected = 0.0 if np.ptp(x) == 0 or np.ptp(y) == 0 else spearmanr(x, y).statistic
    assert rank_correlation(x, y).mean() == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_binary_f1_equals_scikit_learn(pairs):
    from sklearn.metrics import f1_score

    labels, predicted = np.array(pairs).T.astype(int)
    expected = f1_score(labels, predicted, zero_division=0)
    assert ratio(*f1_counts(labels.astype(str), predicted.astype(str))) == pytest.approx(expected)


def bootstrap(statistic, *columns):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, len(columns[0]), (250, len(columns[0])))
    return np.std([statistic(*(column[row] for column in columns)) for row in rows])


def test_errors_of_coefficients_equal_a_bootstrap():
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 400)
    predicted = np.where(generator.random(400) < 0.4, labels, generator.random(400) < 0.2)
    expected = bootstrap(lambda a, b: matthews(a, b).mean(), labels, predicted)
    assert standard_error(matthews(labels, predicted)) == pytest.approx(expected, rel=0.2)
    x = np.round(generator.normal(size=400), 1)
    y = x + generator.normal(size=400)
    expected = bootstrap(lambda a, b: rank_correlation(a, b).mean(), x, y)
    assert standard_error(rank_correlation(x, y)) == pytest.approx(expected, rel=0.2)


def test_f1_comes_with_accuracy():
    labels, predicted = ["1", "1", "0", "0"], ["1", "0", "1", "0"]
    none = np.zeros(4, dtype=bool)
    score = label_score("f1", labels, predicted, none, {})
    assert score.value == score.metrics["f1"][0] == pytest.approx(0.5)
    assert score.metrics["accuracy"][0] == 0.5
    assert score.outcomes["accuracy"].tolist() == [1, 0, 0, 1]
    assert score.outcomes["outcome"].mean() == pytest.approx(0.5)


def test_the_details_of_coefficients_report_a_leak():
    is_leaked = np.array([True] * 5 + [False] * 5)
    numbers = np.arange(10.0)
    mixed = np.concatenate((numbers[:5], -numbers[5:]))
    score = rank_score(numbers, mixed, is_leaked, {})
    assert score.details["leak"] == {"share": 0.5, "clean_value": pytest.approx(-1.0)}
    labels, answers = ["0", "1"] * 5, ["0", "1", "0", "1", "0", "0", "1", "0", "1", "0"]
    score = label_score("matthews", labels, answers, is_leaked, {})
    assert score.details["leak"]["clean_value"] == pytest.approx(-1.0)
    assert score.details["accuracy_of_test"] == 0.5
