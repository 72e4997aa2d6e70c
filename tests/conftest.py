"""Shared by all tests: shapes are checked at run time, and the cache is the test run's own."""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import beartype  # noqa: F401  # loaded before the switch below, which is not for them
import hypothesis
import numpy  # noqa: F401
import pandas  # noqa: F401
import pytest
import safetensors.torch  # noqa: F401
import sklearn.linear_model  # noqa: F401
import tokenizers  # noqa: F401
import torch
import torch.fx.experimental.symbolic_shapes
from jaxtyping import install_import_hook

import bench

# A busy machine is no failure: no test asserts a time.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")

# Annotations name what is imported for type checkers only; in tests they are checked for real.
typing.TYPE_CHECKING = True
with install_import_hook(["bench.pretraining", "bench.objectives"], "beartype.beartype"):
    import bench.records.run_folder
    from tests.helpers.registry import REGISTRY
typing.TYPE_CHECKING = False

from bench.corpus.microworld import Micro  # noqa: E402
from bench.corpus.preparation import PreparedCorpus, prepare_corpus  # noqa: E402
from bench.pretraining.objective import Objective  # noqa: E402
from bench.settings import as_mapping, from_mapping  # noqa: E402
from bench.spec import Budget, EncoderShape, RunSpec, Training  # noqa: E402
from bench.storage import exclusive  # noqa: E402


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session that all of its test processes see: what is slow is made once."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _own_cache(shared: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def corpus(shared: Path) -> PreparedCorpus:
    """A few thousand generated words, prepared."""
    return prepare_corpus(Micro(num_words=20_000), None, 300, shared / "cache")


@pytest.fixture(scope="session")
def results(shared: Path) -> Path:
    """The records of one small run of `token`, made through the Python API, once for all tests."""
    folder = shared / "results of the api"
    with exclusive(shared / "api.lock"):
        if not folder.exists():
            bench.run(
                "token", budget="20k", seeds=1, tasks="agreement", limit=100, device="cpu",
                out=folder, progress=False,
            )  # fmt: skip
    return folder


MakeSpec = Callable[..., tuple[RunSpec, Objective]]


@pytest.fixture(scope="session")
def make_spec(corpus: PreparedCorpus) -> MakeSpec:
    """A small run of an objective (name, or class) on the corpus above."""

    def make(
        objective: str | type[Objective] = "token",
        seed: int = 0,
        budget: str = "4096",
        **values: Any,
    ) -> tuple[RunSpec, Objective]:
        cls = REGISTRY.get("objective", objective) if isinstance(objective, str) else objective
        built = from_mapping(cls, values, cls.name)
        shape = EncoderShape(
            hidden_size=32, num_layers=2, num_heads=4, mlp_size=48, max_length=32,
            vocab_size=corpus.tokenizer.vocabulary.size,
        )  # fmt: skip
        return RunSpec(
            objective=built.name,
            settings=as_mapping(built),
            objective_code="0" * 64,
            seed=seed,
            size="tiny",
            encoder=shape,
            training=Training(learning_rate=4e-3, batch_tokens=256),
            budget=Budget.parse(budget),
            corpus_sha256=corpus.corpus_sha256,
            tokenizer_sha256=corpus.tokenizer_sha256,
            device="cpu",
            torch_version=torch.__version__,
            display_name=built.display_name,
        ), built

    return make
