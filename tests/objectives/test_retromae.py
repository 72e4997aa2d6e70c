from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Batch, Example
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initial_head
from bench.pretraining.encoder.layers import rotate
from bench.pretraining.heads import EnhancedDecoder, token_loss
from bench.pretraining.loop import Pretraining
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch
from tests.helpers.by_hand import SHAPE, batch_of, build, noise_for


def modules(**values: Any) -> tuple[Any, Encoder, EnhancedDecoder]:
    objective = build("retromae", **values)
    head = initial_head(lambda: objective.head(SHAPE, VOCABULARY), 0)
    assert isinstance(head, EnhancedDecoder)
    with torch.no_grad():  # larger than at the start, so that every influence can be seen
        for parameter in head.parameters():
            parameter.mul_(10.0 if parameter.ndim > 1 else 1.0)
    return objective, Encoder(SHAPE, 0), head


def corrupted(objective: Any, batch: Batch) -> Example:
    example: Example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    return example


def decode_one(
    head: EnhancedDecoder, vector: torch.Tensor, embedded: torch.Tensor, seen: list[int], at: int
) -> torch.Tensor:
    """The feature of one position from its visible tokens, written as in the paper, H1 and H2."""
    query = (vector + head.position_embeddings.weight[at])[None]
    keys = torch.stack([vector, *(embedded[i] for i in seen)])
    places = torch.tensor([0, *seen])
    heads, size = head.num_heads, len(vector) // head.num_heads
    q = head.Wq(head.query_norm(query)).view(1, heads, size).transpose(0, 1)
    k, v = head.Wkv(head.key_norm(keys)).view(len(keys), 2, heads, size).permute(1, 2, 0, 3)
    q = rotate(q, (head.cosine[[at]], head.sine[[at]]))
    k = rotate(k, (head.cosine[places], head.sine[places]))
    weights = (q @ k.transpose(1, 2) / size**0.5).softmax(-1)
    x = query + head.Wo((weights @ v).transpose(0, 1).reshape(1, -1))
    result: torch.Tensor = head.final_norm(x + head.mlp(head.mlp_norm(x)))[0]
    return result


def test_by_hand_each_position_reads_the_vector_and_its_own_set() -> None:
    _, encoder, head = modules()
    batch = batch_of([2, 10, 11, 12])
    embedded, vector = encoder.embed(batch.tokens), torch.randn(1, 16)
    visible = torch.tensor(
        [[[1, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]]], dtype=torch.bool
    )
    result = head.decode(vector, embedded, visible)[0]
    for at, seen in ((1, [2]), (2, [1, 3]), (3, [])):  # never itself, always the vector
        torch.testing.assert_close(
            result[at], decode_one(head, vector[0], embedded[0], seen, at), rtol=1e-4, atol=1e-5
        )


def test_loss_is_both_means_by_a_slow_loop() -> None:
    objective, encoder, head = modules(rate=0.3)
    batch = sample_batch(4, 24)
    noise = noise_for(batch)
    example = corrupted(objective, batch)
    loss = objective.loss(encoder, head, example, noise)
    hidden, table = encoder(example.inputs, example.attention), encoder.token_table
    embedded = encoder.embed(batch.tokens)
    visible = objective.visible_sets(batch.attention_mask, noise)
    total = written = 0.0
    for row in range(4):
        real, labels = batch.real[row], example.labels[row]
        asked = labels != IGNORED
        features = hidden[row, example.positions[row][asked]]  # type: ignore[index]
        masked = F.cross_entropy(head(features, table), labels[asked]).item()
        nats = 0.0
        for at in real.nonzero()[:, 0].tolist():
            seen = [i for i in range(1, 24) if visible[row, at, i] and i != at]
            feature = decode_one(head, hidden[row, 0], embedded[row], seen, at)
            nats += F.cross_entropy(head(feature, table), batch.tokens[row, at]).item()
        total += masked * real.sum().item() + nats
        written += nats
    assert loss.sum.item() == pytest.approx(total, rel=1e-4)
    assert loss.parts["decoder"][0].item() == pytest.approx(written, rel=1e-4)
    assert loss.divisor is None
    assert int(loss.predictions) == int(loss.parts["decoder"][1]) == int(batch.real.sum())
    assert int(loss.parts["encoder"][1]) == int((example.labels != IGNORED).sum())


