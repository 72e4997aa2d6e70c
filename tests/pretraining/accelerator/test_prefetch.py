from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import StoppedError
from bench.pretraining.accelerator.prefetch import STEPS_AHEAD, RowsKey, TrainingRows
from bench.pretraining.checkpoint import load_checkpoint, restore
from bench.pretraining.loop import Pretraining
from bench.pretraining.ranks import Ranks
from bench.records.unfinished import train

MakeSpec = Callable[..., Any]


def row_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("rows")]


def trained(arguments: Any, corpus: PreparedCorpus, work: Path, is_ahead: bool) -> Pretraining:
    run = Pretraining(*arguments, corpus, "cpu")
    if is_ahead:
        run.rows.start()
    train(run, work, lambda progress: None, lambda: None)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["token", "replaced_token"])
def test_rows_from_the_thread_give_the_same_run(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    ahead, plain = (
        trained(make_spec(name), corpus, tmp_path / str(is_ahead), is_ahead)
        for is_ahead in (True, False)
    )
    for a, b in zip(ahead.parameters.values(), plain.parameters.values(), strict=True):
        assert torch.equal(a, b)
    assert dataclasses.replace(ahead.ledger, seconds=0.0) == dataclasses.replace(
        plain.ledger, seconds=0.0
    )
    assert not row_threads()


def rows_of(run: Pretraining, ranks: Ranks = Ranks()) -> TrainingRows:  # noqa: B008  (frozen)
    return TrainingRows(run.order, run.reader, run.corpus.train, 1, ranks)


def test_rows_are_gathered_two_steps_ahead_by_another_thread(
    make_spec: MakeSpec, corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Pretraining(*make_spec(), corpus, "cpu")
    rows = rows_of(run)
    gathered: list[tuple[RowsKey, str]] = []
    original = rows.gather

    def gather(key: RowsKey) -> Any:
        gathered.append((key, threading.current_thread().name))
        return original(key)

    monkeypatch.setattr(rows, "gather", gather)
    rows.start()
    for micro in range(2):
        rows.take(RowsKey(0, micro, 2))
    for gathering in rows._ahead.values():
        gathering.result()
    rows.take(RowsKey(5, 0, 4))  # the run resumed there, with smaller micro-batches
    rows.stop()
    keys = [key for key, _ in gathered]
    assert all(name.startswith("rows") for _, name in gathered)
    first = [RowsKey(step, micro, 2) for step in range(STEPS_AHEAD + 1) for micro in range(2)]
    assert keys[: len(first)] == first  # each once, in order
    assert len(set(keys)) == len(keys)
    assert RowsKey(5, 0, 4) in keys
    for key in first:
        expected = run.order.batch(*key)
        host, epochs = original(key)
        assert np.array_equal(host.tensors["example_ids"].numpy(), expected[0])
        assert np.array_equal(epochs.numpy(), expected[1])


def test_a_rank_gathers_its_own_rows_only(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    rows = rows_of(Pretraining(*make_spec(), corpus, "cpu"), Ranks(1, 2))
    following = list(rows._following(RowsKey(3, 1, 4)))
    assert following == [(3, 3, 4), (4, 1, 4), (4, 3, 4), (5, 1, 4), (5, 3, 4)]


def test_an_error_of_the_thread_is_raised_in_its_step_and_ends_the_thread(
    make_spec: MakeSpec, corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Pretraining(*make_spec(), corpus, "cpu")
    original = run.rows.gather

    def gather(key: RowsKey) -> Any:
        if key.step == 4:
            raise OSError("the disk is gone")
        return original(key)

    monkeypatch.setattr(run.rows, "gather", gather)
    run.rows.start()
    with pytest.raises(OSError, match="the disk is gone"):
        run.train(lambda progress: None, lambda: None)
    assert run.ledger.steps == 4
    assert not row_threads()


@pytest.mark.slow
def test_a_stop_ends_the_thread_and_the_rest_is_the_same_to_the_bit(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    whole = trained(make_spec(), corpus, tmp_path / "a", is_ahead=False)
    part, left = Pretraining(*make_spec(), corpus, "cpu"), [6]

    def stop() -> BaseException | None:
        left[0] -= 1
        return None if left[0] else StoppedError("stopped")

    part.rows.start()
    with pytest.raises(StoppedError):
        train(part, tmp_path / "b", lambda progress: None, stop)
    assert not row_threads()
    rest = Pretraining(*make_spec(), corpus, "cpu")
    restore(rest, *(load_checkpoint(tmp_path / "b") or ({}, {})), tmp_path)
    rest.rows.start()
    train(rest, tmp_path / "b", lambda progress: None, lambda: None)
    for a, b in zip(rest.parameters.values(), whole.parameters.values(), strict=True):
        assert torch.equal(a, b)
