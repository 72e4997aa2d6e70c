"""Seconds to the same held-out loss: `bench` and the `Trainer` of transformers.

    python -m tests.benchmarks.against_trainer CORPUS [--budget 1M] [--seed 0]
        [--model bert,modernbert] [--learning-rate 1e-3,2e-3]       (needs transformers, accelerate)

Both have the same rows, tokenizer, shape, tokens per step, budget and one thread. The Trainer has
what a person would give it: its data loader and collator for masking, its logging, the fused AdamW,
a linear schedule with warm-up, and the better of several learning rates. Both are validated on the
same held-out rows with the same masks, and no clock runs meanwhile. `times_sooner` is the Trainer's
seconds at its final loss, divided by the seconds of bench at that loss.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.engines.execution import prepare
from bench.experiment import resolve
from bench.pretraining.loop import CURVE_POINTS, Pretraining
from bench.registry import Registry
from tests.benchmarks.figures import keep
from tests.benchmarks.recipe import Peer

Curve = list[tuple[float, float]]
"""Seconds of training and held-out nats."""


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The rows of the token store, as a data set of the Trainer."""

    def __init__(self, run: Pretraining) -> None:
        vocabulary, store = run.vocabulary, run.corpus.train
        numbers = np.arange(store.num_rows(run.length))
        rows = store.rows(numbers, run.length, vocabulary.cls_id, vocabulary.pad_id)
        self._tokens = rows.tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self._tokens[index]}


def ours(arguments: tuple[Any, ...]) -> Curve:
    """The curve of bench."""
    run = Pretraining(*arguments)
    run.train(lambda _progress: None, lambda: None)
    return [(point["seconds"], point["validation_loss"]) for point in run.curve]


def theirs(arguments: tuple[Any, ...], model: str, learning_rate: float) -> Curve:
    """The curve of the Trainer, with as many points as that of bench."""
    import transformers as t

    run = Peer(*arguments, model=model)
    spec, path = run.spec, run.corpus.folder / "tokenizer.json"
    tokenizer = t.PreTrainedTokenizerFast(
        tokenizer_file=str(path), mask_token="[MASK]", pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
    steps = -(-int(spec.budget.amount) // spec.training.batch_tokens)
    curve: Curve = []
    started, paused = 0.0, 0.0

    class Validation(t.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _arguments: Any, state: Any, _control: Any, **_: Any) -> None:
            nonlocal paused
            if state.global_step % max(1, steps // CURVE_POINTS) and state.global_step < steps:
                return
            now = time.perf_counter()
            with torch.no_grad():
                curve.append((now - started - paused, run.validation_loss(run.objective)))
            paused += time.perf_counter() - now

    with tempfile.TemporaryDirectory() as folder:
        trainer = t.Trainer(
            model=run.model,
            args=t.TrainingArguments(
                folder, per_device_train_batch_size=run.rows_per_step, max_steps=steps,
                learning_rate=learning_rate, lr_scheduler_type="linear", seed=spec.seed,
                warmup_steps=int(steps * spec.training.warmup), optim="adamw_torch_fused",
                weight_decay=spec.training.weight_decay, adam_beta2=spec.training.beta2,
                max_grad_norm=spec.training.clip_norm, logging_steps=50, save_strategy="no",
                report_to=[], use_cpu=True, disable_tqdm=True,
            ),
            train_dataset=Rows(run),
            data_collator=t.DataCollatorForLanguageModeling(tokenizer),
            callbacks=[Validation()],
        )  # fmt: skip
        trainer.remove_callback(t.PrinterCallback)
        started = time.perf_counter()
        trainer.train()
    return curve


def seconds_to(loss: float, curve: Curve) -> float | None:
    """The seconds of the first point at or below a loss."""
    return next((seconds for seconds, nats in curve if nats <= loss), None)


def main() -> None:
    """Run bench, then every model and rate of transformers, and print the comparison."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description="bench against the Trainer of transformers")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--budget", default="1M")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="bert,modernbert")
    parser.add_argument("--learning-rate", default="1e-3,2e-3")
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = resolve(
        "token", Registry(), corpus=str(options.corpus), budget=options.budget, tasks="none",
        seeds=[options.seed], device="cpu", settings=["training.threads=1"],
    )  # fmt: skip
    prepared = prepare(experiment)
    arguments = (experiment.specs(prepared)[0], experiment.objectives["token"], prepared, "cpu")
    own = ours(arguments)
    result: dict[str, Any] = {
        "bench": {"seconds": round(own[-1][0], 1), "nats": round(own[-1][1], 3)}
    }
    for model in options.model.split(","):
        curves = {
            rate: theirs(arguments, model, float(rate)) for rate in options.learning_rate.split(",")
        }
        rate, curve = min(curves.items(), key=lambda item: item[1][-1][1])
        seconds, nats = curve[-1]
        reached = seconds_to(nats, own)
        result[model] = {
            "learning_rate": rate,
            "seconds": round(seconds, 1),
            "nats": round(nats, 3),
            "seconds_of_bench_to_these_nats": None if reached is None else round(reached, 1),
            "times_sooner": None if reached is None else round(seconds / reached, 1),
            "times_the_tokens_per_second": round(seconds / own[-1][0], 1),
        }
    keep("trainer", result)


if __name__ == "__main__":
    main()
