"""Checks of a device, in a process without the checks of shapes, which would break the graph.

    python -m tests.helpers.gpu_program STORES DEVICE CHECK

On a CPU each check compares the CPU with itself, which shows that the program runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from pathlib import Path

import torch
from torch._dynamo.utils import counters

from bench.corpus.preparation import PreparedCorpus, open_prepared
from bench.errors import StoppedError
from bench.pretraining.accelerator.prefetch import RowsKey
from bench.pretraining.batch import Attention, Batch
from bench.pretraining.checkpoint import load_checkpoint, restore
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads.linear_nats import linear_nats
from bench.pretraining.loop import Pretraining
from bench.pretraining.noise import Noise
from bench.records.unfinished import train
from bench.registry import Registry
from bench.settings import from_mapping
from bench.spec import RunSpec
from tests.helpers.rank_program import SETTINGS, spec_of

MIXED = {"components": "0.5*token+0.5*replaced_token"}


def run_of(
    name: str, corpus: PreparedCorpus, device: str, steps: int = 12, **settings: str
) -> Pretraining:
    objective = from_mapping(Registry().get("objective", name), settings, name)
    spec: RunSpec = spec_of(objective, corpus)
    shape = dataclasses.replace(spec.encoder, hidden_size=64, max_length=128)
    training = dataclasses.replace(spec.training, batch_tokens=8 * 128, learning_rate=1e-3)
    budget = dataclasses.replace(spec.budget, amount=float(steps * 8 * 128))
    spec = dataclasses.replace(spec, encoder=shape, training=training, budget=budget, device=device)
    return Pretraining(spec, objective, corpus, device)


def trained(run: Pretraining, work: Path, stop_after: int | None = None) -> Pretraining:
    """The run after its budget, or after some steps."""
    done = 0

    def stop() -> BaseException | None:
        nonlocal done
        done += 1
        return StoppedError("stopped") if done == stop_after else None

    with contextlib.suppress(StoppedError):
        assert train(run, work, lambda progress: None, stop) == ("finished", None)
    return run


def masks(corpus: PreparedCorpus, device: str) -> None:
    """Corruption is the same to the bit."""
    for name, cls in sorted(Registry().of("objective").items()):
        objective = from_mapping(cls, SETTINGS.get(name, {}), name)
        run = run_of(name, corpus, "cpu")
        rows, epochs = run.rows.gather(RowsKey(3, 0, 1))
        examples = []
        for place in ("cpu", device):
            tensors = {key: tensor.to(place) for key, tensor in rows.tensors.items()}
            statistics = {key: table.to(place) for key, table in run.reader.statistics.items()}
            batch = Batch(**tensors, progress=0.3, statistics=statistics)
            noise = Noise(0, epochs.to(place), batch.example_ids)
            examples.append(objective.corrupt(batch, run.vocabulary, noise))
        for field in ("inputs", "labels", "positions", "origins"):
            ours, theirs = (getattr(example, field) for example in examples)
            assert (ours is None) == (theirs is None), (name, field)
            assert ours is None or torch.equal(ours, theirs.cpu()), (name, field)


def losses(corpus: PreparedCorpus, device: str) -> None:
    """Training ends near the same loss, in bfloat16 too."""
    for name in ("token", "prefix_lm", "replaced_token"):
        with tempfile.TemporaryDirectory() as work:
            ends = [
                trained(run_of(name, corpus, place), Path(work) / place).curve[-1]
                for place in ("cpu", device)
            ]
        for key in ("train_nats", "validation_loss"):
            assert abs(ends[0][key] / ends[1][key] - 1) < 0.02, (name, key, ends)
        for key in ("tokens", "predictions", "steps", "flops"):
            assert ends[0][key] == ends[1][key], (name, key, ends)


def recompiles(corpus: PreparedCorpus, device: str) -> None:
    """No graph is compiled after the first step; a mixture with own heads has few of them."""
    for name, settings, most in (("token", {}, 0), ("prefix_lm", {}, 0), ("mixture", MIXED, 8)):
        run = run_of(name, corpus, device, 40, **settings)
        if device == "cuda":
            run._warm_up()
        run.step()
        before = counters["stats"]["unique_graphs"]
        while run.progress < 1.0:
            run.step()
        run.settle()
        assert counters["stats"]["unique_graphs"] - before <= most, name


def resume(corpus: PreparedCorpus, device: str) -> None:
    """A stopped run ends with the costs of a whole one, and near its weights."""
    with tempfile.TemporaryDirectory() as work:
        whole = trained(run_of("token", corpus, device), Path(work) / "a")
        trained(run_of("token", corpus, device), Path(work) / "b", stop_after=6)
        rest = run_of("token", corpus, device)
        restore(rest, *(load_checkpoint(Path(work) / "b") or ({}, {})), Path(work))
        assert rest.ledger.steps == 6
        trained(rest, Path(work) / "b")
    for key in ("tokens", "predictions", "steps", "flops"):
        assert whole.curve[-1][key] == rest.curve[-1][key], key
    assert abs(whole.curve[-1]["validation_loss"] / rest.curve[-1]["validation_loss"] - 1) < 0.01


def kernels(corpus: PreparedCorpus, device: str) -> None:
    """Block masks have the gradients of boolean ones, and logits in parts the loss of all."""
    shape = run_of("token", corpus, "cpu").spec.encoder
    at = torch.arange(128, device=device)[None].repeat(8, 1)
    tokens, prefix = at % 50 + 5, at[:, 0] + torch.arange(8, device=device) * 9
    for attention in (
        Attention("prefix", None, prefix),
        Attention("full", at < 100),
        Attention("causal", None, None, at // 40),
    ):
        results = []
        for is_compiled in (True, False):
            encoder = Encoder(shape, 0).to(device)
            if is_compiled and device == "cuda":
                encoder.compile_forward(8)
            hidden = encoder(tokens, attention)[:, :100]
            (hidden**2 * hidden.detach().sign()).sum().backward()
            gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
            results.append([hidden.detach(), *gradients])
        for ours, theirs in zip(*results, strict=True):
            assert (ours - theirs).norm() <= 0.02 * theirs.norm() + 1e-6, attention.pattern
    features, table = (torch.randn(n, 64, device=device, requires_grad=True) for n in (40, 300))
    bias, labels = torch.zeros(300, device=device), torch.arange(40, device=device)
    expected = torch.nn.functional.cross_entropy(features @ table.T, labels, reduction="none")
    torch.testing.assert_close(
        linear_nats(features, table, bias, labels, 900), expected, rtol=0.01, atol=0.01
    )


CHECKS = {check.__name__: check for check in (masks, losses, recompiles, resume, kernels)}

if __name__ == "__main__":
    torch.set_num_threads(1)
    CHECKS[sys.argv[3]](open_prepared(Path(sys.argv[1])), sys.argv[2])
