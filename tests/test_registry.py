from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.registry import Registry
from tests.helpers.paths import ROOT

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
    return [e.problem or e.name for e in registry.entries if e.provider.startswith(provider)]


def test_built_ins_are_the_files() -> None:
    root = ROOT
    registry = Registry()
    for kind, folder in (("objective", "objectives"), ("task", "tasks")):
        files = {path.stem for path in (root / folder).glob("*.py")} - {"__init__"}
        assert set(registry.of(kind)) == files  # type: ignore[arg-type]
    assert not [entry for entry in registry.entries if entry.problem]


def test_third_party_objective_is_found(site: Path) -> None:
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
def test_a_broken_plugin_is_a_row_and_the_others_work(
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


def test_a_stranger_cannot_take_the_name_of_a_built_in(site: Path) -> None:
    install(site, "acme-span", "acme_span", OBJECTIVE.format(name="span"))
    with pytest.raises(BenchError, match="acme-span:acme_span and built-in:span"):
        Registry().get("objective", "span")


@pytest.mark.parametrize(("limit", "found"), [("", False), ("other", False), ("acme-lim", True)])
def test_bench_plugins_limits_loading(
    site: Path, monkeypatch: pytest.MonkeyPatch, limit: str, found: bool
) -> None:
    install(site, "acme-lim", "acme_lim", OBJECTIVE.format(name="limited"))
    monkeypatch.setenv("BENCH_PLUGINS", limit)
    assert ("limited" in Registry().of("objective")) is found


def test_unknown_name_suggests() -> None:
    with pytest.raises(BenchError, match="no objective named 'spam'; did you mean 'span'"):
        Registry().get("objective", "spam")


@given(st.text(max_size=300))
def test_hostile_names_are_only_names(name: str) -> None:
    registry = REGISTRY
    try:
        found = registry.get("objective", name)
    except BenchError:
        return
    assert found.name == name.replace("-", "_")


REGISTRY = Registry()


def test_a_foreign_tasks_package_is_not_taken_for_ours(tmp_path: Path) -> None:
    for package in ("tasks", "objectives"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('not ours')")
    code = "from bench.registry import Registry; print(len(Registry().of('task')))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
