"""Settings that follow others: learning rate, rotary wavelengths, width of the MLP, threads."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.sizes import SIZES, shape_and_training, size_named
from bench.spec import EncoderShape, Training, parse_overrides


def numbers(
    *settings: str, size: str = "tiny", vocab_size: int | None = None
) -> tuple[EncoderShape, Training]:
    """Shape and training of a size with these values of `--set`."""
    return shape_and_training(SIZES[size], parse_overrides(settings), vocab_size)


def test_without_overrides_the_numbers_are_those_of_the_size() -> None:
    shape, training = numbers()
    assert shape == SIZES["tiny"].encoder
    assert training.learning_rate == 2e-3


def test_twice_the_width_halves_the_learning_rate() -> None:
    assert numbers("encoder.hidden_size=128")[1].learning_rate == 1e-3


def test_the_learning_rate_rises_with_the_fourth_root_of_the_batch() -> None:
    assert numbers("training.batch_tokens=8192")[1].learning_rate == 4e-3  # 16 ** 0.25 = 2


def test_width_and_batch_act_together_on_the_learning_rate() -> None:
    settings = ("encoder.hidden_size=256", "training.batch_tokens=8192")
    assert numbers(*settings)[1].learning_rate == 1e-3


def test_base_has_about_the_learning_rate_of_modernbert_base() -> None:
    assert SIZES["base"].training.learning_rate == pytest.approx(8e-4, rel=0.02)


@pytest.mark.parametrize("rate", ["2e-3", "0.005"])
def test_an_explicit_learning_rate_wins(rate: str) -> None:
    settings = (f"training.learning_rate={rate}", "encoder.hidden_size=128")
    assert numbers(*settings, "training.batch_tokens=8192")[1].learning_rate == float(rate)


def test_the_rotary_wavelengths_follow_the_length() -> None:
    assert numbers("encoder.max_length=128")[0].rotary_theta == 512


def test_explicit_rotary_wavelengths_win() -> None:
    settings = ("encoder.max_length=128", "encoder.rotary_theta=10000")
    assert numbers(*settings)[0].rotary_theta == 10_000


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_wavelengths_for_its_length(size: str) -> None:
    shape = SIZES[size].encoder
    assert shape.rotary_theta == 4 * shape.max_length


def test_the_mlp_follows_the_width() -> None:
    assert numbers("encoder.hidden_size=128")[0].mlp_size == 192


def test_an_explicit_mlp_wins() -> None:
    assert numbers("encoder.hidden_size=128", "encoder.mlp_size=96")[0].mlp_size == 96


def test_the_vocabulary_of_the_corpus_counts_and_an_explicit_one_wins() -> None:
    assert numbers(vocab_size=800)[0].vocab_size == 800
    assert numbers("encoder.vocab_size=300", vocab_size=800)[0].vocab_size == 300


def test_threads_are_capped_by_the_cores_and_explicit_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.sizes.cores", lambda: 4)
    assert numbers(size="base")[1].threads == 4
    assert numbers("training.threads=6", size="base")[1].threads == 6


@pytest.mark.parametrize("settings", [{"hidden_size": 128}, {"hidden_size": "128"}])
def test_numbers_of_python_and_text_of_the_command_line_are_alike(
    settings: dict[str, int | str],
) -> None:
    training = shape_and_training(SIZES["tiny"], {"encoder": settings}, None)[1]
    assert training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("encoder.hidden_size=wide", r"encoder\.hidden_size"),
        ("encoder.hidden_size=0", r"encoder\.hidden_size"),
        ("encoder.max_length=0", r"encoder\.max_length"),
        ("training.batch_tokens=-1", r"training\.batch_tokens"),
        ("training.batch_tokens=32", "smaller than one row of encoder.max_length 64"),
        ("encoder.hidden_sizes=64", "did you mean 'hidden_size'"),
    ],
)
def test_an_impossible_number_is_refused_by_name(setting: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        numbers(setting)


def test_an_unknown_size_is_refused_with_the_nearest() -> None:
    with pytest.raises(BenchError, match="did you mean 'tiny'"):
        size_named("tinny")
