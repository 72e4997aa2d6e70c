"""A store with the records of many runs, without training: for tests of speed, tables and pages.

Skills, seeds and examples vary as the statistics assume.

    python -m tests.helpers.store_generator FOLDER [OBJECTIVES SEEDS TASKS EXAMPLES]

Nothing is synced to disk, and all outcomes of a task are drawn at once: 30,000 scores take a
minute. Like `bench run`, which ends with a comparison, the command fills the cache of records.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.corpus.preparation import default_cache
from bench.records.cache import read_cached_baselines, read_cached_runs
from bench.records.scores import score_key, score_path
from bench.settings import sha256_json
from bench.storage import write_manifest

NAMES = ("token", "whole_word", "span", "causal", "untrained")
"""Names of existing objectives; invented names follow."""
TASKS = ("sense_left", "sense_right", "squad", "agreement", "word_class", "swapped_words")
SHARED: dict[str, Any] = {
    "size": "tiny",
    "encoder": {"hidden_size": 64, "num_layers": 3, "vocab_size": 800},
    "training": {"learning_rate": 4e-3},
    "budget": {"axis": "tokens", "amount": 2e6},
    "corpus_sha256": "c0" * 32,
    "tokenizer_sha256": "70" * 32,
}
NUM_LAYERS = 4


def make_store(
    out: Path, objectives: int = 50, seeds: int = 10, tasks: int = 60, examples: int = 300
) -> Path:
    """Fill `out` with objectives x seeds runs, each with a score on every task, and baselines."""
    names = [*NAMES, *(f"invented_{i}" for i in range(objectives))][:objectives]
    task_names = [*TASKS, *(f"task_{i}" for i in range(tasks))][:tasks]
    folders = {(name, seed): _write_run(out, name, seed) for name in names for seed in range(seeds)}
    for number, task in enumerate(task_names):
        rng = np.random.default_rng(number)
        ease = rng.normal(0.0, 1.0, examples)
        for rank, name in enumerate(names):
            skill = 0.0 if name == "untrained" else 0.4 + 0.8 * rank / len(names)
            luck = rng.normal(0.0, 0.1, (seeds, 1))
            is_correct = skill + luck + ease + rng.normal(0.0, 0.7, (seeds, examples)) > 0
            for seed in range(seeds):
                _write_score(folders[name, seed], task, is_correct[seed], None)
        for baseline in ("majority", "bag_of_words"):
            _write_score(out, task, rng.random(examples) < 0.5, baseline)
    return out


def _write_run(out: Path, objective: str, seed: int) -> Path:
    spec = SHARED | {"objective": objective, "settings": {}, "objective_code": "0b" * 32}
    spec |= {"seed": seed}
    run_id = f"{objective}-tiny-s{seed}-{sha256_json(spec)[:8]}"
    tokens = 0 if objective == "untrained" else 2_000_000
    data = {
        "format": 2, "id": run_id, "status": "finished", "reason": None, "objective": objective,
        "display_name": objective, "settings": {}, "seed": seed, "size": "tiny", "spec": spec,
        "scoring": "causal" if objective == "causal" else "masked",
        "comparison": sha256_json(SHARED), "budget": SHARED["budget"],
        "spent": {"tokens": tokens, "predictions": tokens // 7, "flops": 6.5e5 * tokens,
                  "seconds": tokens / 4e4, "steps": tokens // 512, "epochs": tokens / 1e6},
        "parameters": {"encoder": 250_000, "extra": 4_224}, "tokens_per_second": 4e4,
        "corpus": "micro", "corpus_sha256": SHARED["corpus_sha256"],
        "tokenizer_sha256": SHARED["tokenizer_sha256"],
        "reference_nats": {"log_vocabulary": 6.68, "unigram": 4.9},
        "versions": {"bench": "0", "python": "3.11", "torch": "2.13"}, "git_commit": None,
        "hardware": {"cpu": "made up", "cores": 2, "gpu": None, "system": "Linux"}, "threads": 1,
    }  # fmt: skip
    folder = out / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "scores").mkdir()
    (folder / "run.json").write_text(json.dumps(data, indent=1))
    shares = np.linspace(0.0, 1.0, 21 if tokens else 1)
    curve = [
        {"steps": int(4000 * x), "tokens": int(tokens * x), "train_nats": 6.7 - 4 * x**0.5,
         "validation_loss": 6.7 - 4 * x**0.5 + 0.01 * seed} for x in shares
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(curve), folder / "curve.parquet")
    write_manifest(folder, ["run.json", "curve.parquet"])
    return folder


def _write_score(folder: Path, task: str, is_correct: np.ndarray, baseline: str | None) -> None:
    outcomes = is_correct.astype(float)
    value = float(outcomes.mean())
    payload = io.BytesIO()
    pq.write_table(pa.table({"example": np.arange(len(outcomes)), "outcome": outcomes}), payload)
    grid = (value - 0.1 + 0.1 * np.arange(NUM_LAYERS * 3).reshape(NUM_LAYERS, 3) / 12).tolist()
    best = {"layer": NUM_LAYERS - 1, "pooling": "last", "poolings": ["mean", "first", "last"]}
    identity = {
        "task": task, "data_sha256": hashlib.sha256(task.encode()).hexdigest(),
        "probe_settings": {"dev_fraction": 0.2, "probe": "linear"}, "task_code_sha256": "7a" * 32,
        "attention": "native",
    }  # fmt: skip
    record = identity | {
        "format": 2, "family": "span extraction" if task == "squad" else "text classification",
        "metric": "accuracy", "chance": 0.5, "run": None if baseline else folder.name,
        "baseline": baseline, "status": "ok", "value": value,
        "stderr": float(outcomes.std(ddof=1) / len(outcomes) ** 0.5), "metrics": {},
        "details": {} if baseline else best | {"grid": grid, "selectivity": value - 0.5},
        "seconds": 1.5, "examples": len(outcomes),
        "outcomes_sha256": hashlib.sha256(payload.getvalue()).hexdigest(),
    }  # fmt: skip
    path = score_path(folder, task, score_key(*identity.values()), baseline)
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".parquet").write_bytes(payload.getvalue())
    path.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    store = make_store(Path(sys.argv[1]), *(int(text) for text in sys.argv[2:]))
    read_cached_runs(store, (), default_cache())
    read_cached_baselines(store, default_cache())
    print(store)
