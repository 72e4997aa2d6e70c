"""The contract of a corpus: documents of text, streamed.

A corpus can be read any number of times and returns the same documents each time. Its fingerprint
covers the content, never paths or dates: an edited file is another corpus, a moved file is not.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

DOCUMENT_CHARACTERS = 100_000
"""Longer documents are cut into several: memory stays bounded, and a held-out part is possible."""


class Corpus(ABC):
    """Documents of text, streamed."""

    name: ClassVar[str]
    summary: ClassVar[str]

    vocab_size: ClassVar[int | None] = None
    """Vocabulary size of the tokenizer trained on this corpus; None: the encoder size decides."""

    @classmethod
    def for_size(cls, size: str, num_words: int) -> Corpus:
        """The corpus for an encoder size ("tiny", "mini", ...).

        Args:
            size: Name of the encoder size.
            num_words: Length of a corpus that can have any length; other corpora ignore it.
        """
        return cls()

    @functools.cached_property
    def skipped(self) -> dict[str, int]:
        """Counts of what the last pass left out or repaired: `{"blank": 3, "NUL": 1}`."""
        return {}

    @abstractmethod
    def fingerprint(self) -> str:
        """A sha256 (hexadecimal) of everything that decides the documents and their order."""

    def fingerprint_read(self) -> str:
        """The fingerprint of the documents that the last pass has read."""
        return self.fingerprint()

    def sizes(self) -> list[tuple[str, int]]:
        """The files with their numbers of bytes, where a fingerprint depends on all bytes."""
        return []

    @abstractmethod
    def documents(self) -> Iterator[str]:
        """The documents from the first on, one in memory at a time.

        Raises:
            BenchError: The text cannot be read; the message names the file and the reason.
        """

    @property
    def display_name(self) -> str:
        """The name of this corpus in tables: its registered name, or the names of its files."""
        return self.name

    @property
    def note(self) -> str:
        """A sentence for the user about how the documents are read, or empty."""
        return ""

    def count_skipped(self, kind: str, amount: int = 1) -> None:
        """Count something that was left out or repaired."""
        if amount:
            self.skipped[kind] = self.skipped.get(kind, 0) + amount


def cut_document(text: str) -> Iterator[str]:
    """Cut a document into pieces of at most `DOCUMENT_CHARACTERS`, at white space if there is any.

    Blank pieces are left out.
    """
    start = 0
    while len(text) - start > DOCUMENT_CHARACTERS:
        end = start + cut_position(text[start : start + DOCUMENT_CHARACTERS])
        if piece := text[start:end].strip():
            yield piece
        start = end
    if piece := text[start:].strip():
        yield piece


def cut_position(window: str) -> int:
    """The position of the last word in a window of text that is too long; cut before it."""
    words = window.rsplit(None, 1)
    return window.rindex(words[1]) if len(words) == 2 else len(window)
