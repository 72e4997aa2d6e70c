"""The contents of `run.json`: specification, costs, versions and hardware of a pretraining."""

from __future__ import annotations

import importlib
import math
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.machine import cores
from bench.pretraining.checkpoints.modules import head_scoring, keeps_head, native_attention
from bench.pretraining.encoder.compiled import is_compiled
from bench.pretraining.loop import Pretraining
from bench.records.unigram import unigram_loss

_OVERFIT = 0.005

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus


def run_metadata(run: Pretraining) -> dict[str, Any]:
    """The keys of the run format, without those of the outcome (status, reason, is_inexact)."""
    spec, ledger = run.spec, run.ledger
    spent = {name: getattr(ledger, name) for name in ("tokens", "predictions", "flops", "seconds")}
    return {
        "format": 2,
        "id": spec.id,
        "objective": spec.objective,
        "display_name": spec.display_name,
        "settings": dict(spec.settings),
        "seed": spec.seed,
        "size": spec.size,
        "scoring": head_scoring(spec, run.objective),
        "attention": native_attention(spec, run.objective),
        "spec": spec.identity(),
        "comparison": spec.comparison,
        "budget": {"axis": spec.budget.axis, "amount": spec.budget.amount},
        "spent": {
            **spent,
            "steps": ledger.steps,
            "empty_steps": ledger.empty_steps,
            "epochs": ledger.steps * run.rows_per_step / run.order.num_rows,
        },
        "parameters": {
            "encoder": sum(p.numel() for p in run.encoder.parameters()),
            "extra": sum(p.numel() for p in run.head.parameters()),
        },
        "tokens_per_second": ledger.tokens / ledger.seconds if ledger.seconds else 0.0,
        "gradient_accumulation_steps": run.gradient_accumulation_steps,
        "corpus": run.corpus.name,
        "corpus_sha256": spec.corpus_sha256,
        "tokenizer_sha256": spec.tokenizer_sha256,
        "reference_nats": reference_nats(run.corpus),
        "validation_loss": _finite(run.curve[-1]["validation_loss"] if run.curve else None),
        "unigram_loss": _finite(unigram_loss(run)),
        "overfits_from_epoch": _overfits_from(run),
        **_continuation(run),
        "versions": {
            # By name, as `import bench` would close a cycle: the package loads its API lazily.
            "bench": importlib.import_module("bench").__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "tokenizers")},
        },
        "git_commit": _git_commit(),
        "hardware": _hardware(spec.device),
        "threads": spec.training.threads,
    }


def _continuation(run: Pretraining) -> dict[str, Any]:
    """The checkpoint that was continued, and the loss on a second corpus before and after."""
    facts: dict[str, Any] = {}
    init = run.spec.init
    if init is not None:
        facts["init"] = {
            "name": init.name,
            "has_head": init.has_head,
            "keeps_head": keeps_head(run.spec, run.objective, run.vocabulary),
            "start_loss": _finite(run.curve[0].get("start_loss") if run.curve else None),
        }
    if run.forget is not None and run.curve and "forget_loss" in run.curve[0]:
        before, after = (_finite(run.curve[i]["forget_loss"]) for i in (0, -1))
        facts["forgetting"] = {
            "corpus": run.forget.name,
            "corpus_sha256": run.forget.corpus_sha256,
            "before": before,
            "after": after,
        }
    return facts


def reference_nats(corpus: PreparedCorpus) -> dict[str, float | None]:
    """Losses of two trivial predictors, in nats per token.

    Returns:
        `log_vocabulary`: the uniform distribution, log |V|; `unigram`: the frequencies of the
        training part, on the held-out part (None if there is no held-out part).
    """
    store = corpus.train
    ordinary = np.ones(store.vocabulary_size, dtype=bool)
    ordinary[list(corpus.tokenizer.vocabulary.special_ids)] = False  # never predicted
    chances = store.counts[ordinary] + 1.0
    unigram = None
    if corpus.heldout is not None:
        counts = corpus.heldout.counts[ordinary]
        nats = -np.log(chances / chances.sum())
        unigram = float((counts * nats).sum() / max(counts.sum(), 1))
    return {"log_vocabulary": math.log(store.vocabulary_size), "unigram": unigram}


def _overfits_from(run: Pretraining) -> float | None:
    """The epoch of the lowest validation loss, if the last one is higher by a half per cent."""
    losses = [point["validation_loss"] for point in run.curve]
    if len(losses) < 3 or not all(map(math.isfinite, losses)):
        return None
    lowest = min(range(len(losses)), key=lambda i: losses[i])
    if losses[-1] < losses[lowest] * (1 + _OVERFIT):
        return None
    return float(run.curve[lowest]["steps"] * run.rows_per_step / run.order.num_rows)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _git_commit() -> str | None:
    """The commit of this checkout, with `-dirty` if it was changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *describe], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _hardware(device: str) -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    gpu = "MPS" if device == "mps" else gpu
    hardware = {"cpu": model, "cores": cores(), "gpu": gpu, "system": platform.system()}
    # A compiled encoder rounds otherwise, so a record must say whether its encoder was.
    return hardware | ({"compiled": is_compiled()} if device == "cuda" else {})
