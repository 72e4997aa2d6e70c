"""Records in an object store: published complete, and mirrored by their manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, FailedError
from bench.records import remote
from bench.records.store import read_runs
from bench.storage import MANIFEST, verify_manifest
from tests.helpers.store_generator import make_store

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a bucket on a server of S3 in this process."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://bucket/records"
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return f"file://{tmp_path}/bucket/records"


def filled(url: str) -> Path:
    mirror = remote.mirror_of(url)
    make_store(mirror, 2, 2, 1, 20)
    return mirror


def on_another_machine(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "another"))
    return remote.fetch(url)


def test_what_is_published_is_fetched(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mirror = filled(url)
    (mirror / "runs" / ".unfinished" / "x").mkdir(parents=True)
    (mirror / "runs" / ".unfinished" / "x" / "step-1").write_text("state")
    (mirror / "notes.txt").write_text("not a record")
    expected = {run.folder.name for run in read_runs(mirror)}
    assert remote.publish(mirror) > 0
    assert remote.publish(mirror) == 0
    there = on_another_machine(url, monkeypatch, tmp_path)
    assert there != mirror
    assert {run.folder.name for run in read_runs(there)} == expected
    assert len(read_runs(there)[0].scores) == len(read_runs(mirror)[0].scores) > 0
    for run in read_runs(there):
        verify_manifest(run.folder)
    assert not (there / "notes.txt").exists()
    assert not (there / "runs" / ".unfinished").exists()


def test_a_run_without_manifest_is_neither_published_nor_fetched(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mirror = filled(url)
    first, second, *_ = [run.folder for run in read_runs(mirror)]
    (first / MANIFEST).unlink()
    remote.publish(mirror)
    system, root = fsspec.core.url_to_fs(url)
    assert not system.exists(f"{root}/runs/{first.name}/run.json")
    system.rm(f"{root}/runs/{second.name}/{MANIFEST}")
    there = on_another_machine(url, monkeypatch, tmp_path)
    assert not (there / "runs" / first.name).exists()
    assert not (there / "runs" / second.name).exists()
    assert len(read_runs(there)) == 2


def test_the_manifest_is_written_last(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = filled(url)
    system = fsspec.core.url_to_fs(url)[0]
    written: list[str] = []

    def pipe_file(path: str, *_: Any, **__: Any) -> None:
        written.append(path)
        if len(written) == 9:
            raise OSError("connection lost")

    monkeypatch.setattr(system, "pipe_file", pipe_file)
    with pytest.raises(FailedError, match="connection lost; the records of this machine are inta"):
        remote.publish(mirror)
    written.clear()
    monkeypatch.setattr(system, "pipe_file", lambda path, *_, **__: written.append(path))
    remote.publish(mirror)
    manifests = [i for i, name in enumerate(written) if name.endswith(MANIFEST)]
    assert len(manifests) == 4
    assert manifests == list(range(len(written) - 4, len(written)))


def test_a_name_that_leads_elsewhere_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class System:
        def invalidate_cache(self) -> None: ...

        def find(self, root: str, detail: bool) -> dict[str, Any]:
            names = ("runs/../../x", "../y", "runs/a/run.json", "/etc/passwd", "runs\\..\\z", "q/r")
            return {f"{root}/{name}": {"size": 1} for name in names}

    assert set(remote._listing(System(), "bucket")) == {"runs/a/run.json"}


def test_addresses_in_a_command_become_mirrors(url: str) -> None:
    mirror = filled(url)
    arguments, mirrors = remote.local_arguments(["compare", "--out", url, "--only", "scores"])
    assert (arguments, mirrors) == (["compare", "--out", str(mirror), "--only", "scores"], [mirror])
    assert remote.local_arguments(["compare", f"--out={url}"])[0][1] == f"--out={mirror}"
    job, _ = remote.local_arguments(["work", f"{url}/jobs/a.json"])
    assert job == ["work", f"{mirror}/jobs/a.json"]
    assert remote.local_arguments(["run", "--corpus", url]) == (["run", "--corpus", url], [])
    assert remote.shown(mirror / "jobs" / "a.json") == f"{url}/jobs/a.json"
    assert remote.shown(Path("results")) == "results"


def test_an_unknown_store_is_one_clear_error() -> None:
    with pytest.raises(BenchError, match="--out nosuch://x: Protocol not known: nosuch"):
        remote.fetch("nosuch://x")
