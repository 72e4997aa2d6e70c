"""Speed on one GPU, and what is true there: about ten minutes, one JSON object.

    python -m tests.benchmarks.gpu [--device cuda] [--quick] [--peak TFLOPS]

For each size and objective: tokens per second, the share of the GPU's bfloat16 peak that the
ledger's FLOPs are (MFU), the share of a step outside loss and gradient, graphs compiled after the
warm-up, memory with its estimate, and ModernBERT of transformers, compiled, on the same rows. Also
whether the corruption is the same on both devices. `--device cpu --quick` runs the same code on a
CPU, where its figures mean nothing. Needs transformers for its part.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.utils import counters

from bench.corpus.preparation import PreparedCorpus
from bench.engines.execution import prepare
from bench.experiment import resolve
from bench.pretraining.accelerator.memory import StepMemory
from bench.pretraining.accelerator.prefetch import RowsKey
from bench.pretraining.batch import Batch, Example
from bench.pretraining.loop import Pretraining
from bench.pretraining.noise import Noise
from bench.registry import Registry

OWN_HEADS = "mixture(components=0.5*token+0.5*replaced_token)"
CASES = {
    "small": ("token", "causal", "prefix_lm", "t5_infilling", OWN_HEADS),
    "base": ("token", "prefix_lm"),
}
QUICK = {"tiny": ("token", OWN_HEADS)}
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 FLOPs per second, of the vendor's data sheets."""


def text(folder: Path, num_words: int) -> Path:
    """Text with enough different words for a vocabulary of 32,768 tokens."""
    draw = np.random.default_rng(0)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(draw.choice(syllables, draw.integers(1, 5))) for _ in range(60_000)]
    ranks = np.minimum(draw.zipf(1.15, num_words), len(words)) - 1
    path = folder / "text.txt"
    path.write_text(
        "\n\n".join(" ".join(words[r] for r in part) for part in ranks.reshape(-1, 100))
    )
    return path


def run_of(source: Path, objective: str, size: str, device: str) -> Pretraining:
    """The training loop at a size, warmed up."""
    experiment = resolve(
        objective, Registry(), corpus=str(source), size=size, tasks="none", budget="1T",
        device=device,
    )  # fmt: skip
    prepared: PreparedCorpus = prepare(experiment)
    (name,) = (one for one, built in experiment.objectives.items() if built.trains)
    spec = next(spec for spec in experiment.specs(prepared) if spec.display_name == name)
    run = Pretraining(spec, experiment.objectives[name], prepared, device)
    run.rows.start()
    if device == "cuda":
        run._warm_up()
    return run


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(step: Callable[[], object], times: int, device: str) -> float:
    """Mean of some calls after two others; calls are queued as in training."""
    for _ in range(2):
        step()
    wait(device)
    started = time.perf_counter()
    for _ in range(times):
        step()
    wait(device)
    return (time.perf_counter() - started) / times


def corrupted(run: Pretraining, device: str, micro: int, count: int) -> tuple[Example, Noise]:
    """What the objective makes of a micro-batch of the first step, on a device."""
    rows, epochs = run.rows.gather(RowsKey(0, micro, count))
    tensors = {name: tensor.to(device) for name, tensor in rows.tensors.items()}
    statistics = {name: table.to(device) for name, table in run.reader.statistics.items()}
    batch = Batch(**tensors, progress=0.3, statistics=statistics)
    noise = Noise(run.spec.seed, epochs.to(device), batch.example_ids)
    return run.objective.corrupt(batch, run.vocabulary, noise), noise


def has_equal_corruption(run: Pretraining, device: str) -> bool:
    """Whether both devices make the same of a row."""
    here, _ = corrupted(run, "cpu", 0, run.num_groups)
    there, _ = corrupted(run, device, 0, run.num_groups)
    return torch.equal(here.inputs, there.inputs.cpu()) and torch.equal(
        here.labels, there.labels.cpu()
    )


