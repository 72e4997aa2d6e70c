"""Corpora for tests: documents from a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from bench.corpus.sources import Corpus
from bench.settings import sha256_json


class ListCorpus(Corpus):
    """The documents of a list; counts how often they are read."""

    name: ClassVar[str] = "list"
    summary: ClassVar[str] = "documents from a list"

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.num_passes = 0

    def fingerprint(self) -> str:
        return str(sha256_json(self.texts))

    def documents(self) -> Iterator[str]:
        self.num_passes += 1
        yield from self.texts


def numbered_sentences(count: int) -> list[str]:
    """Different documents of two sentences each."""
    return [f"Sentence number {i} says {i * i}. It ends here." for i in range(count)]
