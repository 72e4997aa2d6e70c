"""Rows 16 and 17: plugins that fail when they are imported, and what a worker reports of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.engines import events
from bench.engines.jobs import Resources
from bench.engines.worker.worker_process import WorkerProcess
from bench.errors import BenchError
from tests.helpers.paths import ROOT
from tests.test_registry import OBJECTIVE, by_provider, install

BROKEN = {
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "leaves": ("import os\nos._exit(7)", r"it ends the process with os._exit(7)"),
    "leaves_later": (
        "import bench, os\n@bench.hookimpl\ndef bench_tasks():\n    os._exit(7)",
        "it ends the process with os._exit(7)",
    ),
    "hangs": (
        "import time\nwhile True:\n    try:\n        time.sleep(60)\n"
        "    except Exception:\n        pass",
        "it is not imported after 0.5 seconds",
    ),
    "base": ("class Mine(BaseException): pass\nraise Mine", "Mine"),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(registry, "IMPORT_SECONDS", 0.5)
    return tmp_path / "site"


@pytest.mark.parametrize("how", BROKEN)
def test_fault_16_a_plugin_that_ends_its_import_badly_is_broken(site: Path, how: str) -> None:
    source, reason = BROKEN[how]
    handler, leave = signal.getsignal(signal.SIGINT), os._exit
    install(site, "acme-broken", f"acme_broken_{how}", source)
    install(site, "acme-well", f"acme_well_{how}", OBJECTIVE.format(name=f"well_{how}"))
    found = registry.Registry()
    (problem,) = by_provider(found, "acme-broken")
    assert reason in problem
    assert f"well_{how}" in found.of("objective")
    with pytest.raises(BenchError, match=r"acme-broken.* is broken"):
        found.get("objective", f"acme_broken_{how}")
    assert (signal.getsignal(signal.SIGINT), os._exit) == (handler, leave)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_fault_16_an_interrupt_of_the_user_is_no_fault_of_a_plugin(site: Path) -> None:
    source = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)"
    install(site, "acme-slow", "acme_slow", source)
    with pytest.raises(KeyboardInterrupt):
        registry.Registry()


def test_fault_16_prints_of_a_plugin_are_not_in_the_output(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "print('hello')\n" + OBJECTIVE.format(name="loud").replace(
        "    return [Mine]", "    print('again')\n    return [Mine]"
    )
    install(site, "acme-loud", "acme_loud", source)
    assert "loud" in registry.Registry().of("objective")
    assert capsys.readouterr() == ("", "hello\nagain\n")


@pytest.mark.parametrize(
    "line",
    [
        "", "nonsense", "[" * 100_000, "9" * 5_000, "{}", "null", '"event"', "[1]",
        '{"event": "ended"}', '{"event": "started"}', '{"event": []}', '{"event": "none"}',
        '{"event": "progress", "share": "x", "step": 1, "nats": 1, "tokens": 1,'
        ' "tokens_per_second": 1}',
        '{"event": "progress", "share": "0.5", "step": "1", "nats": "1", "tokens": "1",'
        ' "tokens_per_second": "1"}',
        '{"event": "progress", "share": 0.5}',
        '{"event": "done", "run_id": 3, "status": "finished"}',
        '{"event": "done", "run_id": null, "status": "splendid"}',
        '{"event": "note", "text": ["a"]}',
        '{"event": "error", "message": "x", "exit_code": ' + "9" * 40 + "}",
    ],
)  # fmt: skip
def test_fault_17_what_no_worker_reports_is_no_event(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (its children count)
        events.read_event(line)


def test_fault_17_a_plugin_cannot_silence_the_reports_of_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no text, events of the engine, and a line without end come before them."""
    noise = b"\xff\xfe\x00" * 10 + b'\n{"event": "ended"}\n'
    note = events.Note("still here")
    program = (
        f"import sys; sys.stdout.buffer.write({noise!r} + b'x' * {3 << 20}); "
        f"print({chr(10) + note.to_line()!r})"
    )
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _, **options: start([sys.executable, "-c", program], **options)
    )
    received: list[events.Event] = []
    worker = WorkerProcess(tmp_path / "job.json", Resources(1), received.append)
    assert worker.wait() == 0
    assert received == [note]


def test_fault_17_a_line_of_a_worker_begins_anew() -> None:
    """Also after what a plugin wrote to the channel, without an end of line."""
    code = (
        "import os; from bench.engines import events; from bench.engines.worker import worker\n"
        "report = worker._reporter(worker.Stop())\n"
        "for channel in range(3, 64):\n"
        "    try:\n"
        "        os.write(channel, b'half a line')\n"
        "    except OSError:\n"
        "        pass\n"
        "report(events.Note('whole'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "half a line"
    assert events.read_event(lines[1]) == events.Note("whole")
