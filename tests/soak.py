"""Start, kill, damage and resume runs at random, and compare what survives with its twin.

    python -m tests.soak --minutes 60 --out DIR [--seed 0] [--slots 2] [--longest 900]

Each experiment is one `bench run` of up to three objectives with a task. It is started again and
again, and each time something happens to it: the command or one of its processes is killed, it
gets SIGTERM or ^C, the disk is full, a byte of a file is flipped, a file is gone, or the same
command is started twice. Then it is started once more and left alone. Its encoders, heads and
scores must be those of the same command that nothing happened to. Prints the counts, and exits
with 1 if anything differed, if a damaged file went unnoticed, or if a traceback was printed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.registry import Registry
from bench.storage import file_sha256
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT

FLAGS = [
    "--corpus", "text.txt", "--task", "classify:labels.csv", "--budget", "60k",
    "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
]  # fmt: skip
SEEDS = (0, 1)
KINDS = {
    "SIGKILL of the command": 5,
    "SIGTERM": 3,
    "^C": 2,
    "SIGKILL of one of its processes": 4,
    "disk full": 1,
    "flipped byte": 3,
    "missing file": 2,
    "started twice": 1,
}
"""What happens to a command, and how often."""


class Soak:
    """The experiments of one soak, and its counts.

    Args:
        out: A new folder for everything that is written.
        seed: Chooses what happens; when it happens depends on the machine.
        longest: Seconds after which a command is said to hang.
    """

    def __init__(self, out: Path, seed: int, longest: float) -> None:
        self.out, self.seed, self._longest = out, seed, longest
        self.counts: collections.Counter[str] = collections.Counter()
        self.findings: list[str] = []
        self._twins: dict[str, dict[str, str]] = {}
        self._lock = threading.RLock()
        out.mkdir(parents=True)
        write_text(out)
        texts = [" ".join(text.split()) for text in (out / "text.txt").read_text().split("\n\n")]
        rows = [f'"{text}",{len(text) % 2}' for text in texts[:120] if '"' not in text]
        (out / "labels.csv").write_text("\n".join(["text,label", *rows]))

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def find(self, folder: Path, what: str) -> None:
        """Note a finding, with the end of what the command printed."""
        log = folder / "log.txt"
        tail = log.read_text(errors="replace")[-3000:] if log.is_file() else ""
        with self._lock:
            self.findings.append(what)
            with (self.out / "findings.txt").open("a") as file:
                file.write(f"=== {folder.name}: {what}\n{tail}\n")
        print(f"FINDING {folder.name}: {what}", flush=True)

    def start(self, folder: Path, flags: list[str], most_bytes: int = 0) -> subprocess.Popen[bytes]:
        """Start the command of an experiment, in a process group of its own."""
        self.count("starts")
        folder.mkdir(exist_ok=True)

        def limit() -> None:
            if most_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        with (folder / "log.txt").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "bench", "run", *flags, *FLAGS, "--out", str(folder)],
                cwd=self.out, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=limit, process_group=0,
                env={**os.environ, "PYTHONPATH": str(ROOT), "BENCH_CHECKPOINT_SECONDS": "0.2",
                     "BENCH_CACHE": str(self.out / "cache"), "HOME": str(self.out)},
            )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes], folder: Path, codes: set[int]) -> int:
        """Wait for the end of a command whose exit code must be one of `codes`."""
        try:
            code = process.wait(self._longest)
        except subprocess.TimeoutExpired:
            self.find(folder, f"hangs for {self._longest:.0f} seconds")
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()
        if code not in codes:
            self.find(folder, f"exit code {code} instead of {sorted(codes)}")
        log = folder / "log.txt"
        if "Traceback" in log.read_text(errors="replace"):
            self.find(folder, "a traceback was printed")
        return code

    def twin(self, flags: list[str], folder: Path) -> dict[str, str]:
        """The results of the same command that nothing happens to."""
        key = " ".join(flags)
        if key not in self._twins:
            if self.end(self.start(folder, flags), folder, {0}) == 0:
                self._twins[key] = results(folder)
            shutil.rmtree(folder, ignore_errors=True)
        return self._twins.get(key, {})

    def experiment(self, number: int) -> None:
        """Let things happen to one command, then compare its results with its twin's."""
        chance = random.Random(f"{self.seed}.{number}")
        names = sorted(set(Registry().of("objective")) - {"untrained"})
        chosen = chance.sample(names, chance.randint(1, 3))
        flags = ["--objective", ",".join(chosen), "--seeds", str(chance.choice(SEEDS))]
        expected = self.twin(flags, self.out / f"twin-{number}")
        folder = self.out / f"experiment-{number}"
        before = len(self.findings)
        for _ in range(chance.randint(2, 6)):
            (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
            HAPPENINGS[kind](self, folder, flags, chance, kind)
        self.end(self.start(folder, flags), folder, {0})
        survived = results(folder)
        for name in sorted(expected.keys() | survived.keys()):
            self.count("results compared")
            if expected.get(name) != survived.get(name):
                self.count("differences")
                self.find(folder, f"{name} is not that of its twin")
        self.count("runs compared", sum(name.endswith("encoder.safetensors") for name in survived))
        self.count("experiments")
        if len(self.findings) == before:
            shutil.rmtree(folder, ignore_errors=True)

    def report(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"{len(self.findings)} findings; {counts}"


def results(folder: Path) -> dict[str, str]:
    """The sha256 of every encoder, head and score of the records in a folder, by name."""
    found = {
        f"{path.parent.name}/{path.name}": file_sha256(path)
        for path in folder.glob("runs/*/*.safetensors")
    }
    for path in [*folder.glob("baselines/*.json"), *folder.glob("runs/*/scores/*.json")]:
        score = json.loads(path.read_text())
        score = {key: value for key, value in score.items() if key not in ("seconds", "sha256")}
        found[str(path.relative_to(folder))] = json.dumps(score, sort_keys=True)
    return found


def processes_of(pid: int) -> list[int]:
    """The descendants of a process."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            found += [child, *processes_of(child)]
    return found


def until_busy(process: subprocess.Popen[bytes], folder: Path, chance: random.Random) -> None:
    """Wait until a run has begun, and a moment more; sometimes only the moment."""
    is_patient = chance.random() < 0.75
    while is_patient and process.poll() is None and not list(folder.glob("runs/.unfinished/*/*")):
        time.sleep(0.05)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.random() ** 2 * 12.0)


def be_signalled(
    soak: Soak, folder: Path, flags: list[str], chance: random.Random, kind: str
) -> None:
    number = {"SIGTERM": signal.SIGTERM, "^C": signal.SIGINT}.get(kind, signal.SIGKILL)
    process = soak.start(folder, flags)
    until_busy(process, folder, chance)
    has_spoken = (folder / "log.txt").stat().st_size > 0
    is_done = process.poll() is not None
    if kind == "SIGKILL of one of its processes":
        if others := processes_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(others), number)
        soak.end(process, folder, {0, 1, 4})
    else:
        process.send_signal(number)
        code = {signal.SIGTERM: 75, signal.SIGINT: 130}.get(number, -9)
        # Before its handlers are installed, and it has printed anything, it ends as any other.
        soak.end(process, folder, {0, code} | (set() if has_spoken else {-number, 1}))
    soak.count("ended before it" if is_done else kind)


def have_no_room(
    soak: Soak, folder: Path, flags: list[str], chance: random.Random, kind: str
) -> None:
    soak.end(soak.start(folder, flags, chance.choice([10_000, 30_000, 60_000])), folder, {0, 1, 4})
    soak.count(kind)


def be_damaged(
    soak: Soak, folder: Path, flags: list[str], chance: random.Random, kind: str
) -> None:
    """Damage a file, see that the command names it, and repair it."""
    checkpoints = sorted(folder.glob("runs/.unfinished/*/step-*/*.safetensors"))
    records = [*folder.glob("runs/*/encoder.safetensors"), *folder.glob("runs/*/run.json"),
               *folder.glob("runs/*/scores/*.json")]  # fmt: skip
    paths = checkpoints or sorted(records)
    if not paths:
        soak.count("nothing to damage yet")
        return
    path = chance.choice(paths)
    payload = path.read_bytes()
    if kind == "missing file" and "scores" not in path.parts:  # a missing score is computed again
        path.unlink()
    else:
        damaged = bytearray(payload)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
    soak.end(soak.start(folder, flags), folder, {1, 3, 4})
    log = (folder / "log.txt").read_text(errors="replace")
    if path.name not in log and path.parent.name not in log:
        soak.find(folder, f"{kind}: {path.name} is not named")
    if path.parent.is_dir():
        path.write_bytes(payload)
    soak.count(kind)


def be_doubled(
    soak: Soak, folder: Path, flags: list[str], chance: random.Random, kind: str
) -> None:
    first = soak.start(folder, flags)
    time.sleep(chance.random())
    for process in (first, soak.start(folder, flags)):
        soak.end(process, folder, {0})
    soak.count(kind)


HAPPENINGS: dict[str, Callable[[Soak, Path, list[str], random.Random, str], Any]] = {
    **dict.fromkeys(KINDS, be_signalled),
    "disk full": have_no_room,
    "flipped byte": be_damaged,
    "missing file": be_damaged,
    "started twice": be_doubled,
}


def main() -> int:
    """Let experiments run side by side until the time is over."""
    parser = argparse.ArgumentParser(description="kill, damage and resume runs at random")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--longest", type=float, default=900.0)
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp()) / "soak"
    soak = Soak(out.absolute(), options.seed, options.longest)
    started = time.monotonic()
    numbers = iter(range(10**9))

    def work() -> None:
        while time.monotonic() - started < options.minutes * 60:
            with soak._lock:
                number = next(numbers)
            try:
                soak.experiment(number)
            except Exception as error:  # a fault of this program is a finding as well
                soak.find(soak.out / f"experiment-{number}", f"{type(error).__name__}: {error}")
            print(f"{(time.monotonic() - started) / 60:.1f} min: {soak.report()}", flush=True)

    threads = [threading.Thread(target=work) for _ in range(options.slots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(soak.report())
    return int(bool(soak.findings))


if __name__ == "__main__":
    sys.exit(main())
