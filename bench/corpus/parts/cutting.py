"""A corpus of files in parts: some of its files, or a part of one file of lines."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.corpus.documents import Unit
from bench.corpus.files import WITH_ROWS, Files, file_size
from bench.corpus.raw_files import open_regular, read_errors


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a corpus that one process reads."""

    files: Sequence[tuple[str, str, Unit]]
    """The name of each, its path, and what one document is."""
    given: Sequence[str]
    """The paths that the user named."""
    text_column: str
    low: int = 0
    high: int | None = None
    """The bytes [low, high) of a single file."""

    @property
    def is_whole(self) -> bool:
        """Whether it has whole files."""
        return self.high is None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def corpus(self) -> Files:
        """The part as a corpus."""
        corpus = Files([], self.text_column)
        corpus.paths = [Path(path) for path in self.given]
        corpus.files = [(name, Path(path)) for name, path, _ in self.files]
        corpus.units = {Path(path): (unit, "") for _, path, unit in self.files}
        corpus.span = (self.low, self.high)
        return corpus


def cut_files(corpus: Files, num_bytes: int) -> list[Part]:
    """Parts of about `num_bytes`, whose documents in their order are those of the corpus.

    A file of lines is cut. A file of another format, or a packed one, is never cut.
    """
    given = [str(path) for path in corpus.paths]
    parts: list[Part] = []
    pending: list[tuple[str, str, Unit]] = []
    room = num_bytes
    for name, path in corpus.files:
        file = (name, str(path), corpus.units[path][0])
        spans = _spans(*file, num_bytes)
        if len(spans) > 1 or room <= 0:
            parts += [Part(pending, given, corpus.text_column)] if pending else []
            pending, room = [], num_bytes
        if len(spans) > 1:
            parts += [Part([file], given, corpus.text_column, *span) for span in spans]
        else:
            pending.append(file)
            room -= file_size(path)
    return parts + ([Part(pending, given, corpus.text_column)] if pending else [])


def _spans(name: str, path: str, unit: Unit, num_bytes: int) -> list[tuple[int, int]]:
    """The parts of one file; one where it is small, or cannot be cut."""
    is_lines = name.lower().endswith(".jsonl")
    if name.endswith(".gz") or (not is_lines and name.lower().endswith(WITH_ROWS)):
        return []
    if file_size(Path(path)) <= num_bytes or unit == "files":
        return []
    places = cut_places(Path(path), not is_lines and unit == "blank-lines", num_bytes)
    return list(itertools.pairwise(places))


def cut_places(path: Path, at_blank_line: bool, num_bytes: int) -> list[int]:
    """Its start, the next line end (or empty line) after each `num_bytes`, and its end.

    Cut there, a file of lines has the same documents.
    """
    ends = (b"\n\n", b"\n\r\n") if at_blank_line else (b"\n",)
    with read_errors(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        places = [0]
        while (place := places[-1] + num_bytes) < size:
            file.seek(place)
            tail = b""
            while piece := file.read(1 << 16):
                text = tail + piece
                positions = [at + len(end) for end in ends if (at := text.find(end)) >= 0]
                if positions:
                    break
                place += len(text) - len(tail := text[-2:])
            else:
                break
            places.append(place + min(positions))
    return [*places, size] if places[-1] < size else places
