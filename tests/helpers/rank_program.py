"""A program that trains objectives as one of several ranks and prints a hash of each encoder.

Its arguments are the stores, a folder for checkpoints and encoders, a scenario, the names of the
objectives (none: all), and whether layers are divided among the ranks. The scenarios are:

    plain      train without interruption
    first      stop after half of the steps and write a checkpoint
    rest       resume from the checkpoint
    late       read the sums of a step a step late, as on a GPU
    shortage   the memory of the last rank is exhausted once, before it reads its rows
    inside     the memory of the last rank is exhausted inside a layer
    uneven     a mixture of which a rank may have no rows of a component
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch

from bench.corpus.preparation import open_prepared
from bench.pretraining.accelerator.divided import DividedWeights
from bench.pretraining.checkpoint import checkpoint_of, load_checkpoint, restore, save_checkpoint
from bench.pretraining.loop import Pretraining
from bench.pretraining.objective import Objective
from bench.pretraining.ranks import join
from bench.pretraining.tensors import write_tensors
from bench.registry import Registry
from bench.settings import as_mapping, from_mapping
from bench.spec import Budget, EncoderShape, RunSpec, Training

STEPS = 6
MICRO_BATCHES = 2
SETTINGS: dict[str, dict[str, Any]] = {
    "adaptive_mlm": {"update_steps": 2},
    "simcse": {"group_rows": 4},
}
UNEVEN = "0.6*token+0.2*replaced_token+0.2*retromae"


def spec_of(objective: Objective, corpus: Any) -> RunSpec:
    vocab_size = corpus.tokenizer.vocabulary.size
    return RunSpec(
        objective=objective.name,
        settings=as_mapping(objective),
        objective_code="0" * 64,
        seed=0,
        size="tiny",
        encoder=EncoderShape(
            hidden_size=32, num_layers=2, num_heads=4, mlp_size=48, max_length=32,
            vocab_size=vocab_size,
        ),
        training=Training(learning_rate=4e-3, batch_tokens=256),
        budget=Budget.parse("1M"),
        corpus_sha256=corpus.corpus_sha256,
        tokenizer_sha256=corpus.tokenizer_sha256,
        device="cpu",
        torch_version=torch.__version__,
        display_name=objective.display_name,
    )  # fmt: skip


def main(stores: str, work: str, scenario: str, only: str = "", shard: str = "") -> None:
    torch.set_num_threads(1)
    ranks = join("cpu", bool(shard))
    corpus = open_prepared(Path(stores))
    for name, cls in sorted(Registry().of("objective").items()):
        settings = SETTINGS.get(name, {})
        if scenario == "uneven" and name == "mixture":
            settings = {"components": UNEVEN}
        objective = from_mapping(cls, settings, name)
        if not objective.trains or (only and name not in only.split(",")):
            continue
        run = Pretraining(spec_of(objective, corpus), objective, corpus, "cpu", None, ranks)
        run.gradient_accumulation_steps = MICRO_BATCHES
        folder = Path(work) / name
        if scenario == "rest":
            restore(run, *(load_checkpoint(folder) or ({}, {})), folder)
        run.is_late = scenario == "late" and run.feedback is None
        if scenario == "shortage":
            fail_once(run, is_mine=ranks.rank == ranks.size - 1)
        if scenario == "inside" and ranks.rank == ranks.size - 1:
            run.encoder.layers[1].mlp.register_forward_pre_hook(fail)
        if isinstance(run.weights, DividedWeights):
            check_division(run)
        while run.ledger.steps < (STEPS // 2 if scenario == "first" else STEPS):
            run.step()
        run.settle()
        checkpoint = checkpoint_of(run)
        weights = [checkpoint[0]["encoder"], checkpoint[0]["head"]]
        tensors = [one for part in weights for one in part.values()]
        digest = hashlib.sha256(b"".join(one.numpy().tobytes() for one in tensors)).hexdigest()
        ledger = run.ledger
        figures = (ledger.tokens, ledger.predictions, ledger.flops, run.recent["train_nats"].total)
        if ranks.is_first:
            print(name, digest, *figures, run.gradient_accumulation_steps)
            write_tensors(Path(work) / f"{name}.safetensors", weights[0])
            if scenario == "first":
                folder.mkdir(parents=True)
                save_checkpoint(folder, ledger.steps, *checkpoint)
        if isinstance(run.weights, DividedWeights):
            check_division(run)
        if not shard:  # only the first of sharded ranks gets the whole weights
            assert len({*ranks.gather(digest)}) == 1, f"{name}: the ranks have different weights"


def fail(*_: Any) -> None:
    raise torch.OutOfMemoryError("pretended")


def check_division(run: Pretraining) -> None:
    """Each rank has its share of the layers, in one memory with FSDP2."""
    layers = {n: p for n, p in run.parameters.items() if n.startswith("encoder.layers.")}
    own = sum(p.numel() for p in layers.values())
    assert own * run.ranks.size == sum(run.weights.shape(name).numel() for name in layers) > 0
    for name, kept in run.encoder.named_parameters():
        parameter: Any = kept
        if f"encoder.{name}" in layers:
            own_part = parameter.to_local()
            assert own_part.data_ptr() == layers[f"encoder.{name}"].data_ptr()
            assert own_part.untyped_storage().nbytes() == own_part.numel() * 4


def fail_once(run: Pretraining, is_mine: bool) -> None:
    original, calls = run._backward, 0

    def backward(micro: int, share: float) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 and is_mine:
            raise torch.OutOfMemoryError("pretended")
        return original(micro, share)

    run._backward = backward  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