def test_the_masked_part_is_the_loss_of_token() -> None:
    objective, encoder, head = modules(rate=0.2)
    batch = sample_batch(4, 24)
    example = corrupted(objective, batch)
    plain = build("token", rate=0.2).corrupt(batch, VOCABULARY, noise_for(batch))
    assert torch.equal(example.inputs, plain.inputs)
    loss = objective.loss(encoder, head, example, noise_for(batch))
    expected = token_loss(encoder, head.token, plain).sum.item()
    assert loss.parts["encoder"][0].item() == pytest.approx(expected, rel=1e-5)


def test_no_position_sees_its_own_token() -> None:
    _, encoder, head = modules()
    batch = sample_batch(1, 24)
    vector = torch.randn(1, 16)
    everything = torch.ones(1, 24, 24, dtype=torch.bool)
    before = head.decode(vector, encoder.embed(batch.tokens), everything)
    for at in (1, 7, 23):
        tokens = batch.tokens.clone()
        tokens[0, at] = 400 if tokens[0, at] != 400 else 401
        moved = (head.decode(vector, encoder.embed(tokens), everything) - before).abs().amax(-1)
        assert moved[0, at] == 0
        assert (moved[0] > 0).sum() == 23  # all others do
    moved = (head.decode(-vector, encoder.embed(batch.tokens), everything) - before).abs().amax(-1)
    assert (moved > 0).all()


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.7, 1.0])
def test_visible_sets_have_the_rate_and_differ_by_position_row_and_epoch(rate: float) -> None:
    objective = build("retromae", decoder_rate=rate)
    batch = sample_batch(40, 48)
    assert batch.attention_mask is not None
    visible = objective.visible_sets(batch.attention_mask, noise_for(batch))
    assert not visible[~batch.attention_mask[:, None].expand_as(visible)].any()
    share = visible[:-1].float().mean().item()
    assert share == pytest.approx(1 - rate, abs=0.01)
    again = objective.visible_sets(batch.attention_mask, noise_for(batch))
    assert torch.equal(visible, again)
    if rate in (0.5, 0.7):
        assert len(torch.unique(visible[0], dim=0)) == 48
        assert not torch.equal(visible[0], visible[1])
        other = objective.visible_sets(batch.attention_mask, noise_for(batch, epoch=1))
        assert not torch.equal(visible, other)
        static = build("retromae", decoder_rate=rate, masking="static")
        one, two = (
            static.visible_sets(batch.attention_mask, noise_for(batch, epoch=e)) for e in (0, 1)
        )
        assert torch.equal(one, two)


def test_long_rows_repeat_their_sets() -> None:
    mask = torch.ones(2, 150, dtype=torch.bool)
    batch = sample_batch(2, 150)
    visible = build("retromae").visible_sets(mask, noise_for(batch))
    assert len(torch.unique(visible[0], dim=0)) == 64
    assert torch.equal(visible[:, 3], visible[:, 67])


def test_the_decoder_reads_the_vector_alone_where_nothing_else_is_visible() -> None:
    """With decoder_rate=1 the loss of the decoder reaches the encoder's layers by [CLS] alone."""
    objective, encoder, head = modules(decoder_rate=1.0)
    batch = sample_batch(2, 24)
    hidden: list[torch.Tensor] = []
    encoder.register_forward_hook(lambda *a: (a[2].retain_grad(), hidden.append(a[2]))[0])
    loss = objective.loss(encoder, head, corrupted(objective, batch), noise_for(batch))
    loss.parts["decoder"][0].backward()
    assert hidden[0].grad is not None
    reached = hidden[0].grad.abs().sum(-1) > 0
    assert reached[:, 0].all()
    assert not reached[:, 1:].any()


def test_a_run_has_both_losses_in_its_curve(
    make_spec: Any, corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.pretraining.validation.VALIDATION_TOKENS", 256)
    run = Pretraining(*make_spec("retromae", budget="2048"), corpus, "cpu")
    run.train(lambda progress: None, lambda: None)
    last = run.curve[-1]
    both = last["train_encoder_nats"] + last["train_decoder_nats"]
    assert last["train_nats"] == pytest.approx(both, rel=0.05)  # rows have slightly other weights


def test_settings_out_of_range_are_refused() -> None:
    for name in ("rate", "decoder_rate"):
        with pytest.raises(BenchError, match=f"retromae.{name}"):
            build("retromae", **{name: 1.5})
