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
from bench.settings import from_mapping, settings
from bench.showing.examples import Demonstration, ShowOptions, select_objective, show
from bench.showing.json_values import as_json
from bench.showing.text import demonstration_lines
from bench.sizes import SIZES
from tests.helpers.registry import REGISTRY

SHAPE = dataclasses.replace(SIZES["tiny"].encoder, hidden_size=16, num_heads=2, max_length=32)


def demonstrate(
    corpus: PreparedCorpus, objective: str | Objective, text: str | None = None, **options: Any
) -> Demonstration:
    if isinstance(objective, str):
        objective = from_mapping(REGISTRY.get("objective", objective), {}, objective)
    return show(objective, corpus, SHAPE, ShowOptions(text, **{"sample_rows": 4, **options}))


@pytest.mark.parametrize("name", REGISTRY.of("objective"))
def test_every_objective_can_be_shown(name: str, corpus: PreparedCorpus) -> None:
    """The trace finds the token of the text of each ordinary label."""
    demonstration = demonstrate(corpus, name)
    vocabulary = demonstration.tokenizer.vocabulary
    for row in demonstration.rows:
        labels, targets = row.trace.labels[0], row.trace.targets[0]
        ordinary = (labels >= 0) & (labels < vocabulary.size)
        ordinary &= ~np.isin(labels, vocabulary.special_ids)
        assert (targets[ordinary] >= 0).all()
        assert (row.trace.tokens[0][targets[ordinary]] == labels[ordinary]).all()
    assert name in "\n".join(line.plain for line in demonstration_lines(demonstration, 80))
    json.dumps(as_json(demonstration), allow_nan=False)


def test_a_text_is_a_row(corpus: PreparedCorpus) -> None:
    demonstration = demonstrate(corpus, "token", "the old gate . The red wall", rows=2)
    trace = demonstration.rows[0].trace
    vocabulary = demonstration.tokenizer.vocabulary
    assert trace.tokens[0, 0] == vocabulary.cls_id
    assert trace.tokens[0, -1] == vocabulary.sep_id
    assert (
        demonstration.tokenizer.decode(trace.tokens[0, 1:-1]).strip()
        == "the old gate . The red wall"
    )
    assert trace.real.sum() == trace.tokens.shape[1] - 2
    assert demonstration.rows[0].title == "your text, epoch 0"
    assert demonstration.notes == []


def test_epochs_differ_unless_masking_is_static(corpus: PreparedCorpus) -> None:
    cls = REGISTRY.get("objective", "token")
    text = " ".join(["the old gate near the red wall"] * 3)
    for masking in ("dynamic", "static"):
        objective = from_mapping(cls, {"masking": masking}, "token")
        first, *others = demonstrate(corpus, objective, text, rows=3).rows
        assert all(row.is_same_as(first) for row in others) == (masking == "static")


def test_a_long_text_is_cut_and_an_empty_one_refused(corpus: PreparedCorpus) -> None:
    demonstration = demonstrate(corpus, "token", "the old gate " * 100)
    assert demonstration.rows[0].trace.tokens.shape[1] == SHAPE.max_length
    assert "cut" in demonstration.notes[0]
    with pytest.raises(BenchError, match="no tokens"):
        demonstrate(corpus, "token", "")
    with pytest.raises(BenchError, match="not UTF-8"):
        demonstrate(corpus, "token", "na\udcc3ve")


def test_a_text_too_short_to_hide_a_token_is_reported(corpus: PreparedCorpus) -> None:
    lines = [line.plain for line in demonstration_lines(demonstrate(corpus, "token", "the"), 80)]
    assert any("learns nothing" in line for line in lines)


def test_the_encoder_input_of_the_loss_is_shown(corpus: PreparedCorpus) -> None:
    @settings
    class Filler(Objective):
        """Passes the token 9 to the encoder at every position."""

        name = "filler"
        summary = source = "-"

        def corrupt(self, batch: Any, vocabulary: Any, noise: Any) -> Any:
            token = from_mapping(REGISTRY.get("objective", "token"), {"rate": 0.5}, "token")
            return token.corrupt(batch, vocabulary, noise)

        def loss(self, encoder: Any, head: Any, example: Any, noise: Any) -> Any:
            assert not torch.is_grad_enabled()
            encoder(tokens=torch.full_like(example.inputs, 9), attention=example.attention)

    filled = demonstrate(corpus, Filler(), rows=1).rows[0].filled
    assert filled is not None
    assert (filled.inputs == 9).all()
    assert demonstrate(corpus, "token", rows=1).rows[0].filled is None


def test_one_objective_at_a_time() -> None:
    objectives = {
        name: from_mapping(REGISTRY.get("objective", name), {}, name)
        for name in ("token", "span", "untrained")
    }
    with pytest.raises(BenchError, match="takes one objective, got 'token,span'"):
        select_objective(objectives, "token,span")
    del objectives["token"]
    assert select_objective(objectives, "span") is objectives["span"]
    del objectives["span"]
    assert select_objective(objectives, "untrained") is objectives["untrained"]


@pytest.mark.slow
def test_the_command(tmp_path: Any) -> None:
    """Text and JSON are on standard output, and the figure is in its file."""
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
    output = json.loads(done.stdout)
    assert output["objective"] == "span"
    assert output["settings"]["rate"] == 0.3
    assert output["realised"]["nominal"]["predicted"] == 0.3
    assert {"title", "text", "input", "labels", "attention"} <= output["rows"][0].keys()
