from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.experiment import resolve
from bench.experiment.experiment import choose_device
from bench.plan import make_plan
from tests.helpers.registry import REGISTRY


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_clear_error(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BenchError, match=f"{device}: torch finds no {device.upper()} device"):
        choose_device(device)


@pytest.mark.parametrize(
    ("asked", "has_cuda", "has_mps", "chosen"),
    [
        ("auto", True, True, "cuda"),
        ("auto", False, True, "cpu"),  # only if it is asked for
        ("auto", False, False, "cpu"),
        ("cuda", True, False, "cuda"),
        ("mps", False, True, "mps"),
        ("mps", True, True, "mps"),
        ("cpu", True, True, "cpu"),
    ],
)
def test_the_device_of_a_run(
    asked: str, has_cuda: bool, has_mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.experiment.experiment.version", lambda _name: "2.13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert choose_device(asked) == chosen


@pytest.mark.parametrize(
    ("device", "budget", "is_warned"),
    [("cuda", "60s", True), ("mps", "60s", True), ("cpu", "60s", False), ("cuda", "2M", False)],
)
def test_seconds_of_a_gpu_come_with_a_warning(
    device: str, budget: str, is_warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"tasks": "none", "device": "cpu", "budget": budget}
    experiment = resolve("token", REGISTRY, **options)
    warnings = make_plan(dataclasses.replace(experiment, device=device), tmp_path, None).warnings
    assert any("compares implementations" in text for text in warnings) == is_warned


def test_an_apple_gpu_has_one_run_at_a_time() -> None:
    experiment = resolve("token", REGISTRY, tasks="none", device="cpu")
    assert dataclasses.replace(experiment, device="mps").workers == 1
