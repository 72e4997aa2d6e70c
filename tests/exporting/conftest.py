"""Small finished runs of every kind of head and attention, trained once for each test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.api import Run
from bench.corpus.preparation import PreparedCorpus
from bench.records.run_folder import execute
from tests.conftest import MakeSpec

FinishedRun = Callable[..., Run]


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the records."""
    return tmp_path_factory.mktemp("records of exports")


@pytest.fixture(scope="session")
def finished_run(out: Path, corpus: PreparedCorpus, make_spec: MakeSpec) -> FinishedRun:
    """A finished run of an objective with some settings, loaded."""

    def make(objective: str = "token", seed: int = 0, **settings: Any) -> Run:
        spec, built = make_spec(objective, seed, "1024", **settings)
        folder = out / "runs" / spec.id
        if not folder.exists():
            execute(spec, built, corpus, out / "runs", lambda progress: None)
        return bench.load_run(folder)

    return make
