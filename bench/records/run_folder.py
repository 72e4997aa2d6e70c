"""A pretraining from specification to immutable folder, resumable at any moment.

Unfinished work lies in a hidden folder keyed by the request, not by the content it was started
from: so the same command after the corpus was edited meets its own work and refuses, with both
fingerprints, instead of starting over in silence. A lock that dies with the process keeps two
commands from doing one run twice.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import bench
from bench.corpus.tokenizer import TextTokenizer
from bench.errors import RefusedError
from bench.pretraining.checkpoint import (
    checkpoint_of,
    checkpoints,
    load_checkpoint,
    load_weights,
    read_tensors,
    restore,
    save_checkpoint,
    write_tensors,
)
from bench.pretraining.encoder import Encoder
from bench.pretraining.ledger import encoder_parameters
from bench.pretraining.loop import Diverged, Pretraining, Progress
from bench.settings import from_mapping
from bench.spec import EncoderShape, RunSpec, cores
from bench.storage import exclusive, new_folder, verify_manifest, write_atomic, write_manifest

if TYPE_CHECKING:
    from torch import nn

    from bench.corpus.preparation import PreparedCorpus
    from bench.pretraining.objective import Objective

FILES = ("run.json", "curve.parquet", "encoder.safetensors", "head.safetensors", "tokenizer.json")
UNFINISHED = ".unfinished"
"""Where work in progress lies, under the folder of all runs."""
CHECKPOINT_SECONDS = 30.0


def execute(
    spec: RunSpec,
    objective: Objective,
    corpus: PreparedCorpus,
    runs: Path,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], BaseException | None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
    allow_inexact: bool = False,
) -> Path:
    """Do a run, or what is left of it, and return its folder.

    Args:
        spec: What is run.
        objective: As `spec` names and sets it.
        corpus: As `spec` fingerprints it.
        runs: The folder of all runs.
        on_progress: Told of every step.
        should_stop: Asked between steps; what it returns is raised once the state is saved.
        say: Told in words what is being waited for.
        allow_inexact: Resume although thread count or torch version changed.

    Raises:
        RefusedError: Unfinished work was started from something else, or is damaged.
        FailedError: The disk is full.
    """
    final = runs / spec.id
    work = runs / UNFINISHED / spec.request_id
    lock = work.with_suffix(".lock")
    has_waited = False

    def wait() -> None:
        nonlocal has_waited
        if not has_waited:
            say("another process is doing this run; waiting for it")
        has_waited = True
        stop = should_stop()
        if stop is not None:
            raise stop

    with exclusive(lock, wait):
        if not final.exists():
            torch.set_num_threads(spec.training.threads)
            is_inexact = _claim(work, spec, allow_inexact)
            run = Pretraining(spec, objective, corpus, spec.device)
            found = load_checkpoint(work)
            if found is not None:
                restore(run, *found, work)
            status, reason = _train(run, work, on_progress, should_stop)
            facts = {"status": status, "reason": reason, "is_inexact": is_inexact}
            _finish(run, final, facts)
        verify_run(final, spec)
        shutil.rmtree(work, ignore_errors=True)
        lock.unlink(missing_ok=True)  # whoever still waits for it will find the run finished
    return final


def verify_run(folder: Path, spec: RunSpec) -> None:
    """Make sure that a finished folder is whole, and the run that was asked for.

    Raises:
        RefusedError: A file was changed or is missing, or it is another run.
    """
    verify_manifest(folder)
    found = json.loads((folder / "run.json").read_bytes())["spec"]
    if found != json.loads(json.dumps(spec.identity())):
        raise RefusedError(f"{folder} holds another run than its name says; remove it")


def _train(
    run: Pretraining,
    work: Path,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], BaseException | None],
) -> tuple[str, str | None]:
    """Train with a checkpoint now and then, and before any stop that can be asked for."""
    saved_at = time.monotonic()

    def pause() -> None:
        nonlocal saved_at
        stop = should_stop()
        if stop is not None or time.monotonic() - saved_at > checkpoint_seconds():
            save_checkpoint(work, run.ledger.steps, *checkpoint_of(run))
            saved_at = time.monotonic()
        if stop is not None:
            raise stop

    try:
        run.train(on_progress, pause)
    except Diverged as diverged:
        return "diverged", str(diverged)
    return "finished", None


def checkpoint_seconds() -> float:
    """Seconds between checkpoints (BENCH_CHECKPOINT_SECONDS; no result depends on it)."""
    try:
        return float(os.environ["BENCH_CHECKPOINT_SECONDS"])
    except (KeyError, ValueError):
        return CHECKPOINT_SECONDS


def _claim(work: Path, spec: RunSpec, allow_inexact: bool) -> bool:
    """Open the folder of unfinished work; refuse one started from something else."""
    identity = spec.identity() | {"is_inexact": False}
    path = work / "identity.json"
    if not checkpoints(work):  # nothing is at stake yet: whoever mends a plugin may go on
        work.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(identity).encode())
        return False
    try:
        found = json.loads(path.read_bytes())
        threads, was_inexact = found["training"]["threads"], found["is_inexact"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RefusedError(f"{path} is damaged; remove {work} to start over") from None
    for key, what in (
        ("corpus_sha256", "the corpus"),
        ("tokenizer_sha256", "the tokenizer"),
        ("objective_code", f"the code of objective {spec.objective}"),
    ):
        if found.get(key) != identity[key]:
            raise RefusedError(
                f"{what} changed since this run was begun: then {found.get(key)}, now "
                f"{identity[key]}; restore it to resume, or remove {work} to start over"
            )
    changed = {
        "torch version": (found.get("torch_version"), spec.torch_version),
        "thread count": (threads, spec.training.threads),
    }
    for what, (before, now) in changed.items():
        if before != now and not allow_inexact:
            raise RefusedError(
                f"not bit-exact: {what} was {before} when this run was begun and is {now} now; "
                f"restore it, or go on with --allow-inexact, or remove {work} to start over"
            )
    is_inexact = was_inexact or any(before != now for before, now in changed.values())
    write_atomic(path, json.dumps(identity | {"is_inexact": is_inexact}).encode())
    return bool(is_inexact)


def _finish(run: Pretraining, final: Path, facts: dict[str, Any]) -> None:
    """Write the finished folder, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with new_folder(final) as folder:
        record = _record(run) | facts
        (folder / "run.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        # pyarrow takes the columns of the first row alone, and a loss's terms come after it.
        names = dict.fromkeys(name for point in run.curve for name in point)
        curve = pa.Table.from_pylist([{**names, **point} for point in run.curve])
        pq.write_table(curve, folder / "curve.parquet")
        write_tensors(folder / "encoder.safetensors", run.encoder.state_dict())
        write_tensors(folder / "head.safetensors", run.head.state_dict())
        run.corpus.tokenizer.save(folder / "tokenizer.json")
        write_manifest(folder, FILES)


def _record(run: Pretraining) -> dict[str, Any]:
    """All that a table or a sceptic asks of a run."""
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
        "scoring": run.objective.scoring,
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
            "encoder": encoder_parameters(spec.encoder),
            "extra": sum(p.numel() for p in run.head.parameters()),
        },
        "tokens_per_second": ledger.tokens / ledger.seconds if ledger.seconds else 0.0,
        "gradient_accumulation_steps": run.gradient_accumulation_steps,
        "corpus": run.corpus.name,
        "corpus_sha256": spec.corpus_sha256,
        "tokenizer_sha256": spec.tokenizer_sha256,
        "reference_nats": reference_nats(run.corpus),
        "versions": {
            "bench": bench.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "tokenizers")},
        },
        "git_commit": _git_commit(),
        "hardware": _hardware(spec.device),
        "threads": spec.training.threads,
    }


