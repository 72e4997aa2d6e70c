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

from bench.reporting.figures import workers as painting
from bench.reporting.figures.gallery import Gallery
from bench.reporting.figures.style import Figure
from tests.reporting.figures.test_figures import compare, make_results

DOTS = Figure("dots", "t", "c", "a", "csv", "svg", b"png")


def drawn_by(parent: int, asked_again: str) -> Figure | None:
    """Only this process draws it; others end."""
    if os.getpid() != parent:
        os._exit(1)
    return DOTS


def test_a_painter_that_is_killed_is_replaced() -> None:
    drawings = [functools.partial(drawn_by, os.getpid(), name) for name in "ab"]
    with painting.painters() as painter:
        assert list(painter(drawings)) == [DOTS, DOTS]
        assert list(painter(drawings)) == [DOTS, DOTS]  # and no other is waited for


@pytest.mark.parametrize("error", [OSError("no semaphores"), NotImplementedError()])
def test_where_no_process_can_be_started_this_one_draws(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(painting, "ProcessPoolExecutor", refuse)
    with painting.painters() as painter:
        assert painter is painting.paint


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with painting.painters():
        assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.slow
def test_painters_do_not_outlive_who_started_them() -> None:
    script = (
        "import functools, sys, time\n"
        "from bench.reporting.figures.workers import painters\n"
        "with painters() as painter:\n"
        "    painter([functools.partial(time.sleep, 600)] * 2)\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(600)\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    assert started.stdout is not None
    try:
        assert started.stdout.readline() == b"begun\n"
        started.kill()
        started.communicate(timeout=60)  # whoever lives holds the pipe open
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
    os.killpg(started.pid, signal.SIGINT)  # as ^C: to all of them
    said = started.communicate(timeout=60)[0]
    assert b"Traceback" not in said, said
    assert started.returncode in (130, 0)  # 0: it was done before


@pytest.mark.slow
def test_painters_draw_the_same_bytes(tmp_path: Path) -> None:
    tables = compare(make_results(tmp_path, ["token", "span"])).tables
    with painting.painters() as painter:
        ((beside,), (here,)) = Gallery(painter).of(tables), Gallery().of(tables)
        names = [(figure.name, figure.csv, figure.svg, figure.png) for figure in beside]
    assert names == [(figure.name, figure.csv, figure.svg, figure.png) for figure in here]
    assert [name for name, *_ in names] == ["cost", "scores", "heat_map", "layers", "curves"]


@pytest.mark.slow
def test_modules_where_the_user_stands_are_not_imported(tmp_path: Path) -> None:
    make_results(tmp_path / "results", ["token"])
    for name in ("token", "seaborn", "selectors"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w')")
    bench = shutil.which("bench", path=str(Path(sys.executable).parent))
    assert bench is not None
    done = subprocess.run([bench, "report"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "seen").exists()
