"""The random choices of the generated corpus, which are integers from a hash.

There is no generator object, no float and no iteration over a set: a document is a pure function of
a label and a number, and has the same bytes on every platform. One call of SHAKE-128 gives all
draws of a document (2 us).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

from bench.corpus.microworld import lexicon

T = TypeVar("T")

KEY_BITS = 30
"""Bits of a document's number; the filler words of every kind of document can encode it."""
FILL_BYTES = 40
"""Bytes for filler words beyond the number: 320 bits. The longest of 20,000 sentences of each kind,
at scale 4, used 280 bits."""
_STREAM_BYTES = 168


class Draws:
    """All choices of one document or example.

    `pick` and `happens` read the hash. `fill` reads the number first and then the hash. So the
    filler words of a document encode its number, and no two documents are equal.

    Args:
        label: Text that is hashed.
        number: The document's number, below 2^KEY_BITS.
    """

    __slots__ = ("_byte", "_fill", "key_bits_left", "topic")

    def __init__(self, label: str, number: int) -> None:
        stream = hashlib.shake_128(label.encode()).digest(_STREAM_BYTES)
        self._byte = iter(stream[FILL_BYTES:]).__next__
        self._fill = int.from_bytes(stream[:FILL_BYTES], "little") << KEY_BITS | number
        self.key_bits_left = KEY_BITS
        """Bits of the number that are not encoded yet; negative after further fillers."""
        self.topic = self.pick(range(lexicon.TOPICS))

    def pick(self, options: Sequence[T]) -> T:
        """One of at most 256 options."""
        return options[self._byte() * len(options) >> 8]

    def happens(self, share: int) -> bool:
        """True with probability `share` / 256."""
        return self._byte() < share

    def fill(self, options: Sequence[T]) -> T:
        """One of 2^k options, by the next k bits."""
        size = len(options)
        bits = size.bit_length() - 1
        choice = options[self._fill & size - 1]
        self._fill >>= bits
        self.key_bits_left -= bits
        return choice

    def between(self, least: int, most: int) -> int:
        """An integer from `least` to `most`.

        If there is only one, nothing is read from the hash. So choices that only larger scales
        have do not change the bytes of scale 1.
        """
        return least if least == most else self.pick(range(least, most + 1))

    def phrase(self) -> tuple[str, ...]:
        """`near the old gates`, singular or plural: used as a filler, a gap or an attractor."""
        return self.fill(_PHRASES[self.pick((0, 1))])

    def phrases(self, least: int, most: int) -> tuple[str, ...]:
        """`least` to `most` phrases, one after the other."""
        return tuple(chain(*(self.phrase() for _ in range(self.between(least, most)))))


_PHRASES = tuple(
    tuple(
        (preposition, "the", adjective, place)
        for preposition in lexicon.PREPOSITIONS
        for adjective in lexicon.ADJECTIVES
        for place in places
    )
    for places in (lexicon.PLACES, tuple(map(lexicon.plural, lexicon.PLACES)))
)


class Sentence:
    """Words, and the labelled spans among them."""

    __slots__ = ("spans", "words")

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = list(words)
        self.spans: list[tuple[int, int, str]] = []
        """(index of the first word, number of words, label)"""

    def add(self, *words: str, label: str | None) -> None:
        """Append words; a label makes them a labelled span."""
        if label is not None:
            self.spans.append((len(self.words), len(words), label))
        self.words += words