def reference_nats(corpus: PreparedCorpus) -> dict[str, float | None]:
    """What knows nothing scores: log |V|, and the held-out cost of training frequencies."""
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


def load_run(
    folder: Path, objective: Objective, device: str = "cpu"
) -> tuple[Encoder, nn.Module, TextTokenizer]:
    """A finished run, verified: encoder, head and tokenizer.

    Args:
        folder: Of the run.
        objective: What trained it; it knows the shape of its own head.
        device: Where to put the weights.

    Raises:
        RefusedError: A file was changed, is missing, or does not fit.
    """
    verify_manifest(folder)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    shape = from_mapping(EncoderShape, record["spec"]["encoder"], "encoder")
    tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
    encoder, head = Encoder(shape), objective.head(shape, tokenizer.vocabulary)
    for module, name in ((encoder, FILES[2]), (head, FILES[3])):
        load_weights(module, read_tensors(folder / name), folder / name)
    return encoder.to(device).eval(), head.to(device).eval(), tokenizer


def _git_commit() -> str | None:
    """The commit of the checkout this runs from, with a mark where it was changed."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        found = subprocess.run(
            [
                "git",
                "-C",
                str(here),
                "describe",
                "--always",
                "--abbrev=40",
                "--exclude=*",
                "--dirty",
            ],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _hardware(device: str) -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {"cpu": model, "cores": cores(), "gpu": gpu, "system": platform.system()}
