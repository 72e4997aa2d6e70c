"""Objectives that consist of other objectives: mixing, biphasic, mixture."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import BenchError
from bench.experiment import own_classes
from bench.pretraining.batch import IGNORED, Loss
from bench.pretraining.corruption.mixing import read_mixture, read_objective
from bench.pretraining.encoder import Encoder
from bench.pretraining.ledger import encoder_row_flops, step_flops
from bench.pretraining.noise import Noise
from bench.settings import as_mapping, from_mapping
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import SHAPE, build, noise_for

NO = IGNORED
UNLIKE = "2*span(boundary=true)+replaced_token+token+gpt_bert+prefix_lm+tsdae+retromae"
"""Components that share a head, and components with their own heads, losses and generators."""


def total(loss: Loss) -> tuple[float, float, int]:
    divisor = loss.predictions if loss.divisor is None else loss.divisor
    return float(loss.sum), float(divisor), int(loss.predictions)


def test_objectives_are_read_from_text() -> None:
    result = read_objective(" span( mean_length = 8, max_length=20, rate=0.30->0.15 ) ", "here")
    assert result == build("span", mean_length=8, max_length=20, rate="0.30->0.15")
    assert read_objective("whole-word", "here") == build("whole_word")
    mixed = read_mixture("1e-1*span(mean_length=2) + 3e-1 * token+0.6*prefix_lm()", "here")
    assert [weight for weight, _ in mixed] == pytest.approx([0.1, 0.3, 0.6])
    assert [part.name for _, part in mixed] == ["span", "token", "prefix_lm"]
    assert [w for w, _ in read_mixture("token+token(rate=0.3)", "here")] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here: '' is not of the form NAME"),
        ("span token", "is not of the form NAME"),
        ("span(token", "is not of the form NAME"),
        ("0*span+token", "the weight of '0\\*span' must be a number above 0, not '0'"),
        ("-1*span", "must be a number above 0"),
        ("inf*span", "must be a number above 0"),
        ("half*span", "above 0, not 'half'"),
        ("spam+token", "here: no objective named 'spam'; did you mean 'span'"),
        ("span(rate=2)", "here: span.rate"),
        ("span(lenght=2)", "no setting of span named 'lenght'"),
        ("span(rate)", "'rate' in 'span\\(rate\\)' is not SETTING=VALUE"),
        ("span(rate=0.1,rate=0.2)", "repeats a setting"),
        ("untrained", "trains nothing"),
        ("token++token", "is not of the form NAME"),
        ("token+adaptive_mlm", "'adaptive_mlm' adapts to the model's errors"),
        ("token+simcse", "'simcse' compares rows of a step with each other"),
    ],
)
def test_invalid_text_is_one_error(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        read_mixture(text, "here")


def test_has_own_head() -> None:
    own = {"replaced_token", "t5_infilling", "bart_denoise", "gpt_bert", "masked_diffusion"}
    own |= {"tsdae", "simcse", "retromae"}
    shared = {"token", "whole_word", "span", "pmi", "causal", "prefix_lm", "mntp", "biphasic"}
    for name in own | shared:
        assert build(name).has_own_head == (name in own), name
    assert build("span", boundary=True).has_own_head


def test_biphasic_is_causal_and_then_masked() -> None:
    batch = sample_batch(4, 24)
    objective = build("biphasic", switch=0.4, then="span(rate=0.5->0.1)")
    for progress in (0.0, 0.39):
        early = dataclasses.replace(batch, progress=progress)
        result = objective.corrupt(early, VOCABULARY, noise_for(batch))
        expected = build("causal").corrupt(early, VOCABULARY, noise_for(batch))
        assert result.attention.pattern == "causal"
        assert torch.equal(result.labels, expected.labels)
    for progress, own in (
        (0.4, 0.0),
        (0.7, 0.5),
        (1.0, 1.0),
    ):  # the schedule covers the second phase only
        late = dataclasses.replace(batch, progress=progress)
        result = objective.corrupt(late, VOCABULARY, noise_for(batch))
        span = build("span", rate="0.5->0.1")
        expected = span.corrupt(
            dataclasses.replace(batch, progress=own), VOCABULARY, noise_for(batch)
        )
        assert result.attention.pattern == "full"
        assert torch.equal(result.inputs, expected.inputs)
        assert torch.equal(result.labels, expected.labels)


def test_biphasic_switch_at_the_ends() -> None:
    batch = sample_batch(2, 12)
    for switch, progress, pattern in (
        (0.0, 0.0, "full"),
        (1.0, 0.999, "causal"),
        (1.0, 1.0, "full"),
    ):
        now = dataclasses.replace(batch, progress=progress)
        example = build("biphasic", switch=switch).corrupt(now, VOCABULARY, noise_for(batch))
        assert example.attention.pattern == pattern


@pytest.mark.parametrize("then", ["causal", "replaced_token", "span(boundary=true)", "mixture"])
def test_biphasic_ends_masked(then: str) -> None:
    with pytest.raises(BenchError, match=r"biphasic\.then: .* is not a masked objective"):
        build("biphasic", then=then)


def test_mixture_settings() -> None:
    objective = build("mixture", components="0.5 * span + 0.5*token")
    assert objective == build("mixture", components="0.5*span+0.5*token")
    assert hash(objective) == hash(build("mixture", components="0.5*span+0.5*token"))
    assert from_mapping(type(objective), as_mapping(objective), "mixture") == objective
    assert objective.display_name == "mixture[components=0.5*span+0.5*token]"
    assert {cls.__name__ for cls in own_classes(objective)} == {"Mixture", "Span", "Token"}
    with pytest.raises(BenchError, match="a mixture cannot be part of a mixture"):
        build("mixture", components="token+mixture")
    with pytest.raises(BenchError, match=r"mixture\.components: no objective named"):
        build("mixture", components="tokn")


@pytest.mark.parametrize("components", [build("mixture").components, UNLIKE])
def test_each_row_is_corrupted_by_its_part_alone(components: str) -> None:
    batch = sample_batch(24, 24, seed=2)
    objective = build("mixture", components=components)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    parts, member = objective.ingredients(), example.extras["member"]
    assert set(member.tolist()) == set(range(len(parts)))
    for row, i in enumerate(member.tolist()):
        alone = rows_of(batch, torch.tensor([row]))
        expected = parts[i].corrupt(alone, VOCABULARY, noise_for(alone))
        width = expected.labels.shape[1]
        assert torch.equal(example.inputs[row], expected.inputs[0])
        assert torch.equal(example.labels[row, :width], expected.labels[0])
        assert (example.labels[row, width:] == NO).all()
        prefix = {"full": 24, "causal": 0}.get(expected.attention.pattern)
        if prefix is None:
            prefix = int(expected.attention.prefix_lengths[0])
        assert int(example.attention.prefix_lengths[row]) == prefix


def test_shares_of_rows_are_the_weights() -> None:
    ids = torch.arange(6000)
    objective = build("mixture", components="0.5*token+0.3*span+0.2*causal")
    counts = torch.bincount(objective.members(Noise(3, 0, ids), 6000), minlength=3) / 6000
    assert (counts - torch.tensor([0.5, 0.3, 0.2])).abs().max() < 4 * (0.25 / 6000) ** 0.5
    again = objective.members(Noise(3, 1, ids), 6000)
    assert (again != objective.members(Noise(3, 0, ids), 6000)).float().mean() > 0.5
    static = dataclasses.replace(objective, masking="static")
    assert torch.equal(
        static.members(Noise(3, 1, ids), 6000), static.members(Noise(3, 0, ids), 6000)
    )


@torch.no_grad()
@pytest.mark.parametrize("components", [build("mixture").components, UNLIKE])
def test_loss_is_that_of_the_parts_on_their_rows(components: str) -> None:
    batch = sample_batch(8, 24, seed=5)
    objective = build("mixture", components=components)
    encoder, heads = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    loss = objective.loss(encoder, heads, example, noise_for(batch))
    member, parts = example.extras["member"], objective.ingredients()
    expected = torch.zeros(3)
    groups = zip(objective._groups, heads, strict=True)
    own_head = {i: head for group, head in groups for i in group}
    for i, part in enumerate(parts):
        rows = (member == i).nonzero()[:, 0]
        if len(rows):
            alone = rows_of(batch, rows)
            corrupted = part.corrupt(alone, VOCABULARY, noise_for(alone))
            result = total(part.loss(encoder, own_head[i], corrupted, noise_for(alone)))
            expected += torch.tensor(result)
            key = f"{i}_{part.name}"
            assert float(loss.parts[key][0]) == pytest.approx(result[0], rel=1e-4)
            assert float(loss.parts[key][1]) == pytest.approx(result[1], rel=1e-4)
    assert total(loss) == pytest.approx(tuple(expected.tolist()), rel=1e-4)


@pytest.mark.parametrize("components", ["token+prefix_lm", UNLIKE, "t5_infilling"])
def test_cost_of_a_step_is_counted(components: str) -> None:
    batch = sample_batch(7, 24, seed=8)
    objective = build("mixture", components=components)
    encoder, heads = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        loss = objective.loss(encoder, heads, example, noise_for(batch))
    slots = example.labels.numel() if loss.slots is None else loss.slots
    cost = objective.extra_cost(SHAPE)
    declared = step_flops(7 * encoder_row_flops(SHAPE, 24), cost, 7 * 24, slots) / 3
    assert counter.get_total_flops() == pytest.approx(declared, rel=1e-9)
    assert encoder.tokens_read == 7 * 24
    assert sum(p.numel() for p in heads.parameters()) == cost.parameters


def test_mixture_collects_statistics_for_each_part() -> None:
    batch = sample_batch(20, 24, seed=1)
    batch = dataclasses.replace(batch, tokens=torch.where(batch.real, 5 + batch.tokens % 3, 2))
    objective = build("mixture", components="token+pmi(fewest=2)+pmi(fewest=2,size=8)")
    statistics = objective.collect_statistics(iter([batch]), VOCABULARY)
    parts = objective.ingredients()
    assert set(statistics) == {"1.collocations", "2.collocations"}
    for i in (1, 2):
        expected = parts[i].collect_statistics([batch], VOCABULARY)["collocations"]
        assert torch.equal(statistics[f"{i}.collocations"], expected)
    example = objective.corrupt(
        dataclasses.replace(batch, statistics=statistics), VOCABULARY, noise_for(batch)
    )
    own = dataclasses.replace(batch, statistics={"collocations": statistics["1.collocations"]})
    expected = parts[1].corrupt(own, VOCABULARY, noise_for(batch))
    rows = example.extras["member"] == 1
    assert rows.any()
    assert torch.equal(example.inputs[rows], expected.inputs[rows])


@pytest.mark.slow
def test_every_part_trains_the_encoder_and_its_own_head() -> None:
    batch = sample_batch(16, 24, seed=4)
    objective = build("mixture", components=UNLIKE)
    encoder, heads = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, fused=True)
    means = []
    for _ in range(12):
        example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
        loss = objective.loss(encoder, heads, example, noise_for(batch))
        assert loss.divisor is not None
        optimizer.zero_grad()
        (loss.sum / loss.divisor).backward()
        assert all(p.grad is not None for p in parameters)
        optimizer.step()
        means.append(float((loss.sum / loss.divisor).detach()))
    assert means[-1] < 0.9 * means[0]
