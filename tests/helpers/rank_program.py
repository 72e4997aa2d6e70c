"""A program that trains objectives as one of several ranks and prints a hash of each encoder.

Its arguments are the stores, a folder for checkpoints, and a scenario:

    plain      train without interruption
    first      stop after half of the steps and write a checkpoint
    rest       resume from the checkpoint
    late       read the sums of a step a step late, as on a GPU
    shortage   the memory of the last rank is exhausted once
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch

from bench.corpus.preparation import open_prepared
from bench.pretraining.checkpoint import checkpoint_of, load_checkpoint, restore, save_checkpoint
from bench.pretraining.loop import Pretraining
from bench.pretraining.objective import Objective
from bench.pretraining.ranks import join
from bench.registry import Registry
from bench.settings import as_mapping, from_mapping
from bench.spec import Budget, EncoderShape, RunSpec, Training

STEPS = 6
MICRO_BATCHES = 2
SETTINGS: dict[str, dict[str, Any]] = {
    "adaptive_mlm": {"update_steps": 2},
    "simcse": {"group_rows": 4},
}


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


def main(stores: str, work: str, scenario: str, only: str = "") -> None:
    torch.set_num_threads(1)
    ranks = join("cpu")
    corpus = open_prepared(Path(stores))
    for name, cls in sorted(Registry().of("objective").items()):
        objective = from_mapping(cls, SETTINGS.get(name, {}), name)
        if not objective.trains or (only and name != only):
            continue
        run = Pretraining(spec_of(objective, corpus), objective, corpus, "cpu", None, ranks)
        run.gradient_accumulation_steps = MICRO_BATCHES
        folder = Path(work) / name
        if scenario == "rest":
            restore(run, *(load_checkpoint(folder) or ({}, {})), folder)
        run.is_late = scenario == "late" and run.feedback is None
        if scenario == "shortage":
            fail_once(run, is_mine=ranks.rank == ranks.size - 1)
        while run.ledger.steps < (STEPS // 2 if scenario == "first" else STEPS):
            run.step()
        run.settle()
        if scenario == "first" and ranks.is_first:
            folder.mkdir(parents=True)
            save_checkpoint(folder, run.ledger.steps, *checkpoint_of(run))
        tensors = [*run.encoder.state_dict().values(), *run.head.state_dict().values()]
        digest = hashlib.sha256(b"".join(one.numpy().tobytes() for one in tensors)).hexdigest()
        ledger = run.ledger
        figures = (ledger.tokens, ledger.predictions, ledger.flops, run.recent["train_nats"].total)
        if ranks.is_first:
            print(name, digest, *figures, run.gradient_accumulation_steps)
        assert len({*ranks.gather(digest)}) == 1, f"{name}: the ranks have different weights"


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
