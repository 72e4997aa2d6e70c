"""The losses of a few steps of every objective are those that are written down.

The same settings must give the same weights for as long as `RECIPE` stays the same: it is what
keeps an old run from being taken for a new one. `untrained` makes no steps; its weights are those
that all others begin with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.pretraining.loop import Pretraining
from bench.spec import RECIPE, Training
from tests.helpers.paths import GOLDEN, ROOT

FILE = GOLDEN / "losses.json"
OBJECTIVES = {path.stem for path in (ROOT / "objectives").glob("[a-z]*.py")} - {"untrained"}
STEPS = 6
TOLERANCE = 1e-4  # relative; the kernels of SSE, AVX2 and AVX-512 differ by 7e-7
TRAINING = Training(  # a change of any by a tenth shows, but of clip_norm
    learning_rate=2e-2, batch_tokens=128, warmup=0.4, decay=0.5, weight_decay=5.0,
    beta1=0.5, beta2=0.7, dropout=0.1, clip_norm=0.2,
)  # fmt: skip


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses_of(name: str, make_spec: Callable[..., Any], corpus: PreparedCorpus) -> list[float]:
    settings = {"simcse": {"group_rows": 4}, "adaptive_mlm": {"update_steps": 2}}.get(name, {})
    spec, objective = make_spec(name, budget=str(STEPS * TRAINING.batch_tokens), **settings)
    run = Pretraining(replace(spec, training=TRAINING), objective, corpus, "cpu")
    return [float(f"{run.step():.7g}") for _ in range(STEPS)]


@pytest.mark.usefixtures("_one_thread")
def test_losses_change_with_the_recipe_only(
    make_spec: Callable[..., Any], corpus: PreparedCorpus
) -> None:
    now = {
        "recipe": RECIPE,
        "corpus": [corpus.corpus_sha256[:12], corpus.tokenizer_sha256[:12]],
        "losses": {name: losses_of(name, make_spec, corpus) for name in sorted(OBJECTIVES)},
    }
    if os.environ.get("BENCH_REGENERATE_GOLDEN"):
        FILE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    before = json.loads(FILE.read_text(encoding="utf-8"))
    changed = {
        name: (before["losses"].get(name), values)
        for name, values in now["losses"].items()
        if values != pytest.approx(before["losses"].get(name), rel=TOLERANCE)
    }
    assert (before["recipe"], before["corpus"]) == (now["recipe"], now["corpus"]), (
        "the recipe or the generated corpus changed, and these losses were of the one before: "
        "BENCH_REGENERATE_GOLDEN=1 writes them anew"
    )
    assert not changed, (
        f"the same settings give other losses (before, now): {changed}. If that is meant, raise "
        "RECIPE in bench/spec.py, so that no old run is taken for a new one, say in CHANGELOG.md "
        "what changed, and write the losses anew with BENCH_REGENERATE_GOLDEN=1. RECIPE may stay "
        "where only the module of an objective changed: its code is in the identity of its runs"
    )
