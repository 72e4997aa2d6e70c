"""Held-out loss at equal tokens and equal seconds: recipes of bench, and models of transformers.

    python -m tests.benchmarks.recipe OUT.jsonl --corpus FILE [--model own,bert,modernbert]
        [--objective token,span] [--budget 1M,500k] [--seeds 0-2] [--workers 2]
        [--change 'training.learning_rate=1e-3,2e-3']... [--table]

Each trial is a pretraining with one thread in a process of its own, and one line of OUT.jsonl;
trials that are in the file are not repeated. Models of transformers read the same rows with the
same tokenizer, masks, schedule and optimizer, and get the learning rates of `--change` too.
A change is a setting of bench (`encoder.*`, `training.*`) or an experiment (`try.*`, see `Trial`);
several values of it make several trials. `--table` prints what is in the file and runs nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.engines.execution import prepare
from bench.experiment import resolve
from bench.pretraining.batch import IGNORED
from bench.pretraining.loop import Pretraining
from bench.records.run_metadata import reference_nats
from bench.registry import Registry
from bench.spec import parse_seeds

Key = tuple[str, ...]


class Trial(Pretraining):
    """The loop of bench with experiments that are no settings.

    Args:
        experiments: `init`: "fan_in" (deviation 1/sqrt(fan-in)), "scaleX" (times X), "same_qk"
            (keys equal queries), "zero_out" (residual writers start at zero); `embedding`: initial
            deviation of the token embedding; `optimizer`: "muon"; `ema`: decay of a tail average of
            the weights; `decay`: "cosine" or "sqrt".
    """

    def __init__(self, *args: Any, experiments: dict[str, str]) -> None:
        super().__init__(*args)
        self.tries = experiments
        with torch.no_grad():
            self._initialise(experiments.get("init", ""))
            embedding = self.encoder.embeddings.tok_embeddings.weight
            embedding *= float(experiments.get("embedding", 0.02)) / 0.02
        if experiments.get("optimizer") == "muon":
            self.optimizer = Muon(self.parameters, self.spec.training)  # type: ignore[assignment]
        self.average: dict[str, Tensor] | None = None

    def _initialise(self, kind: str) -> None:
        for name, parameter in self.parameters.items():
            is_matrix = parameter.ndim >= 2 and "tok_embeddings" not in name
            if kind == "fan_in" and is_matrix:
                parameter *= parameter.shape[1] ** -0.5 / 0.02
            if kind.startswith("scale") and is_matrix:
                parameter *= float(kind.removeprefix("scale"))
            if kind == "zero_out" and name.endswith(".Wo.weight"):
                parameter.zero_()
            if kind.startswith("same_qk") and name.endswith("Wqkv.weight"):
                query, key, _ = parameter.chunk(3)
                key.copy_(query)

    def _update(self, divisor: float, share: float) -> None:
        from bench.pretraining import loop

        shape = self.tries.get("decay")
        if shape:

            def schedule(training: Any, progress: float) -> float:
                rising = min(1.0, (progress + 1e-4) / training.warmup)
                after = max(0.0, progress - training.warmup) / (1 - training.warmup)
                if shape == "cosine":
                    return training.learning_rate * rising * (1 + math.cos(math.pi * after)) / 2
                falling = min(1.0, (1 - progress) / training.decay)
                return training.learning_rate * min(rising, 1 - math.sqrt(1 - falling))

            loop.learning_rate_schedule = schedule  # type: ignore[assignment]
        super()._update(divisor, share)
        if "ema" in self.tries and share > 0.5:
            decay = float(self.tries["ema"])
            if self.average is None:
                self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter.detach(), 1 - decay)

    def averaged_loss(self) -> float:
        """The validation loss of the tail average."""
        if self.average is None:
            return math.nan
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])
            return self.validation_loss(self.objective)


class Muon:
    """Muon in float32 for matrices of the layers, AdamW for the rest (Jordan et al. 2024)."""

    def __init__(self, parameters: dict[str, nn.Parameter], training: Any) -> None:
        from bench.pretraining.optimization import build_optimizer

        self.matrices = [p for n, p in parameters.items() if p.ndim == 2 and ".layers." in n]
        inside = {id(p) for p in self.matrices}
        rest = {n: p for n, p in parameters.items() if id(p) not in inside}
        self.adam = build_optimizer(rest, training)
        self.param_groups = self.adam.param_groups
        self.momenta = [torch.zeros_like(p) for p in self.matrices]
        self.state: dict[Any, Any] = {}

    @torch.no_grad()
    def step(self) -> None:
        rate = self.param_groups[0]["lr"]
        for parameter, momentum in zip(self.matrices, self.momenta, strict=True):
            assert parameter.grad is not None
            momentum.lerp_(parameter.grad, 0.05)
            update = parameter.grad.lerp(momentum, 0.95)
            parts = 3 if parameter.shape[0] == 3 * parameter.shape[1] else 1
            for part, target in zip(update.chunk(parts), parameter.chunk(parts), strict=True):
                orthogonal = _orthogonalised(part)
                target.add_(orthogonal, alpha=-rate * 0.2 * max(part.shape) ** 0.5)
        self.adam.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.adam.zero_grad(set_to_none)
        for parameter in self.matrices:
            parameter.grad = None


def _orthogonalised(matrix: Tensor) -> Tensor:
    """Five Newton-Schulz iterations with Jordan's coefficients."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Peer(Trial):
    """A model of transformers in the place of the encoder and its head."""

    def __init__(self, *args: Any, model: str) -> None:
        super().__init__(*args, experiments={})
        self.model = _peer(model, self.spec.encoder, self.spec.seed)
        self.parameters = {f"encoder.{n}": p for n, p in self.model.named_parameters()}
        from bench.pretraining.optimization import build_optimizer

        self.optimizer = build_optimizer(self.parameters, self.spec.training)
        # The loop counts the positions that the encoder reads.
        self.model.register_forward_hook(self._count)

    def _count(self, _module: Any, _args: Any, _output: Any) -> None:
        self.encoder._tokens_read += self.rows_per_step * self.length

    def _loss(self, objective: Any, batch: Any, noise: Any) -> Any:
        from bench.pretraining.batch import Loss

        example = objective.corrupt(batch, self.vocabulary, noise)
        labels = example.labels
        if example.positions is not None:
            labels = torch.full_like(example.inputs, IGNORED)
            # Unused slots repeat a position; the ones with a label are written last.
            row, slot = (example.labels != IGNORED).nonzero(as_tuple=True)
            labels[row, example.positions[row, slot]] = example.labels[row, slot]
        mask = example.attention.attention_mask
        mask = torch.ones_like(example.inputs) if mask is None else mask.long()
        mean = self.model(input_ids=example.inputs, attention_mask=mask, labels=labels).loss
        count = (labels != IGNORED).sum()
        return Loss(mean * count, count), float(count)


