"""Layers divided among two ranks: the weights of ranks that hold them whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError
from bench.experiment.options import checked_shard
from bench.pretraining.tensors import read_tensors
from tests.helpers.ranks import encoders, start

TOLERANCE = 1e-7
"""The norm of the gradient is added in another order; the weights move by some 1e-4."""
SHARD = "shard"


def assert_like(whole: Path, divided: Path) -> None:
    """Every encoder of a folder is that of the other."""
    paths = sorted(whole.glob("*.safetensors"))
    assert paths
    for path in paths:
        expected, found = read_tensors(path), read_tensors(divided / path.name)
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            assert torch.equal(tensor, found[name]) or (
                (tensor - found[name]).abs().max() <= TOLERANCE
            ), (path.stem, name)


def folders(tmp_path: Path) -> tuple[Path, Path]:
    whole, divided = tmp_path / "whole", tmp_path / "divided"
    whole.mkdir()
    divided.mkdir()
    return whole, divided


@pytest.mark.slow
def test_divided_layers_are_whole_layers(corpus: PreparedCorpus, tmp_path: Path) -> None:
    """For every built-in objective; the loss of the first steps, too."""
    whole, divided = folders(tmp_path)
    alone = encoders(corpus, 1, whole, "plain")
    found = encoders(corpus, 2, divided, "plain", "", SHARD)
    assert len(found) > 15
    assert found.keys() == alone.keys()
    assert_like(whole, divided)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["uneven", "late", "shortage"])
def test_ranks_with_other_passes(scenario: str, corpus: PreparedCorpus, tmp_path: Path) -> None:
    """One has no rows of a component, or no memory: the others do not wait for it for ever."""
    only = "mixture" if scenario == "uneven" else "token"
    whole, divided = folders(tmp_path)
    alone = encoders(corpus, 1, whole, scenario, only)
    found = encoders(corpus, 2, divided, scenario, only, SHARD)
    assert alone[only].split()[-1] == found[only].split()[-1]  # the number of micro-batches
    assert_like(whole, divided)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "rest"), [(SHARD, ""), ("", SHARD)])
def test_a_divided_run_resumes_whole(
    first: str, rest: str, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    """Divided in two processes and whole in one, or the other way round."""
    only = "causal,replaced_token"
    whole, divided = folders(tmp_path)
    encoders(corpus, 1, whole, "plain", only)
    encoders(corpus, 2 if first else 1, divided, "first", only, first)
    encoders(corpus, 2 if rest else 1, divided, "rest", only, rest)
    assert_like(whole, divided)


@pytest.mark.slow
def test_memory_that_is_exhausted_inside_a_layer(corpus: PreparedCorpus, tmp_path: Path) -> None:
    done = start(corpus, 2, tmp_path, "inside", "token", SHARD)
    assert done.returncode == 1
    assert "with --shard the other ranks wait there; raise --gpus-per-run" in done.stderr


def test_nobody_to_share_with() -> None:
    assert checked_shard(True, 2)
    assert not checked_shard(False, 1)
    with pytest.raises(BenchError, match="this run has one; give --gpus-per-run 2"):
        checked_shard(True, 1)
    with pytest.raises(BenchError, match="shard: give true or false, got 'yes'"):
        checked_shard("yes", 2)
