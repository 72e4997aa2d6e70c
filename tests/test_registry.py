from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.probing.task import DataRoot, Splits, Task
from bench.registry import Registry
from tests.helpers.paths import ROOT
from tests.helpers.registry import REGISTRY

OBJECTIVE = """
from typing import ClassVar
import bench
from bench.pretraining.batch import Attention, Example

@bench.settings
class Mine(bench.MaskedObjective):
    name: ClassVar[str] = "{name}"
    summary: ClassVar[str] = "every second token"
    source: ClassVar[str] = "tests"
    def choose(self, batch, noise):
        chosen = batch.real.clone()
        chosen[:, ::7] = False
        return chosen & (chosen.long().cumsum(1) <= self.quota(batch)[:, None])

@bench.hookimpl
def bench_objectives():
    return [Mine]
"""


def install(site: Path, distribution: str, module: str, source: str, entry: str = "") -> None:
    """A third-party distribution, as an installer lays it out."""
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(source)
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bench]\n{entry or module} = {module}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))
    return folder


def by_provider(registry: Registry, provider: str) -> list[str]:
    return [p.problem or p.name for p in registry.plugins if p.provider.startswith(provider)]


def test_each_file_is_a_built_in_plugin() -> None:
    registry = Registry()
    for kind, folder in (("objective", "objectives"), ("task", "tasks")):
        files = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
        assert set(registry.of(kind)) == files  # type: ignore[arg-type]
    assert not [plugin for plugin in registry.plugins if plugin.problem]


def test_a_third_party_objective_is_loaded(site: Path) -> None:
    install(site, "acme-one", "acme_one_plugin", OBJECTIVE.format(name="every_second"))
    assert Registry().get("objective", "every-second").name == "every_second"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import bench\n@bench.hookimpl\ndef bench_objektives():\n    return []\n", "bench_objekt"),
        ("import bench\n@bench.hookimpl\ndef bench_tasks():\n    return [object]\n", "is no task"),
        ("import bench\n@bench.hookimpl\ndef bench_tasks():\n    return 1 / 0\n", "ZeroDivision"),
    ],
)
def test_a_broken_plugin_is_listed_and_the_others_work(
    site: Path, source: str, reason: str, request: pytest.FixtureRequest
) -> None:
    number = abs(hash(request.node.name)) % 10**8  # modules stay imported from test to test
    install(site, "acme-broken", f"acme_broken_{number}", source)
    install(site, "acme-well", f"acme_well_{number}", OBJECTIVE.format(name=f"well_{number}"))
    registry = Registry()
    (problem,) = by_provider(registry, "acme-broken")
    assert reason in problem
    assert f"well_{number}" in registry.of("objective")
    assert "span" in registry.of("objective")
    with pytest.raises(BenchError, match=r"acme-broken.* is broken"):
        registry.get("objective", f"acme_broken_{number}")


MISSPELT = [
    ("def choose(", "def choos(", "has a method 'choos', .* did you mean 'choose'"),
    ("def choose(", "def select(", "'mine' lacks the method 'choose': Mine"),
    ("@bench.hookimpl\n", "", "'bench_objectives' is never called; write @bench.hookimpl"),
    ("bench_objectives", "bench_objective", "did you mean 'bench_objectives'"),
    ("@bench.hookimpl\ndef bench_objectives", "def hook", "the entry point has no hook"),
    (
        "    def choose(",
        "    def collect_statistic(self, batches, vocabulary): return {}\n    def choose(",
        r"did you mean 'collect_statistics'\? Look at Mine.collect_statistic \(acme_typo_\d",
    ),
]


@pytest.mark.parametrize("number", range(len(MISSPELT)))
def test_a_misspelt_name_is_refused_with_the_one_that_was_meant(site: Path, number: int) -> None:
    written, instead, says = MISSPELT[number]
    source = OBJECTIVE.format(name="mine").replace(written, instead)
    install(site, "acme-typo", f"acme_typo_{number}", source)
    (problem,) = by_provider(Registry(), "acme-typo")
    assert re.search(says, problem), problem


def test_helpers_beside_a_method_or_with_an_underscore_are_accepted(site: Path) -> None:
    helpers = "    def _collect_statistic(self): pass\n    def chosen(self): pass\n    def choose("
    source = OBJECTIVE.format(name="helped").replace("    def choose(", helpers)
    install(site, "acme-helped", "acme_helped", source)
    assert Registry().get("objective", "helped").name == "helped"


def test_a_misspelt_method_of_a_task_is_refused() -> None:
    with pytest.raises(BenchError, match=r"did you mean 'load'\? Look at .*\(test_registry\.py:"):

        class Mine(Task):
            name: ClassVar[str] = "mine"

            def lod(self, data: DataRoot) -> Splits:
                raise NotImplementedError


def test_two_providers_of_one_name_are_refused_by_name_only(site: Path) -> None:
    for letter in "ab":
        install(site, f"acme-{letter}", f"acme_dup_{letter}", OBJECTIVE.format(name="twice"))
    registry = Registry()
    with pytest.raises(BenchError, match="acme-a:acme_dup_a and acme-b:acme_dup_b"):
        registry.get("objective", "twice")
    assert "twice" not in registry.of("objective")
    assert registry.get("objective", "span").name == "span"


def test_two_distributions_with_one_entry_point_name_are_both_loaded(site: Path) -> None:
    for letter in "cd":
        source = OBJECTIVE.format(name=f"entry_{letter}")
        install(site, f"acme-{letter}", f"acme_entry_{letter}", source, entry="plugin")
    assert {"entry_c", "entry_d"} <= set(Registry().of("objective"))


def test_a_third_party_plugin_cannot_take_the_name_of_a_built_in(site: Path) -> None:
    install(site, "acme-span", "acme_span", OBJECTIVE.format(name="span"))
    with pytest.raises(BenchError, match="acme-span:acme_span and built-in:span"):
        Registry().get("objective", "span")


@pytest.mark.parametrize(
    ("limit", "is_loaded"), [("", False), ("other", False), ("acme-lim", True)]
)
def test_bench_plugins_limits_loading(
    site: Path, monkeypatch: pytest.MonkeyPatch, limit: str, is_loaded: bool
) -> None:
    install(site, "acme-lim", "acme_lim", OBJECTIVE.format(name="limited"))
    monkeypatch.setenv("BENCH_PLUGINS", limit)
    assert ("limited" in Registry().of("objective")) is is_loaded


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(BenchError, match="no objective named 'spam'; did you mean 'span'"):
        Registry().get("objective", "spam")


@given(st.text(max_size=300))
def test_hostile_names_are_only_names(name: str) -> None:
    registry = REGISTRY
    try:
        objective = registry.get("objective", name)
    except BenchError:
        return
    assert objective.name == name.replace("-", "_")


@pytest.mark.slow
def test_another_package_named_tasks_is_not_imported(tmp_path: Path) -> None:
    for package in ("tasks", "objectives"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('another package')")
    code = "from bench.registry import Registry; print(len(Registry().of('task')))"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) >= 3
