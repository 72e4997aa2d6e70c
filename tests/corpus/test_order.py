import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus.order import Order

seeds = st.integers(0, 2**64 - 1)


def epoch_rows(order: Order, epoch: int) -> np.ndarray:
    """The rows of one epoch, read step by step."""
    first, last = epoch * order.num_rows, (epoch + 1) * order.num_rows
    steps = range(first // order.rows_per_step, -(-last // order.rows_per_step))
    pairs = [order.batch(step) for step in steps]
    rows = np.concatenate([rows for rows, _ in pairs])
    return rows[np.concatenate([epochs for _, epochs in pairs]) == epoch]


@settings(max_examples=40)
@given(num_rows=st.integers(1, 5000), rows_per_step=st.integers(60, 6000), seed=seeds)
def test_every_epoch_reads_every_row_once(num_rows: int, rows_per_step: int, seed: int) -> None:
    order = Order(num_rows, rows_per_step, seed)
    for epoch in (0, 1, 7):
        assert sorted(epoch_rows(order, epoch)) == list(range(num_rows))


def test_small_corpora_too() -> None:
    for num_rows in range(1, 80):
        assert sorted(epoch_rows(Order(num_rows, 3, 0), 2)) == list(range(num_rows))


@settings(max_examples=60)
@given(
    num_rows=st.integers(1, 500),
    rows_per_step=st.integers(1, 64),
    gradient_accumulation_steps=st.integers(1, 64),
    step=st.integers(0, 1000),
    seed=seeds,
)
def test_micro_batches_are_the_batch_cut(
    num_rows: int, rows_per_step: int, gradient_accumulation_steps: int, step: int, seed: int
) -> None:
    order = Order(num_rows, rows_per_step, seed)
    rows, epochs = order.batch(step)
    parts = [
        order.batch(step, micro, gradient_accumulation_steps)
        for micro in range(gradient_accumulation_steps)
    ]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), rows)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), epochs)
    assert len(rows) == rows_per_step
    if rows_per_step % gradient_accumulation_steps == 0:
        assert {len(part[0]) for part in parts} == {rows_per_step // gradient_accumulation_steps}


@settings(max_examples=60)
@given(
    rows_per_step=st.integers(1, 64),
    rows_together=st.integers(1, 70),
    gradient_accumulation_steps=st.integers(1, 64),
)
def test_micro_batches_do_not_cut_groups_of_rows(
    rows_per_step: int, rows_together: int, gradient_accumulation_steps: int
) -> None:
    order = Order(1000, rows_per_step, 0)
    parts = [
        order.batch(5, micro, gradient_accumulation_steps, rows_together)[0]
        for micro in range(gradient_accumulation_steps)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), order.batch(5)[0])
    ends = np.cumsum([len(part) for part in parts])
    assert all(end % rows_together == 0 or end == rows_per_step for end in ends)
    groups = -(-rows_per_step // rows_together)
    if gradient_accumulation_steps <= groups:
        assert all(len(part) for part in parts)


def test_batches_run_over_the_end_of_an_epoch() -> None:
    rows, epochs = Order(num_rows=5, rows_per_step=8, seed=1).batch(0)
    assert epochs.tolist() == [0] * 5 + [1] * 3
    assert sorted(rows[:5]) == [0, 1, 2, 3, 4]


def test_seeds_and_epochs_differ() -> None:
    orders = [
        epoch_rows(Order(1000, 10, seed), epoch) for seed in (0, 1, 2**40) for epoch in (0, 1)
    ]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert np.mean(one == other) < 0.02


def test_an_epoch_has_no_pattern() -> None:
    rows = epoch_rows(Order(4000, 100, 0), 0).astype(float)
    assert abs(np.corrcoef(rows, np.arange(4000))[0, 1]) < 0.06  # 4 sigma
    assert abs(np.corrcoef(rows[1:], rows[:-1])[0, 1]) < 0.06


def test_first_row_is_uniform_over_seeds() -> None:
    for num_rows in (2, 3, 7):
        firsts = [int(Order(num_rows, 1, seed).batch(0)[0][0]) for seed in range(1000)]
        counts = np.bincount(firsts, minlength=num_rows)
        assert np.all(np.abs(counts / 1000 - 1 / num_rows) < 0.06), counts


def test_far_steps_and_huge_corpora_cost_nothing() -> None:
    rows, epochs = Order(num_rows=10**12, rows_per_step=8, seed=3).batch(10**12)
    assert epochs.tolist() == [8] * 8
    assert len(set(rows.tolist())) == 8
    assert rows.max() < 10**12


def test_the_order_is_the_same_for_ever() -> None:
    """Records name seeds, not orders: this must never change."""
    assert Order(10, 10, 0).batch(0)[0].tolist() == [0, 3, 1, 9, 6, 4, 7, 8, 2, 5]


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="rows"):
        Order(0, 8, 0)
