from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.pretraining import noise as noises
from bench.pretraining.noise import Noise


def noise(seed: int = 0, epoch: int = 0, rows: int = 64) -> Noise:
    return Noise(seed, epoch, torch.arange(rows))


def test_draws_are_pinned() -> None:
    drawn = Noise(7, 3, torch.tensor([0, 1, 2**40])).bits("positions", (3, 2))
    assert drawn.tolist() == [
        [2746384792, 3406284750],
        [2778413164, 2775427328],
        [223685242, 4004088451],
    ]


def test_uniform_is_uniform() -> None:
    x = noise(rows=500).uniform("positions", (500, 400))
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() < 1
    assert (x * 2**24 == (x * 2**24).floor()).all()  # 24 bits, exactly
    error = (1 / 12 / x.numel()) ** 0.5
    assert abs(x.mean().item() - 0.5) < 4 * error
    counts = torch.histc(x, 64, 0, 1)
    chi_squared = ((counts - x.numel() / 64) ** 2 / (x.numel() / 64)).sum().item()
    assert 25 < chi_squared < 115  # 63 degrees of freedom: 1 in 10^4 outside, each side


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (noise().uniform("a", (64, 512)), noise().uniform("b", (64, 512))),
        (noise(seed=1).uniform("a", (64, 512)), noise(seed=2).uniform("a", (64, 512))),
        (noise(epoch=1).uniform("a", (64, 512)), noise(epoch=2).uniform("a", (64, 512))),
        (noise().uniform("a", (64, 512))[:, 1:], noise().uniform("a", (64, 512))[:, :-1]),
        (noise().uniform("a", (64, 512))[1:], noise().uniform("a", (64, 512))[:-1]),
    ],
    ids=["streams", "seeds", "epochs", "neighbours", "rows"],
)
def test_draws_are_independent(first: torch.Tensor, second: torch.Tensor) -> None:
    pair = torch.stack((first.flatten(), second.flatten()))
    assert abs(torch.corrcoef(pair)[0, 1].item()) < 4 / pair.shape[1] ** 0.5


@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, 1000),
    st.lists(st.integers(0, 2**62), min_size=2, max_size=9, unique=True),
    st.data(),
)
def test_draws_of_a_row_do_not_depend_on_other_rows(
    seed: int, epoch: int, ids: list[int], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(ids))))
    subset = order[: data.draw(st.integers(1, len(ids)))]
    whole = Noise(seed, epoch, torch.tensor(ids)).uniform("positions", (len(ids), 33))
    epochs = torch.full((len(subset),), epoch)
    part = Noise(seed, epochs, torch.tensor(ids)[subset]).uniform("positions", (len(subset), 33))
    assert torch.equal(part, whole[subset])


@given(st.lists(st.integers(0, 400), min_size=1, max_size=20))
def test_uniform_at_is_a_part_of_uniform(columns: list[int]) -> None:
    at = torch.tensor([columns, columns[::-1]])
    whole = noise(rows=2).uniform("policy", (2, 401))
    assert torch.equal(noise(rows=2).uniform_at("policy", at), whole.gather(1, at))


def test_two_draws_from_one_hash_are_independent() -> None:
    at = torch.arange(512).expand(64, -1)
    first, second = noise().two_uniforms_at("policy", at)
    assert torch.equal(first, noise().uniform("policy", (64, 512)))
    assert (second * 2**24 == (second * 2**24).floor()).all()
    counts = torch.histc((first * 16).floor() * 16 + (second * 16).floor(), 256, 0, 256)
    chi_squared = ((counts - 128) ** 2 / 128).sum().item()
    assert 165 < chi_squared < 365  # 255 degrees of freedom: 1 in 10^5 outside, each side


def test_static_noise_does_not_depend_on_the_epoch() -> None:
    static = noise(epoch=5).static().uniform("a", (64, 8))
    assert torch.equal(static, noise(epoch=0).uniform("a", (64, 8)))
    assert not torch.equal(static, noise(epoch=5).uniform("a", (64, 8)))


def test_global_generator_is_untouched() -> None:
    before = torch.get_rng_state()
    noise().uniform("a", (64, 8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_draws_are_the_same_on_a_gpu() -> None:
    on_gpu = Noise(3, 1, torch.arange(64, device="cuda")).bits("a", (64, 512))
    assert torch.equal(on_gpu.cpu(), Noise(3, 1, torch.arange(64)).bits("a", (64, 512)))


@pytest.mark.parametrize("epoch", [3, torch.arange(64) % 5])
def test_tensors_and_arrays_give_the_same_draws(
    epoch: int | torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise uses NumPy on a CPU; tensor operations, as on a GPU, give the same bits."""
    ids, columns = torch.arange(64) * 2**33, torch.randint(0, 512, (64, 7))

    def draw() -> list[torch.Tensor]:
        noises._counters.cache_clear()
        drawn = Noise(2**40, epoch, ids)
        whole = drawn.bits("a", (64, 512)), drawn.uniform("b", (64, 512))
        return [*whole, drawn.uniform_at("a", columns), *drawn.two_uniforms_at("b", columns)]

    with_arrays = draw()
    monkeypatch.setattr(noises, "_array", lambda x: x)
    assert all(torch.equal(one, other) for one, other in zip(with_arrays, draw(), strict=True))
    noises._counters.cache_clear()
