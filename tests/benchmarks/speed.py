"""Speed of training and corruption compared with transformers, in one run: quote the ratios.

    python -m tests.benchmarks.speed [rounds]      (needs transformers; all at hidden 128, 4 layers,
                                           length 128, batch 64, vocabulary 4096, one thread a core)

The step of bench is the whole step of the loop: rows from the store, corruption, forward, backward,
update. The step of transformers is forward, backward and update on a batch masked beforehand.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.engines.execution import prepare
from bench.experiment import resolve
from bench.pretraining.batch import Batch
from bench.pretraining.loop import Pretraining
from bench.pretraining.noise import Noise
from bench.registry import Registry
from tests.benchmarks.figures import keep

HIDDEN, LAYERS, HEADS, LENGTH, ROWS, VOCABULARY = 128, 4, 4, 128, 64, 4096


def seconds(step: Callable[[], object], times: int = 8) -> float:
    """The median of a few calls."""
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        step()
        durations.append(time.perf_counter() - started)
    return sorted(durations)[times // 2]


def text(folder: Path) -> Path:
    """Text that resembles English, with enough words for a vocabulary of 4,096 tokens."""
    draw = np.random.default_rng(0)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(draw.choice(syllables, draw.integers(1, 4))) for _ in range(9000)]
    ranks = np.minimum(draw.zipf(1.3, 400_000), len(words)) - 1
    path = folder / "text.txt"
    path.write_text(
        "\n\n".join(" ".join(words[r] for r in part) for part in ranks.reshape(-1, 100))
    )
    return path


def ours(folder: Path, objective: str) -> Pretraining:
    """The training loop of bench at that shape."""
    sets = [
        f"encoder.hidden_size={HIDDEN}", f"encoder.num_layers={LAYERS}",
        f"encoder.num_heads={HEADS}", f"encoder.max_length={LENGTH}",
        f"encoder.vocab_size={VOCABULARY}", f"training.batch_tokens={ROWS * LENGTH}",
    ]  # fmt: skip
    source = str(text(folder))
    experiment = resolve(objective, Registry(), corpus=source, settings=sets, tasks="none")
    prepared = prepare(experiment)
    spec = experiment.specs(prepared)[0]
    return Pretraining(spec, experiment.objectives[objective], prepared, "cpu")


def theirs(name: str) -> Callable[[], None]:
    """A training step of a model of transformers at that shape."""
    from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

    common = {
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "max_position_embeddings": LENGTH,
    }  # fmt: skip
    if name == "bert":
        model = BertForMaskedLM(BertConfig(**common, intermediate_size=4 * HIDDEN))
    else:
        special = dict.fromkeys(("bos_token_id", "cls_token_id"), 2) | dict.fromkeys(
            ("eos_token_id", "sep_token_id"), 3
        )
        config = ModernBertConfig(
            **common, **special, intermediate_size=HIDDEN * 3 // 2, pad_token_id=0,
            global_attn_every_n_layers=1,
        )  # fmt: skip
        model = ModernBertForMaskedLM(config)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    tokens = torch.randint(5, VOCABULARY, (ROWS, LENGTH))
    selected = torch.rand(tokens.shape) < 0.15
    inputs, labels = torch.where(selected, 4, tokens), torch.where(selected, tokens, -100)
    attention_mask = torch.ones_like(tokens)

    def step() -> None:
        model(input_ids=inputs, attention_mask=attention_mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def corruption(
    run: Pretraining, folder: Path, rows: int = 32, length: int = 512
) -> dict[str, float]:
    """Seconds per batch: objectives of bench, and collators of transformers."""
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    vocabulary = run.vocabulary
    text_rows = run.corpus.train.rows(np.arange(rows), length, vocabulary.cls_id, vocabulary.pad_id)
    parts = (text_rows.tokens, text_rows.real, text_rows.word_start, text_rows.sentence_start)
    batch = Batch(*(torch.from_numpy(part) for part in parts), torch.arange(rows))
    times = {}
    for name in ("token", "whole_word", "span"):
        objective = Registry().get("objective", name)()
        step = iter(range(10**9))

        def corrupt(objective: object = objective, step: object = step) -> None:
            noise = Noise(0, next(step), batch.example_ids)  # type: ignore[call-overload]
            objective.corrupt(batch, vocabulary, noise)  # type: ignore[attr-defined]

        times[f"ours_{name}"] = seconds(corrupt, 60)
    path = run.corpus.folder / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(path), mask_token="[MASK]", pad_token="[PAD]", unk_token="[UNK]"
    )
    encoded = tokenizer(
        text(folder).read_text()[:400_000], return_offsets_mapping=True, add_special_tokens=False
    )
    ids = np.resize(encoded["input_ids"], (rows, length))
    offsets = np.resize(encoded["offset_mapping"], (rows, length, 2))
    plain = [{"input_ids": r.tolist(), "special_tokens_mask": [0] * length} for r in ids]
    worded = [{**row, "offset_mapping": o.tolist()} for row, o in zip(plain, offsets, strict=True)]
    token = DataCollatorForLanguageModeling(tokenizer)
    word = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True)
    times["theirs_token"] = seconds(lambda: token([dict(row) for row in plain]), 8)
    times["theirs_whole_word"] = seconds(lambda: word([dict(row) for row in worded]), 8)
    return times


def main(rounds: int) -> None:
    """Alternate the steps of bench and transformers, and print the ratios of medians."""
    warnings.filterwarnings("ignore")
    folder = Path(tempfile.mkdtemp())
    runs = {name: ours(folder, name) for name in ("token", "whole_word", "span", "causal")}
    steps = {name: run.step for name, run in runs.items()} | {
        name: theirs(name) for name in ("bert", "modernbert")
    }
    for step in steps.values():
        for _ in range(3):
            step()
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            rates[name].append(ROWS * LENGTH / seconds(step))
    median = {name: sorted(values)[rounds // 2] for name, values in rates.items()}
    corrupting = {}
    for rows in (32, 256):
        times = corruption(runs["token"], folder, rows)
        corrupting[f"{rows}x512"] = {
            "milliseconds": {name: round(s * 1e3, 3) for name, s in times.items()},
            "ratio": {
                name: round(times[f"theirs_{name}"] / times[f"ours_{name}"], 1)
                for name in ("token", "whole_word")
            },
        }
    figures = {
        "threads": torch.get_num_threads(),
        "tokens_per_second": {name: round(value) for name, value in median.items()},
        "ratio_to_bert": {name: round(median[name] / median["bert"], 2) for name in runs},
        "ratio_to_modernbert": {
            name: round(median[name] / median["modernbert"], 2) for name in runs
        },
        "corruption": corrupting,
    }
    keep("step", figures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
