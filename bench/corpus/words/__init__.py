r"""Words of any script: the one definition that tasks, baselines, metrics and overlap use.

A word is a run of letters, digits and combining marks. A combining mark belongs to its letter:
`\w+` cuts a Hindi word into 3.03 pieces. In a script that is written without spaces (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) each character with its marks is a word, and so is each
character of an unbroken run of over `LONGEST_RUN` (DNA, hashes). Any other character that is not
white space is a word of its own. The definition needs no dictionary, so that a score does not
depend on installed packages. `bench.corpus.words.models` has the words that objectives hide.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_RUN = 40
"""Longer runs of letters and digits are not taken for words."""
JOINERS = "\u200c\u200d"
"""Zero-width joiners, which stand inside words of Persian and of Indian scripts."""
UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\u17d7-\u17df\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fdf"
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u309f\u30a1-\u30fa\u30fc-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
"""Characters of scripts that are written without spaces, as ranges of a regular expression: Thai,
Lao, Burmese, Khmer, Tai, Han, Kana and Bopomofo."""

_LETTERS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_PLAIN = re.compile(r"\w+|[^\w\s]")
_LAST_MARK = 0x1FFFF  # beyond it there are only variation selectors
_SELECTORS = "\U000e0100-\U000e01ef"


class Word(NamedTuple):
    """A word in a text."""

    word: str
    start: int
    end: int


def word_spans(text: str) -> list[tuple[int, int]]:
    """The character ranges of the words and punctuation marks of a text, in order."""
    if text.isascii() and len(text) <= LONGEST_RUN:
        return [match.span() for match in _PLAIN.finditer(text)]
    return list(_spans(text))


def split_words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in order.

    Examples:
        >>> split_words("don't read 我们读书。")
        ['don', "'", 't', 'read', '我', '们', '读', '书', '。']
    """
    return [text[start:end] for start, end in word_spans(text)]


def plain_words(text: str) -> list[str]:
    """The words of a text in order, without punctuation marks."""
    return [word for word in split_words(text) if word[0] == "_" or word[0].isalnum()]


def letter_words(text: str) -> list[Word]:
    """The words that are letters, with the apostrophes inside them."""
    if text.isascii() or not (has_unspaced(text) or patterns().mark.search(text)):
        spans = [match.span() for match in _LETTERS.finditer(text)]
    else:
        spans = [span for span in word_spans(text) if text[span[0]].isalpha()]
    return [Word(text[start:end], start, end) for start, end in spans]


def has_unspaced(text: str) -> bool:
    """Whether a text has a character of a script that is written without spaces."""
    return not text.isascii() and patterns().unspaced.search(text) is not None


def _spans(text: str) -> Iterator[tuple[int, int]]:
    own = patterns()
    is_plain = text.isascii()
    for match in (_PLAIN if is_plain else own.run).finditer(text):
        start, end = match.span()
        if end - start > LONGEST_RUN:
            pieces = own.character
        elif not is_plain and own.unspaced.search(text, start, end):
            pieces = own.piece
        else:
            yield start, end
            continue
        yield from (piece.span() for piece in pieces.finditer(text, start, end))


class Patterns:
    """Regular expressions that know all combining marks of this version of Unicode."""

    def __init__(self) -> None:
        marks = f"{_ranges_of_marks()}{_SELECTORS}{JOINERS}"
        self.mark = re.compile(f"[{marks}]")
        self.unspaced = re.compile(f"[{UNSPACED}]")
        self.run = re.compile(rf"\w[\w{marks}]*|[^\w\s][{marks}]*")
        self.character = re.compile(f".[{marks}]*", re.DOTALL)
        self.piece = re.compile(f"[{UNSPACED}][{marks}]*|[^{UNSPACED}]+")


@functools.cache
def patterns() -> Patterns:
    """The regular expressions; building them takes a tenth of a second."""
    return Patterns()


def _ranges_of_marks() -> str:
    """The characters of the Unicode categories Mn, Mc and Me, as ranges."""
    codes = [
        code
        for code in range(min(_LAST_MARK, sys.maxunicode) + 1)
        if unicodedata.category(chr(code))[0] == "M"
    ]
    starts = [code for code in codes if unicodedata.category(chr(code - 1))[0] != "M"]
    ends = [code for code in codes if unicodedata.category(chr(code + 1))[0] != "M"]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))
