from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from bench.pretraining.noise import Noise
from bench.settings import from_mapping
from bench.showing.corruption_statistics import (
    CorruptionStatistics,
    as_json,
    chosen_words,
    corruption_statistics,
    nominal_values,
    profile,
    runs,
)
from bench.showing.trace import trace
from bench.testing.samples import SAMPLE_VOCABULARY, sample_batch
from tests.helpers.registry import REGISTRY


def bits(*rows: str) -> np.ndarray:
    return np.array([[letter == "1" for letter in row] for row in rows])


def statistics_of(name: str, progress: float = 0.0, **values: Any) -> CorruptionStatistics:
    objective = from_mapping(REGISTRY.get("objective", name), values, name)
    batch = sample_batch(64, 128)
    noise = Noise(0, 0, batch.example_ids)
    example = objective.corrupt(batch, SAMPLE_VOCABULARY, noise)
    return corruption_statistics(trace(batch, example, SAMPLE_VOCABULARY), objective, progress)


def test_runs_are_counted_in_tokens_and_in_words() -> None:
    chosen = bits("0110100", "1111000", "0000001")
    starts = bits("1101110", "1010101", "1000000")
    in_tokens, in_words = runs(chosen, starts)
    assert in_tokens == [2, 1, 0, 1]
    assert in_words == [3, 1]
    assert runs(bits("000"), bits("111")) == ([], [])


def test_words_have_chosen_tokens_and_may_be_chosen_in_part() -> None:
    starts, real = bits("1010010", "1000100"), bits("1111110", "0111111")
    assert chosen_words(bits("1000000", "0000000"), starts, real) == (0.2, 1.0)
    assert chosen_words(bits("1111000", "0000111"), starts, real) == pytest.approx((0.6, 1 / 3))
    assert chosen_words(bits("0000000", "0000000"), starts, real) == (0.0, 0.0)


def test_the_profile_is_over_ordinary_tokens() -> None:
    real = np.ones((2, 22), dtype=bool)
    real[:, [0, 21]] = False
    flags = np.zeros_like(real)
    flags[:, 1] = flags[0, 20] = True
    assert profile(flags, real) == [0.5, *[0.0] * 8, 0.25]


def test_realised_values_agree_with_the_settings() -> None:
    statistics = statistics_of("token", rate=0.4, mask_fraction=0.5, random_fraction=0.3)
    assert statistics.shares["predicted"] == pytest.approx(
        statistics.nominal["predicted"], abs=0.01
    )
    assert statistics.shares["corrupted"] == pytest.approx(0.4 * 0.8, abs=0.03)
    for treatment in ("mask", "random", "kept"):
        assert statistics.treatment[treatment] == pytest.approx(
            statistics.nominal[treatment], abs=0.03
        )
    assert sum(statistics.treatment.values()) == pytest.approx(1)
    assert max(statistics.profile["predicted"]) < 0.5
    assert statistics.cut_words > 0.1
    assert statistics_of("whole_word", rate=0.4).cut_words == 0.0


def test_nominal_rates_follow_their_schedule() -> None:
    objective = from_mapping(REGISTRY.get("objective", "token"), {"rate": "0.4->0.2"}, "token")
    assert nominal_values(objective, 0.5)["predicted"] == pytest.approx(0.3)
    assert "predicted" not in nominal_values(objective, 0.5, predicts_all=True)
    bart = from_mapping(
        REGISTRY.get("objective", "bart_denoise"), {"delete_rate": "0->0.4"}, "bart_denoise"
    )
    assert nominal_values(bart, 0.5)["delete_rate"] == pytest.approx(0.2)
    assert "mask_rate" not in nominal_values(bart, 0.5)


def test_next_token_prediction_corrupts_no_token_and_predicts_all() -> None:
    statistics = statistics_of("causal")
    assert statistics.shares == {
        "corrupted": 0.0, "predicted": 1.0, "moved": 0.0, "inserted": 0.0, "words": 0.0
    }  # fmt: skip
    assert statistics.nominal == {}
    assert statistics.run_tokens == []


def test_statistics_are_json_even_without_runs() -> None:
    for name in ("span", "untrained"):
        plain = as_json(statistics_of(name))
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert plain["runs"]["tokens"]["mean"] is None or name == "span"


def test_an_empty_row_has_an_empty_profile() -> None:
    batch = sample_batch(3, 32)
    empty = torch.zeros_like(batch.real)
    flags = (batch.real & empty).numpy()
    assert profile(flags, empty.numpy()) == [0.0] * 10
