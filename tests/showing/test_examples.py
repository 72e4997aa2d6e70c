from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bench.cli import app
from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError
from bench.pretraining.objective import Objective
from bench.registry import Registry
from bench.settings import from_mapping, settings
from bench.showing.examples import Look, Shown, named, show
from bench.showing.json_values import as_json
from bench.showing.text import shown_lines
from bench.spec import SIZES

REGISTRY = Registry()
SHAPE = dataclasses.replace(SIZES["tiny"].encoder, hidden_size=16, num_heads=2, max_length=32)


def look(
    corpus: PreparedCorpus, objective: str | Objective, text: str | None = None, **given: Any
) -> Shown:
    if isinstance(objective, str):
        objective = from_mapping(REGISTRY.get("objective", objective), {}, objective)
    return show(objective, corpus, SHAPE, Look(text, **{"sample": 4, **given}))


@pytest.mark.parametrize("name", REGISTRY.of("objective"))
def test_every_objective_can_be_looked_at(name: str, corpus: PreparedCorpus) -> None:
    """Each ordinary label asks for a token of the text that can be pointed at."""
    shown = look(corpus, name)
    vocabulary = shown.tokenizer.vocabulary
    for row in shown.rows:
        labels, targets = row.trace.labels[0], row.trace.targets[0]
        ordinary = (labels >= 0) & (labels < vocabulary.size)
        ordinary &= ~np.isin(labels, vocabulary.special_ids)
        assert (targets[ordinary] >= 0).all()
        assert (row.trace.tokens[0][targets[ordinary]] == labels[ordinary]).all()
    assert name in "\n".join(line.plain for line in shown_lines(shown, 80))
    json.dumps(as_json(shown), allow_nan=False)


def test_a_sentence_is_read_as_a_row_of_its_own(corpus: PreparedCorpus) -> None:
    shown = look(corpus, "token", "the old gate . The red wall", rows=2)
    found = shown.rows[0].trace
    vocabulary = shown.tokenizer.vocabulary
    assert found.tokens[0, 0] == vocabulary.cls_id
    assert found.tokens[0, -1] == vocabulary.sep_id
    assert shown.tokenizer.decode(found.tokens[0, 1:-1]).strip() == "the old gate . The red wall"
    assert found.real.sum() == found.tokens.shape[1] - 2
    assert shown.rows[0].title == "your text, epoch 0"
    assert shown.notes == []


def test_epochs_differ_unless_masking_is_static(corpus: PreparedCorpus) -> None:
    cls = REGISTRY.get("objective", "token")
    text = " ".join(["the old gate near the red wall"] * 3)
    for masking in ("dynamic", "static"):
        objective = from_mapping(cls, {"masking": masking}, "token")
        first, *others = look(corpus, objective, text, rows=3).rows
        assert all(row.is_like(first) for row in others) == (masking == "static")


def test_a_long_sentence_is_cut_and_an_empty_one_refused(corpus: PreparedCorpus) -> None:
    shown = look(corpus, "token", "the old gate " * 100)
    assert shown.rows[0].trace.tokens.shape[1] == SHAPE.max_length
    assert "cut" in shown.notes[0]
    with pytest.raises(BenchError, match="no tokens"):
        look(corpus, "token", "")
    with pytest.raises(BenchError, match="not UTF-8"):
        look(corpus, "token", "na\udcc3ve")


def test_a_sentence_too_short_to_hide_anything_says_so(corpus: PreparedCorpus) -> None:
    lines = [line.plain for line in shown_lines(look(corpus, "token", "the"), 80)]
    assert any("learns nothing" in line for line in lines)


def test_what_the_loss_fills_in_is_shown(corpus: PreparedCorpus) -> None:
    @settings
    class Filler(Objective):
        """Feeds the encoder the first ordinary token wherever the mask stands."""

        name = "filler"
        summary = source = "-"

        def corrupt(self, batch: Any, vocabulary: Any, noise: Any) -> Any:
            token = from_mapping(REGISTRY.get("objective", "token"), {"rate": 0.5}, "token")
            return token.corrupt(batch, vocabulary, noise)

        def loss(self, encoder: Any, head: Any, example: Any, noise: Any) -> Any:
            assert not torch.is_grad_enabled()
            encoder(tokens=torch.full_like(example.inputs, 9), attention=example.attention)

    filled = look(corpus, Filler(), rows=1).rows[0].filled
    assert filled is not None
    assert (filled.inputs == 9).all()
    assert look(corpus, "token", rows=1).rows[0].filled is None


def test_one_objective_at_a_time() -> None:
    for asked in ("all", "token,span"):
        with pytest.raises(BenchError, match="one objective at a time"):
            named({"token": None, "span": None}, asked)  # type: ignore[dict-item]


@pytest.mark.slow
def test_the_command(tmp_path: Any) -> None:
    """Text and JSON on standard output, the figure in its file."""
    (tmp_path / "text.txt").write_text(
        "The scientist studied the cell. It was old.\n\nMore.\n" * 200
    )
    flags = ["--corpus", str(tmp_path / "text.txt"), "--set", "span.rate=0.3"]
    runner = CliRunner()
    figure = tmp_path / "figure.svg"
    done = runner.invoke(app, ["show", "span", "Any old text", *flags, "--figure", str(figure)])
    assert done.exit_code == 0, done.output
    assert "your text, epoch 0" in done.output
    assert "\x1b[" not in done.output
    assert figure.read_text().startswith("<?xml")
    done = runner.invoke(app, ["show", "span", *flags, "--json"])
    found = json.loads(done.stdout)
    assert found["objective"] == "span"
    assert found["settings"]["rate"] == 0.3
    assert found["realised"]["nominal"]["predicted"] == 0.3
    assert {"title", "text", "input", "labels", "attention"} <= found["rows"][0].keys()
