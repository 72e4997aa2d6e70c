"""Pretraining from a specification to an immutable folder, resumable at any moment.

Unfinished work is in a hidden folder whose name does not depend on the content of the corpus. So
the same command after the corpus was edited finds its own unfinished work and refuses it, with both
fingerprints, instead of starting over without notice. A lock that ends with the process prevents
two commands from doing the same run twice.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.corpus.tokenizer import TextTokenizer
from bench.errors import FailedError, RefusedError
from bench.machine import beat
from bench.pretraining.checkpoint import load_checkpoint, restore
from bench.pretraining.checkpoints.modules import run_modules, write_architecture
from bench.pretraining.corruption.realised import realised_rates
from bench.pretraining.ledger import Progress
from bench.pretraining.loop import Pretraining
from bench.pretraining.ranks import join
from bench.pretraining.tensors import load_weights, read_tensors, write_tensors
from bench.records.run_metadata import run_metadata
from bench.records.unfinished import claim, train
from bench.settings import from_mapping
from bench.spec import EncoderShape, RunSpec
from bench.storage import exclusive, new_folder, verify_manifest, write_manifest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.corpus.preparation import PreparedCorpus
    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.objective import Objective

FILES = ("run.json", "curve.parquet", "encoder.safetensors", "head.safetensors", "tokenizer.json")
SAY_SECONDS = 600.0
UNFINISHED = ".unfinished"
"""Folder of work in progress, inside the folder of all runs."""


def execute(
    spec: RunSpec,
    objective: Objective,
    corpus: PreparedCorpus,
    runs: Path,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], BaseException | None] = lambda: None,
    on_note: Callable[[str], None] = lambda text: None,
    allow_inexact: bool = False,
    facts: Mapping[str, Any] | None = None,
    forget: PreparedCorpus | None = None,
    is_sharded: bool = False,
) -> Path:
    """Do a run, or the rest of it, and return its folder.

    Args:
        spec: Specification of the run.
        objective: The objective that `spec` names, with its settings.
        corpus: The corpus whose fingerprint is in `spec`.
        runs: The folder of all runs.
        on_progress: Called after every step.
        should_stop: Called between steps; a returned exception is raised after a checkpoint.
        on_note: Called with the realised rates and their warnings, and if the run waits for
            another process.
        allow_inexact: Resume although the thread count or the version of torch changed.
        facts: Further facts for the record: the options of the command, the trials of tuning.
        forget: A second corpus, whose held-out loss is measured before and after.
        is_sharded: Divide the encoder's layers among the processes of the run.

    Raises:
        RefusedError: Unfinished work was started from something else, or is damaged.
        FailedError: The disk is full, or the objective predicts nothing.
    """
    final = runs / spec.id
    work = runs / UNFINISHED / spec.unfinished_id
    lock = work.with_suffix(".lock")
    said_at = -math.inf

    def wait() -> None:
        nonlocal said_at
        beat()
        if time.monotonic() - said_at > SAY_SECONDS:
            on_note("another process is doing this run; waiting for it")
            said_at = time.monotonic()
        stop = should_stop()
        if stop is not None:
            raise stop

    ranks = join(spec.device, is_sharded)

    def open_run() -> Pretraining:
        torch.set_num_threads(spec.training.threads)
        run = Pretraining(spec, objective, corpus, spec.device, forget, ranks)
        checkpoint = load_checkpoint(work)
        if checkpoint is not None:
            restore(run, *checkpoint, work)
        return run

    if not ranks.is_first:  # the first rank has the lock and writes all files
        if ranks.from_first(None):
            run = open_run()
            train(run, work, lambda progress: None, should_stop)
            run.weights.state()
        return final
    with exclusive(lock, wait):
        is_needed = ranks.from_first(not final.exists())
        if is_needed:
            second = None if forget is None else forget.corpus_sha256
            is_inexact = claim(work, spec, allow_inexact, second)
            run = open_run()
            rates = realised_rates(objective, corpus, run.reader, spec.seed)
            for rate in rates:
                on_note(rate.label)
                for warning in rate.warnings():
                    on_note(f"WARNING: {warning}")
            status, reason = train(run, work, on_progress, should_stop)
            weights = run.weights.state()
            _refuse_no_predictions(run, status)
            outcome = {
                "status": status,
                "reason": reason,
                "is_inexact": is_inexact,
                "realised_rates": [rate.to_json() for rate in rates],
                "processes": ranks.size,
                "is_sharded": ranks.is_sharded,
                "micro_batches": run.gradient_accumulation_steps,
            }
            _finish(run, weights, final, outcome | dict(facts or {}))
        verify_run(final, spec)
        if not is_needed and forget is not None:
            _warn_of_other_forget(final, forget, on_note)
        shutil.rmtree(work, ignore_errors=True)
        lock.unlink(missing_ok=True)  # a process that still waits for it finds the finished run
    return final


def _warn_of_other_forget(
    final: Path, forget: PreparedCorpus, on_note: Callable[[str], None]
) -> None:
    """Say so if a finished run was measured with another second corpus, or with none."""
    record = json.loads((final / "run.json").read_bytes())
    measured = record.get("forgetting", {})
    if record["spent"]["tokens"] and measured.get("corpus_sha256") != forget.corpus_sha256:
        before = f"with --forget {measured['corpus']}" if measured else "without --forget"
        on_note(
            f"WARNING: this run was finished {before}, so its loss on {forget.name} is unknown; "
            f"to measure it, repeat the run with another --out"
        )


def _refuse_no_predictions(run: Pretraining, status: str) -> None:
    """Fail a run that predicted nothing: its encoder learned nothing.

    Raises:
        FailedError: No step had a prediction.
    """
    if status == "finished" and run.objective.trains and not run.ledger.predictions:
        raise FailedError(
            f"{run.objective.display_name} predicted nothing in {run.ledger.steps} steps, so the "
            "encoder was not trained; raise its rate, or choose another --tokenizer or --words"
        )


def verify_run(folder: Path, spec: RunSpec) -> None:
    """Check that a finished folder is complete and belongs to a specification.

    Raises:
        RefusedError: A file was changed or is missing, or the folder contains another run.
    """
    verify_manifest(folder)
    identity = json.loads((folder / "run.json").read_bytes())["spec"]
    if identity != json.loads(json.dumps(spec.identity())):
        raise RefusedError(f"{folder} contains another run than its name says; remove it")


def load_run(
    folder: Path, objective: Objective, device: str = "cpu"
) -> tuple[SharedEncoder, nn.Module, TextTokenizer]:
    """Encoder, head and tokenizer of a finished run, verified.

    Args:
        folder: The run's folder.
        objective: The objective that trained the run; it builds the head.
        device: Where the weights go.

    Raises:
        RefusedError: A file was changed, is missing, or does not fit.
    """
    verify_manifest(folder)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    shape = from_mapping(EncoderShape, record["spec"]["encoder"], "encoder")
    tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
    has_own_head = record.get("init", {}).get("has_head", False)
    encoder, head = run_modules(folder, shape, objective, tokenizer.vocabulary, has_own_head)
    for module, name in ((encoder, FILES[2]), (head, FILES[3])):
        load_weights(module, read_tensors(folder / name), folder / name)
    return encoder.to(device).eval(), head.to(device).eval(), tokenizer


def _finish(
    run: Pretraining,
    weights: Mapping[str, Mapping[str, Tensor]],
    final: Path,
    outcome: dict[str, Any],
) -> None:
    """Write the finished folder; it appears complete or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with new_folder(final) as folder:
        record = run_metadata(run) | outcome
        (folder / "run.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        # pyarrow reads the columns off the first row, and the terms of a loss come later.
        names = dict.fromkeys(name for point in run.curve for name in point)
        curve = pa.Table.from_pylist([{**names, **point} for point in run.curve])
        pq.write_table(curve, folder / "curve.parquet")
        write_tensors(folder / "encoder.safetensors", weights["encoder"])
        write_tensors(folder / "head.safetensors", weights["head"])
        run.corpus.tokenizer.save(folder / "tokenizer.json")
        write_manifest(folder, [*FILES, *write_architecture(run.encoder, folder)])
