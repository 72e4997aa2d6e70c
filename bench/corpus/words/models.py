"""Word models: the words that objectives hide as units, chosen when a corpus is prepared.

`spaces` are the words of the tokenizer's pre-tokenizer, in which a combining mark belongs to its
word. `icu` are the words of Unicode text segmentation (UAX #29), with dictionaries for the scripts
without spaces. `characters` are single characters with their marks. A file is the corpus itself
with spaces between the words, as a segmenter of the user's choice wrote it.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.corpus.words import patterns, word_spans
from bench.corpus.words.characters import BLANK, LETTER, MARK, kinds_of
from bench.errors import BenchError
from bench.storage import file_sha256

if TYPE_CHECKING:
    from jaxtyping import Bool

    from bench.corpus.encoding import EncodedText

CHOICES = ("auto", "spaces", "icu", "characters")
"""The values of `--words` beside the name of a file."""
WITHOUT_ICU = "ICU is not installed; pip install 'objective-bench[icu]'"


class WordModel(ABC):
    """The words of the texts of a corpus, read in order."""

    name: ClassVar[str]

    @property
    def identity(self) -> list[str]:
        """The parts of a store's identity that decide its words."""
        return [self.name]

    @abstractmethod
    def starts(self, text: str) -> Bool[np.ndarray, " C"]:
        """True at each character that starts a word; the texts come in the order of the corpus."""

    def mark(self, text: str, encoded: EncodedText) -> Bool[np.ndarray, " N"]:
        """For each token: does it start a word? White space belongs to the word after it.

        A word that starts inside a token is no unit: the token belongs to the word before.
        """
        if not len(encoded.ids):
            return encoded.word_start
        begins = np.append(self.starts(text), False)
        first = _first_visible(text)[encoded.starts]
        is_new = encoded.starts >= np.append(0, encoded.ends[:-1])
        marked: Bool[np.ndarray, " N"] = is_new & begins[np.minimum(first, len(text))]
        marked[0] = True
        return marked


class Spaces(WordModel):
    """The words of the pre-tokenizer; marks and the letters after them continue the word."""

    name = "spaces"

    def starts(self, text: str) -> Bool[np.ndarray, " C"]:
        is_start = np.zeros(len(text), dtype=bool)
        is_start[[match.start() for match in patterns().run.finditer(text)]] = True
        return is_start

    def mark(self, text: str, encoded: EncodedText) -> Bool[np.ndarray, " N"]:
        kinds = np.zeros(0, dtype=np.uint8) if text.isascii() else kinds_of(text)
        is_mark = np.append((kinds & MARK) != 0, False)
        if not is_mark.any():
            return encoded.word_start
        starts = encoded.starts
        is_blank = np.append((kinds & BLANK) != 0, True)
        is_word = np.append((kinds & LETTER) != 0, False)
        before = starts - 1  # index -1 is the padding, which is blank and no mark
        is_inside = is_word[starts] | is_mark[starts]
        continues = (is_mark[starts] & ~is_blank[before]) | (is_mark[before] & is_inside)
        # A pre-tokenizer may join a mark with the full stop after it.
        is_new = is_mark[before] & ~is_inside & (starts >= np.append(0, encoded.ends[:-1]))
        marked: Bool[np.ndarray, " N"] = (encoded.word_start & ~continues) | is_new
        return marked


class Characters(WordModel):
    """Each character with its marks is a word."""

    name = "characters"

    def starts(self, text: str) -> Bool[np.ndarray, " C"]:
        is_start: Bool[np.ndarray, " C"] = (kinds_of(text) & (BLANK | MARK)) == 0
        return is_start


class Mixed(WordModel):
    """The words of `bench.corpus.words`: characters in scripts without spaces, else words."""

    name = "mixed"

    def starts(self, text: str) -> Bool[np.ndarray, " C"]:
        is_start = np.zeros(len(text), dtype=bool)
        is_start[[start for start, _ in word_spans(text)]] = True
        return is_start


class Icu(WordModel):
    """The words of Unicode text segmentation, by dictionaries where there are no spaces."""

    name = "icu"

    def __init__(self) -> None:
        if not has_icu():
            raise BenchError(f"--words icu: {WITHOUT_ICU}, or choose --words characters")
        import icu4py

        self.version = str(icu4py.icu_version)

    @property
    def identity(self) -> list[str]:
        return [self.name, self.version]

    def starts(self, text: str) -> Bool[np.ndarray, " C"]:
        from icu4py.breakers import WordBreaker

        is_start = np.zeros(len(text), dtype=bool)
        is_start[[start for start, _ in WordBreaker(text, "root").segments()]] = True
        return is_start


class Segmented(WordModel):
    """The words of a file that is the corpus with spaces between its words.

    Args:
        path: The file, UTF-8. Its characters without white space are those of the corpus, in order.

    Raises:
        BenchError: There is no such file, or (while the corpus is read) it has another text.
    """

    name = "file"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.sha256 = file_sha256(path)
        except OSError as error:
            raise BenchError(
                f"--words {path}: no such choice or file ({error.strerror}); choose one of "
                f"{', '.join(CHOICES)}, or give a segmented text"
            ) from None
        self._words = self._read()
        self._rest = ""

    @property
    def identity(self) -> list[str]:
        return [self.name, self.sha256]

    def starts(self, text: str) -> Bool[np.ndarray, " C"]:
        is_start = np.zeros(len(text), dtype=bool)
        for at, character in enumerate(text):
            if character.isspace():
                continue
            if not self._rest:
                self._rest = next(self._words, "")
                is_start[at] = True
            if not self._rest.startswith(character):
                raise BenchError(
                    f"--words {self.path}: the file is not this corpus with spaces between the "
                    f"words: it has {self._rest[:20]!r} where the corpus has "
                    f"{text[at : at + 20]!r}; segment the same text again"
                )
            self._rest = self._rest[1:]
        return is_start

    def _read(self) -> Iterator[str]:
        with self.path.open(encoding="utf-8-sig", errors="replace") as file:
            for line in file:
                yield from line.split()


MODELS: dict[str, type[WordModel]] = {
    model.name: model for model in (Spaces, Icu, Characters, Mixed)
}


def has_icu() -> bool:
    """Whether the package with ICU is installed."""
    return importlib.util.find_spec("icu4py") is not None


def word_model(name: str) -> WordModel:
    """The model with a name, or of a segmented file.

    Raises:
        BenchError: No such model or file, or a package is missing.
    """
    model: WordModel = MODELS[name]() if name in MODELS else Segmented(Path(name))
    return model


def _first_visible(text: str) -> np.ndarray:
    """For each character, the index of the first character from it on that is not white space."""
    at = np.arange(len(text) + 1)
    visible = np.append((kinds_of(text) & BLANK) == 0, True)
    first: np.ndarray = np.minimum.accumulate(np.where(visible, at, len(text))[::-1])[::-1]
    return first
