import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.errors import FailedError, RefusedError
from bench.storage import (
    exclusive,
    new_folder,
    sweep_leftovers,
    verify_manifest,
    write_atomic,
    write_manifest,
)
from tests.helpers.paths import ROOT


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "sealed"
    folder.mkdir()
    (folder / "a.bin").write_bytes(bytes(range(256)) * 10)
    (folder / "inner").mkdir()
    (folder / "inner" / "b.bin").write_bytes(b"beta")
    write_manifest(folder, ["a.bin", "inner/b.bin"], purpose="a test")
    return folder


def test_write_atomic_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", b"old")
    write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


def test_a_manifest_has_the_facts_and_verifies(sealed: Path) -> None:
    manifest = verify_manifest(sealed)
    assert manifest["purpose"] == "a test"
    assert manifest["files"]["inner/b.bin"]["bytes"] == 4


@pytest.mark.parametrize("place", [0, 1000, 2559])
def test_one_flipped_byte_is_refused(sealed: Path, place: int) -> None:
    content = bytearray((sealed / "a.bin").read_bytes())
    content[place] ^= 1
    (sealed / "a.bin").write_bytes(content)
    with pytest.raises(RefusedError, match=r"a\.bin.*sha256 expected \w{64}, found \w{64}"):
        verify_manifest(sealed)


@pytest.mark.parametrize("length", [0, 3])
def test_a_truncated_file_is_refused_even_unhashed(sealed: Path, length: int) -> None:
    os.truncate(sealed / "inner" / "b.bin", length)
    with pytest.raises(RefusedError, match=rf"b\.bin.*bytes expected 4, found {length}"):
        verify_manifest(sealed, hash_up_to_bytes=0)


def test_a_missing_file_or_manifest_is_refused(sealed: Path) -> None:
    (sealed / "a.bin").unlink()
    with pytest.raises(RefusedError, match=r"a\.bin.*cannot be read"):
        verify_manifest(sealed)
    (sealed / "manifest.json").unlink()
    with pytest.raises(RefusedError, match=r"manifest\.json cannot be read"):
        verify_manifest(sealed)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"files": {"a": 1}}', "[" * 100_000, '{"files": []}']
)
def test_a_damaged_manifest_is_refused(sealed: Path, text: str) -> None:
    (sealed / "manifest.json").write_text(text)
    with pytest.raises(RefusedError, match=r"manifest\.json is damaged"):
        verify_manifest(sealed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a test"', '"b test"'),
        ('"bytes": 4', '"bytes": 5'),
        ('"purpose"', '"purposf"'),
        ('"sha256": "', '"sha257": "'),
        ('"format": 2', '"format": 1'),
        ('"format": 2', '"format": 3'),
    ],
)
def test_a_changed_manifest_is_refused(sealed: Path, old: str, new: str) -> None:
    path = sealed / "manifest.json"
    own = json.loads(path.read_text())["sha256"]
    old, new = (f"{old}{own}", f"{new}{own}") if "sha" in old else (old, new)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RefusedError, match=r"manifest\.json was changed after it was written"):
        verify_manifest(sealed)


def test_a_manifest_of_the_first_format_has_no_hash_of_its_own(sealed: Path) -> None:
    path = sealed / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    path.write_text(json.dumps(manifest | {"format": 1}))
    verify_manifest(sealed)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "", "inner/../../secret"])
def test_a_manifest_cannot_point_outside(sealed: Path, name: str) -> None:
    manifest = {"files": {name: {"bytes": 0, "sha256": ""}}}
    (sealed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RefusedError, match="outside its folder"):
        verify_manifest(sealed)


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "made") as building:
        (building / "x").write_text("1")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "x").read_text() == "1"
    with contextlib.suppress(KeyError), new_folder(tmp_path / "failed") as building:
        (building / "x").write_text("1")
        raise KeyError
    assert names(tmp_path) == ["made"]


def test_the_second_of_two_equal_folders_is_removed(tmp_path: Path) -> None:
    with new_folder(tmp_path / "made") as slow:
        (slow / "who").write_text("second")
        with new_folder(tmp_path / "made") as fast:
            (fast / "who").write_text("first")
    assert (tmp_path / "made" / "who").read_text() == "first"
    assert names(tmp_path) == ["made"]


def test_a_full_disk_is_an_error_and_leaves_the_old_file_intact(tmp_path: Path) -> None:
    """The limit on file size gives the same error as a full disk."""
    code = f"""
import resource, sys
from pathlib import Path
from bench.errors import FailedError
from bench.storage import new_folder, write_atomic
target = Path({str(tmp_path)!r}) / "file"
write_atomic(target, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for attempt in range(2):
    try:
        if attempt:
            with new_folder(target.parent / "folder") as building:
                (building / "x").write_bytes(b"n" * 5000)
        else:
            write_atomic(target, b"n" * 5000)
    except FailedError as error:
        assert "disk full" in str(error) and str(target.parent) in str(error), error
    else:
        sys.exit("written")
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_other_errors_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "where", b"x")
    assert not issubclass(FileNotFoundError, FailedError)


def test_leftovers_of_dead_processes_are_removed_and_others_stay(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from bench.storage import new_folder
with new_folder(Path(sys.argv[1]) / "made") as building:
    (building / "x").write_text("1")
    print(building.name, flush=True)
    os._exit(9)
"""
    run = [sys.executable, "-c", code, str(tmp_path)]
    dead = subprocess.run(run, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    other_file = tmp_path / ".tmp-notes-of-a-user"
    other_file.write_text("mine")
    with new_folder(tmp_path / "alive") as building:
        assert dead in names(tmp_path)
        (tmp_path / building.name.rsplit("-", 2)[0]).touch()  # a truncated name is not one of ours
        assert sweep_leftovers(tmp_path) == 1
        assert dead not in names(tmp_path)
        assert building.exists()
    assert other_file.exists()


def test_a_reused_process_number_does_not_protect_a_leftover(tmp_path: Path) -> None:
    with new_folder(tmp_path / "x") as building:
        prefix, host, pid, start, serial = building.name.split("-")
    leftover = tmp_path / "-".join([prefix, host, pid, str(int(start) - 5), serial])
    leftover.mkdir()
    foreign = tmp_path / "-".join([prefix, "00000000", pid, start, serial])
    foreign.mkdir()
    assert sweep_leftovers(tmp_path) == 1
    assert foreign.exists()
    assert not leftover.exists()
    os.utime(foreign, (time.time() - 30 * 24 * 3600,) * 2)
    assert sweep_leftovers(tmp_path) == 1


def _hold(path: Path, log: Path) -> None:
    with exclusive(path), log.open("a") as file:
        file.write("in ")
        file.flush()
        time.sleep(0.05)
        file.write("out ")


def test_one_thread_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    paths = (tmp_path / "lock", tmp_path / "log")
    workers = [threading.Thread(target=_hold, args=paths) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "log").read_text() == "in out " * 4