def _peer(name: str, shape: Any, seed: int) -> nn.Module:
    import transformers as t

    torch.manual_seed(seed)
    common = {
        "vocab_size": shape.vocab_size, "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers, "num_attention_heads": shape.num_heads,
        "max_position_embeddings": shape.max_length, "pad_token_id": 0,
    }  # fmt: skip
    if name == "bert":
        no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = t.BertConfig(**common, **no_dropout, intermediate_size=4 * shape.hidden_size)
        return t.BertForMaskedLM(config).train()
    special = {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    config = t.ModernBertConfig(**common, **special, intermediate_size=shape.mlp_size,
                                global_attn_every_n_layers=1, sparse_prediction=True)  # fmt: skip
    config._attn_implementation = "sdpa"
    return t.ModernBertForMaskedLM(config).train()


def do(trial: dict[str, Any]) -> dict[str, Any]:
    """Run one trial in this process."""
    torch.set_num_threads(1)
    changes: dict[str, str] = trial["changes"]
    settings = [f"{k}={v}" for k, v in changes.items() if not k.startswith("try.")]
    tries = {k[4:]: v for k, v in changes.items() if k.startswith("try.")}
    experiment = resolve(
        trial["objective"], Registry(), corpus=trial["corpus"], settings=settings, tasks="none",
        budget=trial["budget"], seeds=[trial["seed"]], size=trial["size"], device="cpu",
    )  # fmt: skip
    prepared = prepare(experiment)
    spec, objective = experiment.specs(prepared)[0], next(iter(experiment.objectives.values()))
    arguments = (spec, objective, prepared, "cpu")
    is_own = trial["model"] == "own"
    run = Trial(*arguments, experiments=tries) if is_own else Peer(*arguments, model=trial["model"])
    started = time.perf_counter()
    status = "finished"
    try:
        run.train(lambda _: None, lambda: None)
    except Exception as error:
        status = f"{type(error).__name__}: {error}"
    curve = [
        [round(p["tokens"]), round(p["seconds"], 2), round(p["validation_loss"], 4)]
        for p in run.curve
    ]
    return trial | {
        "status": status,
        "loss": run.curve[-1]["validation_loss"],
        "averaged": run.averaged_loss(),
        "unigram": reference_nats(prepared)["unigram"],
        "seconds": run.ledger.seconds,
        "wall": time.perf_counter() - started,
        "curve": curve,
    }


def _key(trial: dict[str, Any]) -> str:
    names = ("model", "objective", "corpus", "size", "budget", "seed", "changes")
    return json.dumps([trial[name] for name in names], sort_keys=True)


def main() -> None:
    """Read the command line; run the trials that are missing; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--corpus", default="micro")
    parser.add_argument("--model", default="own")
    parser.add_argument("--objective", default="token")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--budget", default="1M")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--change", action="append", default=[])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trial:
        print(json.dumps(do(json.loads(options.trial))))
        return
    if not options.table:
        _run(options)
    table(options.out)


def _run(options: argparse.Namespace) -> None:
    done = {_key(json.loads(line)) for line in _lines(options.out)}
    grids = [
        [(name, value) for value in values.split(",")]
        for name, _, values in (text.partition("=") for text in options.change)
    ]
    trials = [
        {
            "model": model, "objective": objective, "corpus": options.corpus,
            "size": options.size, "budget": budget, "seed": seed, "changes": dict(changes),
        }
        for budget in options.budget.split(",")
        for changes in itertools.product(*grids)
        for seed in parse_seeds(options.seeds)
        for objective in options.objective.split(",")
        for model in options.model.split(",")
    ]  # fmt: skip

    def work(trial: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.recipe", str(options.out)]
        finished = subprocess.run(
            [*command, "--trial", json.dumps(trial)], stdout=subprocess.PIPE, text=True, check=False
        )
        if finished.returncode == 0:
            with options.out.open("a") as file:
                file.write(finished.stdout)

    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(work, [trial for trial in trials if _key(trial) not in done]))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def table(path: Path) -> None:
    """One line per recipe: the losses of the seeds, their mean, and seconds."""
    groups: dict[Key, list[dict[str, Any]]] = {}
    for line in _lines(path):
        trial = json.loads(line)
        changes = " ".join(f"{k}={v}" for k, v in sorted(trial["changes"].items()))
        corpus = Path(trial["corpus"]).parent.name or trial["corpus"]
        key = (corpus, trial["size"], trial["budget"], trial["objective"], trial["model"], changes)
        groups.setdefault(key, []).append(trial)
    for key, trials in sorted(groups.items()):
        trials.sort(key=lambda trial: trial["seed"])
        losses = " ".join(
            f"{trial['loss']:.3f}" if trial["status"] == "finished" else "failed"
            for trial in trials
        )
        averaged = [t["averaged"] for t in trials if not math.isnan(t["averaged"])]
        note = f" averaged {np.mean(averaged):.3f}" if averaged else ""
        print(
            f"{' '.join(key[:5]):<44} {np.mean([t['loss'] for t in trials]):.3f} "
            f"({losses}){note} {np.median([t['seconds'] for t in trials]):.0f}s {key[5]}"
        )
    factors(list(groups.items()))


def factors(groups: list[tuple[Key, list[dict[str, Any]]]]) -> None:
    """The share of tokens and of seconds at which bench reaches each peer's final loss.

    Both are at their own best recipe of those tried; losses of bench are interpolated in log2 of
    the budget between complete runs.
    """
    best: dict[tuple[str, ...], dict[float, tuple[float, float]]] = {}
    for (corpus, size, _, objective, model, changes), trials in groups:
        tokens = max(trial["curve"][-1][0] for trial in trials)
        loss = float(np.mean([trial["loss"] for trial in trials]))
        seconds = float(np.median([trial["seconds"] for trial in trials]))
        points = best.setdefault((corpus, size, objective, model, changes), {})
        points[tokens] = (loss, seconds)
    for corpus, size, objective in sorted({key[:3] for key in best}):
        mine = {k: v for k, v in best.items() if k[:4] == (corpus, size, objective, "own")}
        for peer in ("bert", "modernbert"):
            theirs = [v for k, v in best.items() if k[:4] == (corpus, size, objective, peer)]
            if not mine or not theirs:
                continue
            most = max(max(points) for points in theirs)
            loss, seconds = min(points[most] for points in theirs if most in points)
            own = min(mine.values(), key=lambda points: points[max(points)][0])
            reached = _reached(sorted(own.items()), loss)
            if reached is None:
                print(f"{corpus} {size} {objective}: own does not reach {peer}'s {loss:.3f}")
                continue
            tokens, spent = reached
            print(
                f"{corpus} {size} {objective}: own reaches {peer}'s final loss ({loss:.3f}) with "
                f"{tokens / most:.2f} x the tokens and {spent / seconds:.2f} x the seconds"
            )


def _reached(
    points: list[tuple[float, tuple[float, float]]], goal: float
) -> tuple[float, float] | None:
    """Tokens and seconds at which the losses reach a goal."""
    before: tuple[float, tuple[float, float]] | None = None
    for tokens, (loss, seconds) in points:
        if loss <= goal:
            if before is None:
                return tokens, seconds
            share = (before[1][0] - goal) / (before[1][0] - loss)
            crossing = 2 ** (math.log2(before[0]) + share * math.log2(tokens / before[0]))
            return crossing, before[1][1] + share * (seconds - before[1][1])
        before = tokens, (loss, seconds)
    return None


if __name__ == "__main__":
    main()
