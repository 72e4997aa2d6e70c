from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder, rotary_tables, rotate
from bench.pretraining.encoder.initial_weights import initialise
from bench.pretraining.encoder.layers import _RotatedInPlace
from bench.pretraining.ledger import encoder_parameters
from bench.pretraining.noise import Noise
from bench.spec import EncoderShape

SHAPE = EncoderShape(
    hidden_size=32, num_layers=3, num_heads=4, mlp_size=48, max_length=24, vocab_size=60
)


def encoder(seed: int = 0) -> Encoder:
    return Encoder(SHAPE, seed).eval()


def visible_keys(attention: Attention, rows: int = 1, length: int = 10) -> Tensor:
    """[B, query, key]: whether the feature of a query has a gradient at the embedding of a key."""
    model = encoder()
    tokens = torch.arange(5, 5 + length).expand(rows, length)
    leaf: list[Tensor] = []

    def watch(_module: object, _inputs: object, output: Tensor) -> Tensor:
        leaf.append(output.detach().requires_grad_())
        return leaf[0]

    model.embeddings.register_forward_hook(watch)
    hidden = model(tokens, attention)
    reached = []
    for query in range(length):
        # Weighted, because the plain sum of a normalised feature is constant.
        feature = (hidden[:, query] * torch.linspace(-1, 2, SHAPE.hidden_size)).sum()
        (gradient,) = torch.autograd.grad(feature, leaf[0], retain_graph=True)
        reached.append(gradient.abs().sum(-1) > 0)
    return torch.stack(reached, dim=1)


def test_full_attention_includes_all_positions() -> None:
    assert visible_keys(Attention("full")).all()


def test_causal_attention_includes_the_left_only() -> None:
    assert torch.equal(visible_keys(Attention("causal"))[0], torch.ones(10, 10).tril().bool())


def test_prefix_attention_includes_the_prefix_and_the_left() -> None:
    visible = visible_keys(Attention("prefix", prefix_lengths=torch.tensor([4, 1])), rows=2)
    index = torch.arange(10)
    for row, prefix in enumerate((4, 1)):
        assert torch.equal(
            visible[row], (index[None, :] < prefix) | (index[None, :] <= index[:, None])
        )


@pytest.mark.parametrize("pattern", ["full", "causal", "prefix"])
def test_padding_is_never_attended_to(pattern: str) -> None:
    attention_mask = torch.ones(2, 10, dtype=torch.bool)
    attention_mask[1, 6:] = False
    prefix = torch.tensor([3, 3]) if pattern == "prefix" else None
    visible = visible_keys(Attention(pattern, attention_mask, prefix), rows=2)  # type: ignore[arg-type]
    assert not visible[1, :6, 6:].any()


def test_rotation_in_place_has_the_values_and_gradients_of_rotate() -> None:
    heads = torch.randn(2, 6, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    rotary = tuple(table.double() for table in rotary_tables(6, 8, 100.0))
    weights = torch.randn(3, 2, 4, 6, 8, dtype=torch.float64)

    def plain(heads: Tensor) -> Tensor:
        split = heads.permute(2, 0, 3, 1, 4)
        return torch.cat((rotate(split[:2], rotary), split[2:]))  # type: ignore[arg-type]

    def in_place(heads: Tensor) -> Tensor:
        return torch.stack(_RotatedInPlace.apply(heads * 1.0, *rotary))

    values, gradients = [], []
    for function in (plain, in_place):
        values.append(function(heads))
        gradients.extend(torch.autograd.grad((values[-1] * weights).sum(), heads))
    assert torch.allclose(*values)
    assert torch.allclose(*gradients)


def test_padding_changes_no_feature() -> None:
    tokens = torch.arange(5, 15)[None]
    padded = torch.nn.functional.pad(tokens, (0, 4))
    short = encoder()(tokens, Attention("full"))
    long = encoder()(padded, Attention("full", padded > 0))
    assert torch.allclose(short, long[:, :10], atol=1e-5)


def test_rows_over_the_maximum_length_are_refused() -> None:
    with pytest.raises(ValueError, match="25 positions"):
        encoder()(torch.zeros(1, 25).long(), Attention())


def test_initial_weights_depend_on_the_seed_only() -> None:
    state = torch.get_rng_state()
    first, again, other = encoder(), encoder(), encoder(seed=1)
    assert torch.equal(state, torch.get_rng_state())
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim == 1 or not torch.equal(a, c)
    weight = first.layers[1].attn.Wqkv.weight  # type: ignore[union-attr]
    assert abs(weight.std().item() / 0.02 - 1) < 0.05
    assert abs(weight.mean().item()) < 4 * weight.std().item() / weight.numel() ** 0.5


def test_every_parameter_is_drawn_without_the_global_generator() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 1), "b": torch.nn.LayerNorm(3)})
    module.scale = torch.nn.Parameter(torch.full((3,), 9.0))
    initialise(module, 0, "head")
    assert module["a"].bias.tolist() == [0.0]
    assert module["b"].weight.tolist() == [1.0] * 3
    assert module["b"].bias.tolist() == [0.0] * 3
    assert 0 < module.scale.abs().max() < 0.1


