from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.reporting.figures import workers
from bench.reporting.figures.style import Figure
from bench.reporting.figures.workers import ReportFigures
from tests.reporting.figures.test_figures import compare, make_results

DOTS = Figure("dots", "t", "c", "a", "csv", "svg", b"png")


def draw_in_parent(parent: int, drawing: str) -> Figure | None:
    """Draw in the parent process; any other process ends."""
    if os.getpid() != parent:
        os._exit(1)
    return DOTS


def test_if_a_worker_is_killed_this_process_draws() -> None:
    drawings = [functools.partial(draw_in_parent, os.getpid(), name) for name in "ab"]
    with workers.drawing_processes() as draw:
        assert list(draw(drawings)) == [DOTS, DOTS]
        assert list(draw(drawings)) == [DOTS, DOTS]  # without waiting for another worker


@pytest.mark.parametrize("error", [OSError("no semaphores"), NotImplementedError()])
def test_if_no_process_can_be_started_this_process_draws(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(workers, "ProcessPoolExecutor", refuse)
    with workers.drawing_processes() as draw:
        assert draw is workers.draw_here


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with workers.drawing_processes():
        assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.slow
def test_workers_end_with_their_parent() -> None:
    script = (
        "import functools, sys, time\n"
        "from bench.reporting.figures.workers import drawing_processes\n"
        "with drawing_processes() as draw:\n"
        "    draw([functools.partial(time.sleep, 600)] * 2)\n"
        "    print('started', flush=True)\n"
        "    time.sleep(600)\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    assert started.stdout is not None
    try:
        assert started.stdout.readline() == b"started\n"
        started.kill()
        started.communicate(timeout=60)  # a living worker keeps the pipe open
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.6, 1.0])
def test_an_interrupt_is_silent(seconds: float, tmp_path: Path) -> None:
    make_results(tmp_path / "results", ["token"])
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from bench.cli import process\n"
        "sys.argv = ['bench', 'report']\n"
        "if __name__ == '__main__':\n"
        "    process()\n"
    )
    (tmp_path / "script.py").write_text(script)
    started = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    time.sleep(seconds)
    os.killpg(started.pid, signal.SIGINT)  # to all processes, as ^C
    output = started.communicate(timeout=60)[0]
    assert b"Traceback" not in output, output
    assert started.returncode in (130, 0)  # 0: it had already finished


@pytest.mark.slow
def test_workers_draw_the_same_bytes(tmp_path: Path) -> None:
    tables = compare(make_results(tmp_path, ["token", "span"])).tables
    with workers.drawing_processes() as draw:
        ((by_workers,), (here,)) = ReportFigures(draw).of(tables), ReportFigures().of(tables)
        files = [(figure.name, figure.csv, figure.svg, figure.png) for figure in by_workers]
    assert files == [(figure.name, figure.csv, figure.svg, figure.png) for figure in here]
    names = [name for name, *_ in files]
    assert names == ["cost", "forest", "scores", "heat_map", "layers", "curves"]


@pytest.mark.slow
def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path) -> None:
    make_results(tmp_path / "results", ["token"])
    for name in ("token", "seaborn", "selectors"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w')")
    bench = shutil.which("bench", path=str(Path(sys.executable).parent))
    assert bench is not None
    done = subprocess.run([bench, "report"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "seen").exists()
