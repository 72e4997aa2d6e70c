"""Errors of the system about a user's paths, and numbers and texts that are none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.engines.jobs import Resources
from bench.engines.local import Engine
from bench.errors import BenchError, checked_keywords, user_error
from bench.probing.data.label_files.values import parse_list
from bench.settings import whole_number
from bench.sizes import SIZES, shape_and_training
from bench.storage import exclusive
from tests.helpers.paths import ROOT

LONG = "x" * 400


@pytest.mark.slow
def test_a_name_that_is_too_long_is_one_line_in_every_command(tmp_path: Path) -> None:
    program = (
        "import sys; from bench.cli import main\n"
        "for line in open(sys.argv[1]).read().split('\\n'):\n"
        "    sys.argv[1:] = line.split()\n"
        "    try: main()\n"
        "    except SystemExit as end: print(end.code, line[:30], flush=True)\n"
    )
    plan = "plan --objective token --tasks none"
    lines = [
        *(f"{command} --out {LONG}" for command in ("report", "compare", "status", "list runs")),
        *(f"{plan} --{option} {LONG}" for option in ("tokenizer", "init", "corpus", "out")),
        f"{plan} --task classify:{LONG}",
        f"{plan} --task classify:~no_such_user/x.csv",
        f"plan --objective token --tasks sst2 --data {LONG}",
        *(f"{command} {LONG}" for command in ("describe", "new objective", "work", "remove")),
    ]
    (tmp_path / "lines").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "lines")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["2"] * len(lines)
    errors = [line for line in done.stderr.splitlines() if line.startswith("bench: ")]
    assert len(errors) == len(lines)
    assert "the name is too long for this system; give a shorter one" in errors[0]
    assert f"{'x' * 80}..." in errors[0]


def test_the_python_api_refuses_the_same_paths(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="the name is too long"):
        bench.compare(out=LONG)
    with pytest.raises(BenchError, match="contains the character NUL"):
        checked_keywords(lambda: (tmp_path / "a\0b").read_bytes())()


def test_a_folder_in_the_place_of_a_lock_and_a_file_in_the_place_of_a_folder(
    tmp_path: Path,
) -> None:
    @checked_keywords
    def lock(path: Path) -> None:
        with exclusive(path):
            pass

    (tmp_path / "a.lock").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"a\.lock: a folder stands where a file is needed"):
        lock(tmp_path / "a.lock")
    for path in ("file/a.lock", "file/b/a.lock"):
        with pytest.raises(BenchError, match=r"file.*: a file stands where a folder is needed"):
            lock(tmp_path / path)


def test_a_bug_is_no_error_of_the_user() -> None:
    assert user_error(OSError(errno.ENOTDIR, "no file is named")) is None
    assert user_error(OSError(errno.EBADF, "a bug", "name")) is None
    assert user_error(ValueError("a bug")) is None
    with pytest.raises(UnicodeEncodeError) as raised:
        "a \ud800".encode()
    assert "half of a surrogate pair" in str(user_error(raised.value))


def test_only_the_digits_0_to_9_write_a_whole_number() -> None:
    assert [whole_number(text) for text in ("0", "17", 17)] == [0, 17, 17]
    for text in ("²", "٣", "9" * 5000, "-1", "1.0", "", "1\n"):
        assert whole_number(text) is None


@pytest.mark.parametrize("value", ["²", "9" * 5000])
def test_settings_that_are_no_numbers_are_refused(value: str) -> None:
    for setting in ("hidden_size", "max_length"):
        with pytest.raises(BenchError, match=f"encoder.{setting}"):
            shape_and_training(SIZES["tiny"], {"encoder": {setting: value}}, None)


def test_half_of_a_surrogate_pair_in_a_written_list_is_replaced() -> None:
    assert parse_list(r'["a\ud800"]') == ["a\ufffd"]
    assert parse_list(r"['a\ud800' 'b']") == ["a\ufffd", "b"]


def test_silence_seconds_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SILENCE_SECONDS", "1h")
    with pytest.raises(BenchError, match="BENCH_SILENCE_SECONDS is '1h'"):
        Engine({}).run_jobs([], Resources(1, 0), lambda state, event: None)
