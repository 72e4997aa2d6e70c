"""Signals while a corpus is prepared, and workers that the kernel killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import machine
from bench.corpus.preparation import prepare_corpus
from bench.corpus.trainer import train_tokenizer
from bench.engines.jobs import JobState
from bench.engines.worker.worker_process import count_memory_kills, settle
from bench.errors import StoppedError
from bench.machine import beat, in_thread, on_beat, stoppable
from bench.probing.reader.batching import batches
from tests.helpers.corpora import ListCorpus, numbered_sentences


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
@pytest.mark.parametrize("stage", ["choosing the held-out", "training", "encoding"])
def test_a_signal_stops_the_preparation_and_leaves_nothing_half_built(
    tmp_path: Path, number: int, code: int, stage: str
) -> None:
    sent: list[str] = []

    def on_progress(name: str, _documents: int) -> None:
        if name.startswith(stage) and not sent:  # a second one would come after the end
            sent.append(name)
            os.kill(os.getpid(), number)
            time.sleep(0.01)

    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    signal.signal(number, usual[number])  # SIGINT is ignored where tests run in the background
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match="the same command resumes it") as raised:
        prepare_corpus(ListCorpus(numbered_sentences(9)), None, 300, tmp_path, on_progress)
    assert raised.value.exit_code == code
    assert signal.getsignal(number) is before
    assert not list(tmp_path.glob("stores/*/"))
    assert not list(tmp_path.glob("*/.tmp-*"))


def test_a_call_that_does_not_return_to_python_is_interrupted() -> None:
    end, has_ended = threading.Event(), threading.Event()

    def endless() -> Iterator[str]:
        while not end.is_set():
            yield "text"
            time.sleep(0.01)

    def read(texts: Iterator[str]) -> None:
        for _ in texts:
            pass
        has_ended.set()

    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    start = time.monotonic()
    with pytest.raises(StoppedError, match="stopped"), stoppable("stopped"):
        in_thread(lambda until: read(until(endless())))
    assert time.monotonic() - start < 5
    assert has_ended.wait(5)
    end.set()


def test_the_innermost_message_is_said() -> None:
    before = signal.getsignal(signal.SIGTERM)
    for is_inner in (True, False):
        with pytest.raises(StoppedError) as raised, stoppable("outer"):  # noqa: PT012
            with stoppable("inner"):
                if is_inner:
                    os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        assert str(raised.value) == ("inner" if is_inner else "outer")
        assert signal.getsignal(signal.SIGTERM) is before


def test_errors_of_the_thread_are_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda until: 1 // 0)


def test_words_without_end_are_cut_for_the_training() -> None:
    line = "".join("abcdefghij"[i * i % 9973 * 7 % 10] for i in range(200_000))
    assert train_tokenizer([line], 400).vocabulary.size > 300
    short = ["a" * 2_000 + " b"] * 3
    assert train_tokenizer(short, 300).json == train_tokenizer(iter(short), 300).json


@pytest.mark.parametrize(
    ("cgroup", "file"),
    [
        ("0::/jobs/a", "sys/fs/cgroup/jobs/a/memory.events"),
        ("0::/", "sys/fs/cgroup/memory.events"),
        ("4:memory:/a\n0::/", "sys/fs/cgroup/memory/a/memory.oom_control"),
        ("4:cpu,memory:/b", "sys/fs/cgroup/memory/memory.oom_control"),
    ],
)
def test_the_counter_of_the_kernel_is_read(tmp_path: Path, cgroup: str, file: str) -> None:
    assert count_memory_kills(tmp_path) == 0
    for path, text in (("proc/self/cgroup", f"9:name=systemd:/\n{cgroup}\n"),
                       (file, "low 0\noom 3\noom_kill 2\n")):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert count_memory_kills(tmp_path) == 2


def test_a_worker_that_the_kernel_killed_says_out_of_memory() -> None:
    state = JobState(None)  # type: ignore[arg-type]
    settle(state, -9, ran_out_of_memory=True)
    assert state.message is not None
    assert state.message.startswith("out of memory: the kernel killed the worker")
    state = JobState(None)  # type: ignore[arg-type]
    settle(state, -9)
    assert "was killed by signal 9" in str(state.message)


def test_a_beat_is_passed_on_once_in_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_heart", machine._Heart())
    beat()  # nobody listens
    now, beats = [1.0], list[float]()
    monkeypatch.setattr(machine.time, "monotonic", lambda: now[0])
    on_beat(lambda: beats.append(now[0]), seconds=0.5)
    for _ in range(8):
        beat()
        now[0] += 0.25
    assert beats == [1.0, 1.5, 2.0, 2.5]


def test_reading_texts_beats_for_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that scores for an hour is not silent, so it is not taken to hang."""
    monkeypatch.setattr(machine, "_heart", machine._Heart())
    beats: list[int] = []
    on_beat(lambda: beats.append(1), seconds=0.0)
    assert len(list(batches([40] * 1000, 400))) == 100
    assert len(beats) == 100
