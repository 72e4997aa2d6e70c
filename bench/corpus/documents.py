"""Which files are read as a corpus, and what one document of a text file is.

A block between empty lines is a document, except where a file has no empty line: then each line is
one (a sentence, a sequence, an entry of a log), unless the lines are those of a text that was
wrapped at a width. A file of code is one document with its line ends.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Literal

from bench.corpus.sentences import ends_sentence
from bench.errors import BenchError

Unit = Literal["blank-lines", "lines", "files"]

CHOICES = ("auto", "blank-lines", "lines", "files")
FORMATS = (".txt", ".md", ".jsonl", ".csv", ".parquet")
"""Formats that are read wherever they lie."""
MORE_FORMATS = (".tsv", ".json", ".log", ".text", ".train", ".valid", ".test", ".raw", ".tokens")
"""Formats that are read in a folder without any of `FORMATS`."""
CODE = (
    ".py", ".pyi", ".js", ".jsx", ".mjs", ".ts", ".tsx", ".java", ".kt", ".scala", ".c", ".h",
    ".cc", ".cpp", ".hpp", ".cs", ".go", ".rs", ".rb", ".php", ".swift", ".m", ".r", ".jl", ".lua",
    ".pl", ".sh", ".sql", ".hs", ".ml", ".ex", ".erl", ".clj", ".html", ".css", ".scss", ".xml",
    ".yaml", ".yml", ".toml", ".ini", ".cfg", ".tex", ".rst",
)  # fmt: skip
"""Formats of code and markup, which are read in a folder that has more of them than of text."""
NOT_ENTERED = ("node_modules", "__pycache__")

_HEAD_BYTES = 1 << 16
_WRAPPED = (50, 200)
"""The longest line of a text that was wrapped at a width has so many characters."""


def list_files(path: Path) -> tuple[list[tuple[str, Path]], Counter[str]]:
    """The files that are read of a path, and the endings of those that are not.

    Returns:
        (Relative name, path) of one file, or of the readable files of a folder, sorted; and the
        number of the folder's other files by ending.

    Raises:
        BenchError: A file that is not text, or a folder without text.
    """
    if not path.is_dir():
        if not _has_ending(path.name, (*FORMATS, *MORE_FORMATS, *CODE)):
            _refuse_binary(path)
        return [(path.name, path)], Counter()
    files: list[Path] = []
    for folder, subfolders, names in os.walk(path, onerror=_cannot_read):
        subfolders[:] = [
            name for name in subfolders if not name.startswith(".") and name not in NOT_ENTERED
        ]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    text, more, code = (
        [file for file in files if _has_ending(file.name, endings)]
        for endings in (FORMATS, MORE_FORMATS, CODE)
    )
    chosen = text or more
    if len(code) > len(text):
        chosen = [*text, *more, *code]
    if not chosen:
        raise BenchError(
            f"no text in the folder {path} (looked for {' '.join((*FORMATS, *MORE_FORMATS))} and "
            "code)"
        )
    others = Counter(file.suffix for file in set(files) - set(chosen))
    return sorted((file.relative_to(path).as_posix(), file) for file in chosen), others


def choose_unit(setting: str, path: Path) -> tuple[Unit, str]:
    """The unit of a document of a text file, and the reason why `auto` chose it.

    Args:
        setting: One of `CHOICES`.
        path: The file; `auto` reads its beginning.

    Raises:
        BenchError: No such setting.
    """
    if setting not in CHOICES:
        raise BenchError(f"--documents {setting!r} is none of {', '.join(CHOICES)}")
    if setting != "auto":
        return setting, ""  # type: ignore[return-value]  # one of the choices
    if _has_ending(path.name, CODE):
        return "files", "code"
    lines = [line.rstrip() for line in _head(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) < 2 or "" in lines:
        return "blank-lines", ""
    if _is_wrapped(lines):
        return "blank-lines", ""
    return "lines", "it has no empty lines"


def _is_wrapped(lines: list[str]) -> bool:
    """Whether lines without an empty one are those of a text that was wrapped at a width."""
    ended = sum(map(ends_sentence, lines))
    longest = max(map(len, lines))
    if 2 * ended >= len(lines) or not _WRAPPED[0] <= longest <= _WRAPPED[1]:
        return False
    has_spaces = sum(" " in line.strip() for line in lines) > len(lines) / 2
    full = sum(len(line) > 0.75 * longest for line in lines[:-1])
    return has_spaces and full > 0.7 * (len(lines) - 1)


def _head(path: Path) -> str:
    """The beginning of a file as text; a byte that is no text stays out."""
    from bench.corpus.raw_files import open_regular, read_errors, unpack

    with read_errors(path), open_regular(path) as raw:
        file = unpack(raw, path) if path.name.endswith(".gz") else raw
        text = file.read(_HEAD_BYTES).decode("utf-8-sig", "ignore")
    if len(text) < _HEAD_BYTES // 4:
        return text
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1]  # whole lines


def _refuse_binary(path: Path) -> None:
    """Refuse a file of an unknown format that is not UTF-8 text."""
    if not os.path.lexists(path):
        return
    head = _head(path)
    if "\0" in head or sum(not (c.isprintable() or c.isspace()) for c in head) > len(head) / 100:
        raise BenchError(
            f"{path} is not text in a known format ({' '.join((*FORMATS, *MORE_FORMATS))}, code, "
            "or any of these but .parquet with .gz)"
        )


def _has_ending(name: str, endings: tuple[str, ...]) -> bool:
    plain = name.removesuffix(".gz")
    return plain.lower().endswith(endings) and not name.endswith(".parquet.gz")


def _cannot_read(error: OSError) -> None:
    raise BenchError(f"{error.filename} cannot be read ({error.strerror})")