def test_dropout_is_a_function_of_the_noise_and_keeps_the_mean() -> None:
    module, tokens = encoder().train(), torch.arange(5, 25)[None].expand(3, -1)
    noise = Noise(0, 0, torch.arange(3))

    def features(rate: float, noise: Noise = noise) -> torch.Tensor:
        module.set_dropout(rate, noise)
        return module(tokens, Attention())

    plain = features(0.0)
    dropped = features(0.3)
    assert torch.equal(dropped, features(0.3))
    assert not torch.equal(dropped[0], dropped[1])  # every example has positions of its own
    assert not torch.equal(dropped, features(0.3, Noise(0, 1, torch.arange(3))))
    second = module(tokens, Attention())  # a second pass of one step
    assert not torch.equal(second, dropped)
    part = dataclasses.replace(noise, example_ids=noise.example_ids[1:])
    module.set_dropout(0.3, part)
    torch.testing.assert_close(module(tokens[1:], Attention()), dropped[1:])
    module.eval()
    assert torch.equal(features(0.3), plain)
    keep = module.train()._keep(tokens)
    assert keep.shape == (3, 7, 20, 32)
    assert abs(keep.mean().item() - 1) < 0.02
    assert keep.unique().tolist() == pytest.approx([0.0, 1 / 0.7])


def test_an_objective_s_own_dropout_is_in_evaluation_too_and_ends_with_its_block() -> None:
    module, tokens = encoder().eval(), torch.arange(5, 25)[None].expand(3, -1)
    noise = Noise(0, 0, torch.arange(3))
    plain = module(tokens, Attention())
    with module.dropout(0.3, noise):
        first, second = module(tokens, Attention()), module(tokens, Attention())
    assert not torch.equal(first, second)
    assert not torch.equal(first, plain)
    assert torch.equal(module(tokens, Attention()), plain)
    module.train()
    module.set_dropout(0.3, noise)
    assert torch.equal(module(tokens, Attention()), first)  # the same draws as in training
    with module.dropout(0.5, noise):
        assert not torch.equal(module(tokens, Attention()), first)
    assert torch.equal(module(tokens, Attention()), second)  # the passes before the block count
    with pytest.raises(ZeroDivisionError), module.dropout(0.3, noise):
        raise ZeroDivisionError
    module.eval()
    assert torch.equal(module(tokens, Attention()), plain)


def test_number_of_parameters_equals_the_ledger() -> None:
    assert sum(p.numel() for p in encoder().parameters()) == encoder_parameters(SHAPE)


def test_depth_and_width_do_not_change_the_scale() -> None:
    for width, layers in ((32, 2), (128, 8)):
        shape = dataclasses.replace(SHAPE, hidden_size=width, num_layers=layers)
        states = Encoder(shape, 0).hidden_states(torch.arange(5, 25)[None], Attention())
        assert 0.8 < states[-2].std() < 2.0


@pytest.mark.slow
def test_hidden_states_equal_modernbert() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ModernBertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=24, global_attn_every_n_layers=1,
        norm_bias=False, attention_bias=False, mlp_bias=False, pad_token_id=0,
        cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3,
        attn_implementation="sdpa",
    )  # fmt: skip
    theirs = transformers.ModernBertModel(config).eval()
    ours = encoder()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    tokens = torch.arange(5, 25)[None]
    with torch.no_grad():
        expected = theirs(input_ids=tokens).last_hidden_state
        assert torch.allclose(ours(tokens, Attention()), expected, atol=1e-5)
