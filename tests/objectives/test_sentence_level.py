"""tsdae, simcse and retromae: one vector for each row; rules that hold for all three."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError, StoppedError
from bench.experiment import resolve
from bench.pretraining.batch import Batch
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initial_head
from bench.pretraining.loop import Pretraining
from bench.pretraining.noise import Noise
from bench.records.run_folder import execute
from bench.storage import file_sha256
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch
from tests.helpers.by_hand import SHAPE, build, noise_for, write_text
from tests.helpers.paths import ROOT
from tests.helpers.registry import REGISTRY

NAMES = ("tsdae", "simcse", "retromae")
MakeSpec = Callable[..., Any]


@pytest.fixture(autouse=True)
def _short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.pretraining.validation.VALIDATION_TOKENS", 512)


def loss_and_gradient(name: str) -> tuple[float, float]:
    """The loss of a sample batch, and the sum of the gradient of the first layer."""
    objective, encoder, batch = build(name), Encoder(SHAPE, 0), sample_batch(6, 24)
    head = initial_head(lambda: objective.head(SHAPE, VOCABULARY), 0)
    noise = noise_for(batch)
    loss = objective.loss(encoder, head, objective.corrupt(batch, VOCABULARY, noise), noise)
    loss.sum.backward()
    weight = encoder.layers[0].attn.Wqkv.weight  # type: ignore[union-attr]
    return loss.sum.item(), weight.grad.abs().sum().item()


@pytest.mark.slow
def test_another_process_has_the_same_loss_and_gradient() -> None:
    script = (
        "import torch; torch.set_num_threads(1); "
        "from tests.objectives.test_sentence_level import NAMES, loss_and_gradient; "
        "print(*[x.hex() for name in NAMES for x in loss_and_gradient(name)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = [x for name in NAMES for x in loss_and_gradient(name)]
    finally:
        torch.set_num_threads(threads)
    assert [float.fromhex(x) for x in done.stdout.split()] == here


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_bit_equal(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    left = iter(range(5, 0, -1))

    def should_stop() -> BaseException | None:
        return StoppedError("stopped") if next(left) == 1 else None

    spec, objective = make_spec(name, budget="2560")
    whole = execute(spec, objective, corpus, tmp_path / "a", lambda progress: None)
    with pytest.raises(StoppedError):
        execute(spec, objective, corpus, tmp_path / "b", lambda progress: None, should_stop)
    resumed = execute(spec, objective, corpus, tmp_path / "b", lambda progress: None)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)


@pytest.mark.parametrize(
    ("name", "settings"), [("tsdae", {}), ("simcse", {"group_rows": 2}), ("retromae", {})]
)
def test_micro_batches_give_the_same_gradient(
    name: str, settings: dict[str, Any], make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(name, **settings), corpus, "cpu")
    gradients = []
    for parts in (1, 4):
        run.gradient_accumulation_steps = parts
        run._gradient(0.0)
        gradients.append(
            [None if p.grad is None else p.grad.clone() for p in run.parameters.values()]
        )
        run.optimizer.zero_grad()
    for whole, added in zip(*gradients, strict=True):
        assert whole is not None
        torch.testing.assert_close(added, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_lowers_the_validation_loss(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(name, budget="20k"), corpus, "cpu")
    run.train(lambda progress: None, lambda: None)
    first, last = run.curve[0], run.curve[-1]
    assert last["validation_loss"] < 0.9 * first["validation_loss"]
    assert last["predictions"] > 0
    assert run.encoder._dropout is None  # none is left for later passes


def rows_with_topics(first: int, rows: int) -> Batch:
    """Each row has one of 16 topics, and its tokens are drawn from the 8 tokens of the topic."""
    noise = Noise(7, 0, torch.arange(rows) + first)
    topics = (noise.uniform("topic", (rows, 1)) * 16).long()
    tokens = 10 + topics * 8 + (noise.uniform("token", (rows, 24)) * 8).long()
    tokens[:, 0] = VOCABULARY.cls_id
    real = tokens > 4
    return Batch(tokens, real, real, real, noise.example_ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsdae", "retromae"])
def test_the_vector_learns_the_topic_of_its_row(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the vector of another row, the decoder predicts the tokens of another topic."""
    objective, encoder = build(name), Encoder(SHAPE, 0)
    head = initial_head(lambda: objective.head(SHAPE, VOCABULARY), 0)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=4e-3)

    def decoder_nats(batch: Batch) -> torch.Tensor:
        noise = noise_for(batch)
        loss = objective.loss(encoder, head, objective.corrupt(batch, VOCABULARY, noise), noise)
        nats, count = loss.parts.get("decoder", (loss.sum, loss.predictions))
        mean: torch.Tensor = (loss.sum if torch.is_grad_enabled() else nats) / count
        return mean

    for step in range(200):
        decoder_nats(rows_with_topics(16 * step, 16)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        batch = rows_with_topics(10**6, 64)
        own = decoder_nats(batch).item()
        plain = encoder._last_state

        def of_others(*arguments: Any) -> torch.Tensor:
            hidden = plain(*arguments)
            return torch.cat((hidden[:, :1].roll(1, 0), hidden[:, 1:]), dim=1)

        monkeypatch.setattr(encoder, "_last_state", of_others)
        assert decoder_nats(batch).item() > own + 0.4


def test_steps_of_one_row_are_refused_for_an_objective_that_compares_rows(tmp_path: Path) -> None:
    write_text(tmp_path)
    arguments: dict[str, Any] = {
        "corpus": str(tmp_path / "text.txt"), "tasks": "none", "budget": "10k", "device": "cpu",
        "settings": ["training.batch_tokens=64"],
    }  # fmt: skip
    with pytest.raises(BenchError, match=r"'simcse' compares .*batch_tokens=128 or more"):
        resolve("simcse", REGISTRY, **arguments)
    assert "tsdae" in resolve("tsdae", REGISTRY, **arguments).objectives
