"""A large corpus of files, which several processes scan and encode.

The corpus is read twice: once to choose the held-out part, a sample for the tokenizer and the
fingerprint, and once to be encoded. A file that is cut is read a third time, because a sha256
cannot be put together from those of its parts. The stores of the parts, one after the other, are
the bytes that one process writes; parts that were done before a stop are used again.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.corpus.files import Files
from bench.corpus.partition import PartitionedCorpus, Progress
from bench.corpus.parts.cutting import Part, cut_files
from bench.corpus.parts.processes import run_jobs, write_job
from bench.corpus.parts.work import STORES, read_scan, sample_entries
from bench.corpus.store import StoreWriter
from bench.corpus.tokenizer import TextTokenizer
from bench.errors import RefusedError
from bench.settings import sha256_json
from bench.storage import MANIFEST, read_manifest, scratch_folder, verify_manifest

PART_BYTES = 32_000_000
"""Bytes of a part: ten seconds of work for a process that starts in one."""
_MOST_PARTS = 4096


class DividedCorpus(PartitionedCorpus):
    """The pieces of a corpus of files, read by several processes.

    Args:
        corpus: The corpus.
        on_progress: Called whenever a part is done.
        has_sample: Whether a tokenizer is trained on a sample.
        cache: Folder for intermediate results.
        num_processes: Processes at a time.
    """

    def __init__(
        self,
        corpus: Files,
        on_progress: Progress,
        has_sample: bool,
        cache: Path,
        num_processes: int,
    ) -> None:
        super().__init__(corpus, on_progress, has_sample)
        self._files, self._cache, self._num_processes = corpus, cache, num_processes
        num_bytes = sum(size for _, size in corpus.sizes())
        self._parts = cut_files(corpus, max(PART_BYTES, num_bytes // _MOST_PARTS))
        self._digests: list[list[str]] = []
        """The sha256 of what each part read."""

    def choose_held_out(self) -> None:
        """As for `PartitionedCorpus`; the files are hashed meanwhile."""
        if self.threshold is not None:
            return
        stage, number = "choosing the held-out documents", 0
        self.on_progress(stage, 0)
        self.corpus.skipped.clear()
        results = dict[str, dict[str, Any]]()
        waiting = [_name(place) for place in range(len(self._parts))]
        with scratch_folder(self._cache / "parts") as scratch:
            jobs = self._scan_jobs(scratch)
            with contextlib.closing(run_jobs(jobs, self._num_processes)) as done:
                for folder, result in done:
                    results[folder.name] = result
                    while waiting and waiting[0] in results:  # copies are counted in order
                        number += self._take_in(scratch / waiting[0], results[waiting[0]], number)
                        waiting.pop(0)
                        self.on_progress(stage, number)
        self._set_digests(results)
        self.set_threshold()

    def _scan_jobs(self, scratch: Path) -> Iterator[Path]:
        """The scan of each part, and the hash of each file that is cut, which takes longest."""
        for name, parts in self._cut_files().items():
            spans = [(part.low, part.high) for part in parts]
            path = parts[0].files[0][1]
            yield write_job(scratch / name, {"kind": "hash", "path": path, "spans": spans})
        for place, part in enumerate(self._parts):
            highest = None if self.sample is None else self.sample.highest
            job = {"kind": "scan", "part": part.to_json(), "highest": highest}
            yield write_job(scratch / _name(place), job)

    def _cut_files(self) -> dict[str, list[Part]]:
        """The parts of each file that is cut."""
        files = dict[str, list[Part]]()
        start = ""
        for place, part in enumerate(self._parts):
            if part.is_whole:
                continue
            if part.low == 0:
                start = f"hash{place}"
            files.setdefault(start, []).append(part)
        return files

    def _take_in(self, folder: Path, result: dict[str, Any], first: int) -> int:
        """Take in the scan of a part; its number of documents."""
        arrays = read_scan(folder)
        self.held_out.add(arrays["hashes"], arrays["characters"])
        if self.sample is not None:
            entries = sample_entries(arrays, first)
            self.sample.add_part(result["num_bytes"], entries, result["highest"])
        for kind, count in result["skipped"].items():
            self.corpus.count_skipped(kind, count)
        shutil.rmtree(folder)
        return len(arrays["hashes"])

    def _set_digests(self, results: dict[str, dict[str, Any]]) -> None:
        """Set the sha256 of all files, and of what each part read.

        Raises:
            RefusedError: A file had other bytes when it was hashed.
        """
        self._digests = [results[_name(place)]["digests"] for place in range(len(self._parts))]
        digests = list[str]()
        cut = iter(self._cut_files())
        place = 0
        while place < len(self._parts):
            part = self._parts[place]
            if part.is_whole:
                digests += self._digests[place]
                place += 1
                continue
            result = results[next(cut)]
            own = [[digest] for digest in result["digests"]]
            if self._digests[place : place + len(own)] != own:
                raise self._changed(part)
            digests.append(result["whole"])
            place += len(own)
        self._files.digests = digests

    def encode(
        self,
        tokenizer: TextTokenizer,
        tokenizer_file: Path,
        words: str,
        name: str,
        writers: list[StoreWriter],
    ) -> Path:
        """Encode all parts, and append them to the stores in order.

        Args:
            tokenizer: Encodes the documents.
            tokenizer_file: Where other processes find it.
            words: The word model.
            name: Of the stores that are built.
            writers: Of both stores.

        Returns:
            The folder of the parts, which may be removed once the stores are complete.

        Raises:
            RefusedError: A file was changed since it was scanned.
        """
        folder = self._cache / "parts" / name
        keys = [
            sha256_json([1, part.to_json(), digests, tokenizer.sha256, words, self.threshold])
            for part, digests in zip(self._parts, self._digests, strict=True)
        ]
        stage, number, facts = "encoding the documents", 0, dict[str, dict[str, Any]]()

        def jobs() -> Iterator[Path]:
            common = {"kind": "encode", "tokenizer": str(tokenizer_file), "words": words}
            for place, part in enumerate(self._parts):
                own = folder / _name(place)
                if (known := _finished(own, keys[place])) is not None:
                    facts[own.name] = known
                    continue
                shutil.rmtree(own, ignore_errors=True)
                job = {"part": part.to_json(), "threshold": self.threshold, "key": keys[place]}
                yield write_job(own, common | job)

        self.on_progress(stage, 0)
        self.corpus.skipped.clear()
        with contextlib.closing(run_jobs(jobs(), self._num_processes)) as done:
            for own, result in done:
                facts[own.name] = result
                number += result["documents"]
                self.on_progress(stage, number)
        for place, part in enumerate(self._parts):
            own = folder / _name(place)
            if facts[own.name]["digests"] != self._digests[place]:
                shutil.rmtree(own)
                raise self._changed(part)
            verify_manifest(own)
            for writer, store in zip(writers, STORES, strict=True):
                writer.append(own / store)
            for kind, count in facts[own.name]["skipped"].items():
                self.corpus.count_skipped(kind, count)
        return folder

    def _changed(self, part: Part) -> RefusedError:
        names = [part.files[0][1], part.files[-1][1]]
        which = " ... ".join(dict.fromkeys(names))
        return RefusedError(
            f"the corpus {self.corpus.display_name} was changed while it was read ({which}); "
            "repeat the command"
        )


def _name(place: int) -> str:
    return f"{place:06d}"


def _finished(folder: Path, key: str) -> dict[str, Any] | None:
    """The facts of a part that was encoded before a stop; None if there is none."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_manifest(folder)
    return manifest if manifest.get("key") == key else None
