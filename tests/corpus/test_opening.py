import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bench.corpus.hub import Hub
from bench.corpus.opening import open_corpus
from bench.corpus.sources import Corpus
from bench.errors import BenchError


class Tiny(Corpus):
    name: ClassVar[str] = "tiny"
    summary: ClassVar[str] = "three documents"

    def __init__(self, num_words: int = 3) -> None:
        self.num_words = num_words

    @classmethod
    def for_size(cls, size: str, num_words: int) -> Corpus:
        return cls(num_words)

    def fingerprint(self) -> str:
        return "0" * 64

    def documents(self) -> Iterator[str]:
        yield from ["one", "two", "three"][: self.num_words]


class Fixed(Corpus):
    name: ClassVar[str] = "fixed"
    summary: ClassVar[str] = "of one length"

    def fingerprint(self) -> str:
        return "1" * 64

    def documents(self) -> Iterator[str]:
        yield "one"


KNOWN: dict[str, type[Corpus]] = {"tiny": Tiny, "fixed": Fixed}


def test_names_files_and_lengths(tmp_path: Path) -> None:
    assert isinstance(open_corpus(["tiny"], KNOWN), Tiny)
    assert len([*open_corpus(["tiny"], KNOWN, num_words=2).documents()]) == 2
    assert isinstance(open_corpus(["fixed"], KNOWN, num_words=2), Fixed)
    file = tmp_path / "a b ü.txt"
    file.write_text("text")
    assert open_corpus([str(file)], KNOWN).display_name == "a b ü.txt"


def test_hub_addresses() -> None:
    corpus = open_corpus(["hf:org/name:part"], KNOWN, text_column="body", num_words=5)
    assert isinstance(corpus, Hub)
    assert corpus.display_name == "hf:org/name:part"
    assert (corpus.text_column, corpus.num_words) == ("body", 5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "empty"),
        (["tinny"], "no corpus or file named 'tinny'; did you mean 'tiny'"),
        (["missing.txt"], "no file or folder 'missing.txt'"),
        (["/no/where"], "no file or folder"),
        (["tiny", "fixed"], "tiny must stand alone"),
        (["hf:a/b", "hf:c/d"], "hf:a/b must stand alone"),
        (["hf:"], "names no dataset"),
        (["hf:../../x/y"], "names no dataset"),
        ([sys.executable], "not text in a known format"),
    ],
)
def test_unknown_sources_are_errors(spec: list[str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        open_corpus(spec, KNOWN)
