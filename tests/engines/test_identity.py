"""A run's id names one encoder: in another process, and never another objective's."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.corpus.preparation import PreparedCorpus
from bench.engines.job_files import write_jobs
from bench.engines.jobs import Evaluation, JobState, Resources, RunJob
from bench.engines.local import Engine
from bench.errors import RefusedError
from bench.probing.task import DataRoot
from tests.conftest import MakeSpec
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT

BIASED = """
from typing import ClassVar
import torch
import bench
from bench.pretraining.heads import TokenHead

class BiasedHead(TokenHead):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.bias = torch.nn.Parameter(torch.rand(()))
        self.register_buffer("drawn", torch.rand(3))

@bench.settings
class Biased(bench.MaskedObjective):
    name: ClassVar[str] = "biased"
    summary: ClassVar[str] = "a head with a bias and a buffer that torch draws"
    source: ClassVar[str] = "tests"
    def choose(self, batch, noise):
        return noise.uniform("positions", batch.tokens.shape) < 0.15
    def head(self, shape, vocabulary):
        return BiasedHead(shape)

@bench.hookimpl
def bench_objectives():
    return [Biased]
"""


@pytest.mark.slow
def test_a_worker_refuses_other_code_than_was_submitted(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, _ = make_spec()  # the hash of its code is made up
    spec = dataclasses.replace(spec, torch_version=version("torch").split("+")[0])
    evaluation = Evaluation(tmp_path, DataRoot(None, None, "tiny", corpus.folder))
    state = JobState(RunJob(spec, evaluation))
    write_jobs([state])
    Engine({}).run_jobs([state], Resources(1), lambda state, event: None)
    assert (state.status, state.exit_code) == ("failed", RefusedError.exit_code)
    assert "is not that of the submitting process" in str(state.message)
    assert not list((tmp_path / "runs").glob("*-s0-*"))


@pytest.mark.slow
def test_two_processes_give_every_objective_one_encoder_and_head(tmp_path: Path) -> None:
    """Of all built-in objectives, and of a plugin whose head has a bias."""
    info = tmp_path / "biased-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: biased\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench]\nbiased_head = biased_head\n")
    (tmp_path / "biased_head.py").write_text(BIASED)
    write_text(tmp_path)
    command = [
        sys.executable, "-P", "-m", "bench", "run", "--objective", "all,biased",
        "--corpus", "text.txt", "--tasks", "none", "--seeds", "0", "--budget", "20k",
        "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{tmp_path}", "BENCH_CACHE": str(tmp_path / "cache")
    }  # fmt: skip
    hashes: list[dict[str, str]] = []
    for out in ("one", "other"):
        subprocess.run([*command, "--out", out], cwd=tmp_path, env=environment, check=True)
        hashes.append(
            {
                f"{manifest.parent.name}/{name}": facts["sha256"]
                for manifest in (tmp_path / out / "runs").glob("*/manifest.json")
                for name, facts in json.loads(manifest.read_text())["files"].items()
                if name.endswith(".safetensors")
            }
        )
    assert len(hashes[0]) >= 2 * 18
    assert any(name.startswith("biased-") for name in hashes[0])
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_records_of_two_thread_counts_share_a_table(tmp_path: Path) -> None:
    write_text(tmp_path)
    texts = (tmp_path / "text.txt").read_text().split("\n\n")[:300]
    rows = [f'"{text.strip()}",{len(text) % 2}' for text in texts if '"' not in text]
    (tmp_path / "labels.csv").write_text("\n".join(["text,label", *rows]))
    shared = [
        sys.executable, "-P", "-m", "bench", "run", "--corpus", "text.txt", "--budget", "20k",
        "--task", "classify:labels.csv", "--set", "encoder.hidden_size=32",
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "BENCH_CACHE": str(tmp_path / "cache")
    }  # fmt: skip
    for threads, objectives in ((1, "token,span"), (2, "token,causal")):
        flags = [
            "--objective",
            objectives,
            "--seeds",
            "0-1",
            "--set",
            f"training.threads={threads}",
        ]
        subprocess.run([*shared, *flags], cwd=tmp_path, env=environment, check=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench", "compare"], cwd=tmp_path, env=environment,
        check=True, text=True, capture_output=True,
    )  # fmt: skip
    assert "Table 2" not in done.stdout
    assert "machines cross-checked" in done.stdout.replace("\n", " ")
    assert {"token", "span", "causal"} <= {
        line.split()[0] for line in done.stdout.splitlines() if line
    }