def figures(run: Pretraining, device: str, steps: int, peak: float | None) -> dict[str, Any]:
    """The figures of one run."""
    graphs = counters["stats"]["unique_graphs"]
    per_step = seconds(run.step, steps, device)
    run.settle()
    graphs = counters["stats"]["unique_graphs"] - graphs
    count = run.gradient_accumulation_steps
    example, noise = corrupted(run, device, 0, count)

    def model() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = run.objective.loss(run.encoder, run.head, example, noise)  # type: ignore[arg-type]
        loss.sum.backward()  # type: ignore[no-untyped-call]
        run.optimizer.zero_grad()

    in_model = seconds(model, steps, device) * count
    ledger, tokens = run.ledger, run.rows_per_step * run.length
    memory = StepMemory.of(run.spec.encoder, run.cost, example)
    flops = ledger.flops / ledger.steps / per_step
    return {
        "tokens_per_second": round(tokens / per_step),
        "mfu": None if peak is None else round(flops / peak, 3),
        "share_outside_the_model": round(1 - in_model / per_step, 3),
        "graphs_after_warm_up": graphs,
        "micro_batches": count,
        "gigabytes": round(torch.cuda.max_memory_allocated() / 2**30, 1)
        if device == "cuda"
        else None,
        "estimated_gigabytes": round(memory.total(run.micro_batch_rows, run.length) / 2**30, 2),
        "equal_corruption": has_equal_corruption(run, device),
    }


def modernbert(run: Pretraining, device: str, steps: int, parts: int = 1) -> float | None:
    """Tokens per second of transformers' ModernBERT, all layers global, with the rows of `run`.

    It has logits at every position, so its micro-batches are cut into `parts` where they must be.
    """
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    shape, rows = run.spec.encoder, -(-run.micro_batch_rows // parts)
    config = ModernBertConfig(
        vocab_size=shape.vocab_size, hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers, num_attention_heads=shape.num_heads,
        intermediate_size=shape.mlp_size, max_position_embeddings=shape.max_length,
        global_attn_every_n_layers=1, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        cls_token_id=2, sep_token_id=3,
    )  # fmt: skip
    model = ModernBertForMaskedLM(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    compiled = torch.compile(model) if device == "cuda" else model
    tokens = torch.randint(5, shape.vocab_size, (rows, shape.max_length), device=device)
    selected = torch.rand(tokens.shape, device=device) < 0.15
    inputs, labels = torch.where(selected, 4, tokens), torch.where(selected, tokens, -100)

    def step() -> None:
        for _ in range(run.gradient_accumulation_steps * parts):
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = compiled(input_ids=inputs, labels=labels).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    try:
        return run.rows_per_step * run.length / seconds(step, steps, device)
    except torch.OutOfMemoryError:
        del model, compiled, optimizer
    return modernbert(run, device, steps, parts * 2)


def measure(device: str, quick: bool, peak: float | None) -> dict[str, Any]:
    """All figures."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    peak = peak or next((flops for gpu, flops in PEAKS.items() if gpu in name), None)
    steps = 2 if quick else 20
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "sizes": {}}
    with tempfile.TemporaryDirectory() as folder:
        source = text(Path(folder), 20_000 if quick else 3_000_000)
        for size, objectives in (QUICK if quick else CASES).items():
            own: dict[str, Any] = {}
            for objective in objectives:
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                run = run_of(source, objective, size, device)
                own[run.objective.display_name] = figures(run, device, steps, peak)
                run.rows.stop()
                if objective == "token":
                    theirs = modernbert(run, device, steps)
                    own["modernbert"] = theirs and {
                        "tokens_per_second": round(theirs),
                        "ratio": round(own["token"]["tokens_per_second"] / theirs, 2),
                    }
                del run
            result["sizes"][size] = own
    return result


def main() -> None:
    """Read the options, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="a tiny encoder, two steps")
    parser.add_argument("--peak", type=float, help="TFLOPS in bfloat16 of a GPU not in the list")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: --device cpu --quick tries the code, not the speed")
    warnings.filterwarnings("ignore")
    peak = None if options.peak is None else options.peak * 1e12
    print(json.dumps(measure(options.device, options.quick, peak), indent=1))


if __name__ == "__main__":
    main()
