"""What is promised of a GPU; skipped without one. The program of these checks runs on a CPU too."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from tests.helpers.paths import ROOT

CHECKS = ("masks", "losses", "recompiles", "resume", "kernels")


def check(corpus: PreparedCorpus, device: str, name: str) -> None:
    program = [sys.executable, "-m", "tests.helpers.gpu_program", str(corpus.folder), device, name]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CHECKS)
def test_on_a_gpu(name: str, corpus: PreparedCorpus) -> None:
    check(corpus, "cuda", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_the_checks_run_on_a_cpu(name: str, corpus: PreparedCorpus) -> None:
    check(corpus, "cpu", name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_benchmark_runs_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.benchmarks import gpu  # not above: it loads the compiler, a second of every test run

    monkeypatch.setattr(gpu, "QUICK", {"tiny": ("token",)})
    found = gpu.measure("cpu", quick=True, peak=1e12)
    figures = found["sizes"]["tiny"]["token"]
    assert figures["tokens_per_second"] > 0
    assert 0 < figures["mfu"] < 1
    assert figures["share_outside_the_model"] < 1
    assert figures["equal_corruption"] is True
    assert figures["graphs_after_warm_up"] == 0
