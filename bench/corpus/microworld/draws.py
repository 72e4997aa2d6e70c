"""The choices of the generated corpus: integers out of a hash, and nothing else.

No generator object, no float, no order of a set: a document is a pure function of a label and a
number, the same bytes on every platform. SHAKE-128 gives it all its draws in one call (2 us).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

from bench.corpus.microworld import lexicon

T = TypeVar("T")

KEY_BITS = 30
"""Width of a document's number; every kind of document has room for it in its fillers."""
FILL_BYTES = 40
"""What fillers have beyond the number: 320 bits; of 20,000 sentences of each kind the longest, at
scale 4, took 280."""
_STREAM_BYTES = 168


class Draws:
    """All choices of one document or question.

    `pick` and `happens` read the hash. `fill` reads the number first and then the hash, so that
    whoever reads a document's fillers reads its number back: no two documents are equal.
    """

    __slots__ = ("_byte", "_fill", "key_bits_left", "topic")

    def __init__(self, label: str, number: int) -> None:
        stream = hashlib.shake_128(label.encode()).digest(_STREAM_BYTES)
        self._byte = iter(stream[FILL_BYTES:]).__next__
        self._fill = int.from_bytes(stream[:FILL_BYTES], "little") << KEY_BITS | number
        self.key_bits_left = KEY_BITS
        """Bits of the number not written yet; negative where fillers were left over."""
        self.topic = self.pick(range(lexicon.TOPICS))

    def pick(self, options: Sequence[T]) -> T:
        """One of at most 256 options."""
        return options[self._byte() * len(options) >> 8]

    def happens(self, share: int) -> bool:
        """True in `share` of 256 cases."""
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
        """One of `least` to `most`.

        Where there is no choice nothing is read, so that what only larger scales choose leaves the
        first one's bytes as they are.
        """
        return least if least == most else self.pick(range(least, most + 1))

    def phrase(self) -> tuple[str, ...]:
        """`near the old gates`, singular or plural: a filler, a gap, an attractor."""
        return self.fill(_PHRASES[self.pick((0, 1))])

    def phrases(self, least: int, most: int) -> tuple[str, ...]:
        """Some of them, one after the other."""
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
    """Words, and what may be asked of them: (first word, number of words, answer)."""

    __slots__ = ("marks", "words")

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = list(words)
        self.marks: list[tuple[int, int, str]] = []

    def say(self, *words: str, answer: str | None) -> None:
        """Add words, and the answer to a question about them where there is one."""
        if answer is not None:
            self.marks.append((len(self.words), len(words), answer))
        self.words += words
