"""Speed and memory of the preparation of a corpus, beside HF tokenizers' own `encode_batch_fast`.

    python -m tests.benchmarks.encoding [FOLDER] [megabytes ...]      (generated text; 100 400)

The text is repeated to the length, with a number in each document, so that no two are equal. The
tokenizer is trained on the first 20 MB and given to both, so that the same work is compared. The
last lines calculate larger corpora from these figures. Memory is the peak of a process (VmHWM);
`ru_maxrss` of a new process begins with that of its parent.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.corpus.files import Files
from bench.corpus.preparation import prepare_corpus
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.trainer import train_tokenizer
from bench.machine import cores

SAMPLE_BYTES = 20_000_000
CHUNK = 1_000
LARGER = {"10B": 10e9, "1T": 1e12}


def write(path: Path, texts: list[str], num_bytes: int) -> None:
    """A file of that length."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(itertools.cycle(texts)):
            file.write(f"{number}. {text}\n\n".replace("\n\n\n", "\n"))
            if number % CHUNK == 0 and file.tell() >= num_bytes:
                return


def read(path: Path, num_bytes: int) -> Iterator[list[str]]:
    """The documents of the first bytes, in chunks."""
    texts = Files([path]).documents()
    while num_bytes > 0 and (chunk := list(itertools.islice(texts, CHUNK))):
        num_bytes -= sum(len(text.encode()) for text in chunk)
        yield chunk


def library_speed(tokenizer: TextTokenizer, path: Path) -> tuple[float, float]:
    """Bytes of `encode_batch_fast`, ids alone, on all cores: in a second, and in one of a core."""
    chunks = list(read(path, SAMPLE_BYTES))
    started, cpu_started = time.perf_counter(), time.process_time()
    for chunk in chunks:
        tokenizer._tokenizer.encode_batch_fast(chunk, add_special_tokens=False)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    num_bytes = sum(len(text.encode()) for chunk in chunks for text in chunk)
    return num_bytes / seconds, num_bytes / cpu_seconds


def prepare(path: Path, tokenizer: Path, num_processes: int) -> dict[str, float]:
    """Prepare a corpus in a process of its own: seconds, tokens, and megabytes of memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.encoding", "--one", path, tokenizer,
         str(num_processes)], capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def peak_megabytes(process: str) -> float:
    """The largest memory that a process ever had; 0 if it is gone."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return 0.0


def watch_children(peaks: list[float]) -> None:
    """Note the peak of any child of this process, as long as it runs."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        peaks[0] = max([peaks[0], *map(peak_megabytes, children.read_text().split())])
        time.sleep(0.05)


def prepare_here(path: Path, tokenizer: Path, num_processes: int) -> dict[str, float]:
    """The same in this process."""
    starts, peaks = dict[str, float](), [0.0]
    threading.Thread(target=watch_children, args=[peaks], daemon=True).start()

    def on_progress(stage: str, _documents: int) -> None:
        starts.setdefault(stage, time.perf_counter())

    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        started = time.perf_counter()
        made = prepare_corpus(
            Files([path]), tokenizer, 0, Path(cache), on_progress, num_processes=num_processes
        )
        ended = time.perf_counter()
        times = os.times()
        disk = sum(file.stat().st_size for file in made.folder.rglob("*") if file.is_file())
        return {
            "seconds": ended - started,
            "cpu_seconds": sum(times[:4]),
            "encoding": ended - starts["encoding the documents"],
            "tokens": made.train.num_tokens + (made.heldout.num_tokens if made.heldout else 0),
            "parent_mb": peak_megabytes("self"),
            "child_mb": peaks[0],
            "disk": disk,
        }


def main(source: Path | None, megabytes: list[int]) -> None:
    """Measure and print; one process alone at the first size only."""
    from tests.benchmarks.speed import text as generated_text  # torch, 300 MB

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, tokenizer_file = folder / "text.txt", folder / "tokenizer.json"
        texts = list(Files([source or generated_text(folder)]).documents())
        for number, size in enumerate(megabytes):
            write(path, texts, size * 1_000_000)
            num_bytes = path.stat().st_size
            if not number:
                sample = itertools.chain.from_iterable(read(path, SAMPLE_BYTES))
                tokenizer = train_tokenizer(sample, 8192)
                tokenizer.save(tokenizer_file)
            for num_processes in dict.fromkeys((cores(),) if number else (1, cores())):
                fast, fast_cpu = library_speed(tokenizer, path)
                one = prepare(path, tokenizer_file, num_processes)
                speed = num_bytes / one["seconds"]
                print(
                    f"{size} MB, {num_processes} processes on {cores()} cores (load "
                    f"{os.getloadavg()[0]:.1f}): {speed / 1e6:.2f} MB/s whole, "
                    f"{num_bytes / one['encoding'] / 1e6:.2f} MB/s second pass; encode_batch_fast "
                    f"{fast / 1e6:.2f} MB/s; ratio {speed / fast:.2f}, of CPU time "
                    f"{num_bytes / one['cpu_seconds'] / fast_cpu:.2f}; peak memory "
                    f"{one['parent_mb']:.0f} MB parent, {one['child_mb']:.0f} MB largest child",
                    flush=True,
                )
        for title, count in LARGER.items():
            size = count * num_bytes / one["tokens"]
            hours = size / speed / 3600
            print(
                f"on paper, {title} tokens: {size / 1e9:,.0f} GB of text, "
                f"{count * one['disk'] / one['tokens'] / 1e9:,.0f} GB of stores (twice that while "
                f"they are joined); {hours:,.1f} h on {cores()} cores, "
                f"{hours * cores() / 64:,.1f} h on 64 at the same speed a core"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(prepare_here(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
        folders = [Path(word) for word in sys.argv[1:] if not word.isdigit()]
        main(next(iter(folders), None), numbers or [100, 400])
