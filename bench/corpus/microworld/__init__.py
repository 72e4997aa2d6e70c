"""`micro`: the built-in corpus, generated, of any length, with known labels.

A first run needs no network and must show a true result within minutes. Two million tokens of
natural text are too few to separate objectives; two million tokens of this language are enough.
No document repeats and no example leaks, by construction. The filler words of a document encode its
scrambled number, so that no two of 2^30 documents are equal. The bag of words of a sentence decides
whether it belongs to the corpus, to the training data of the probes or to their test data. The
number of an auxiliary is ignored there, so that an example and its corrupted twin (two words
swapped, or the wrong `are`) are in the same split.

One parameter, `lexicon_scale`, makes the corpus larger and harder; `--size` chooses it:

    scale (size)                        1 (tiny)  2 (mini)  3 (small)  4 (base)
    nouns of each of five classes          8        16         24         32
    names that all three types bear       16        32         48         64
    agreement: nouns in between, most      2         3          4          5
    sense: clauses of a sentence, most     2         3          4          5
    sense: phrases of a gap, most          2         3          4          5
    sense_right: nested, of 256           48        96        144        192
    word_class: modifiers, most            2         3          4          5
    word_class: phrases of a gap, most     1         2          3          4
    entities: phrases before a type, most  0         1          2          3
    number of examples, times              1         2          3          4

The vocabulary size is 800 at every scale: at larger scales more words are cut into pieces, and the
unit that an objective hides matters more.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from bench.corpus.microworld.draws import KEY_BITS, Draws, Sentence
from bench.corpus.microworld.grammar import write
from bench.corpus.microworld.lexicon import LONGEST_SCALE, Lexicon
from bench.corpus.sources import Corpus
from bench.errors import BenchError
from bench.settings import sha256_json

GENERATORS = {1: 1, 2: 2, 3: 2, 4: 2}
"""Scale -> version of the generator. Raise it whenever the same parameters give other documents; it
is part of every fingerprint."""
MOST_WORDS = (1 << KEY_BITS) * 14
"""2^30 documents are different; the shortest has 14 words."""

SCALES = {"tiny": 1, "mini": 2, "small": 3, "base": 4}
"""Encoder size -> scale of the lexicon, for the corpus and for the examples of tasks."""

Split = Literal["train", "test"]
_SPLITS: dict[int, Split] = {0: "train", 1: "test"}
_LEVELLED = {"are": "is", "were": "was"}

lexicon_of = functools.cache(Lexicon)
"""The lexicon of a scale, built once."""


@dataclasses.dataclass(frozen=True)
class Micro(Corpus):
    """The generated corpus, of any length."""

    name: ClassVar[str] = "micro"
    summary: ClassVar[str] = "generated English-like documents with known labels; no network"

    vocab_size: ClassVar[int | None] = 800
    """1.14 tokens per word: whole words and tokens differ, and a tiny encoder still learns."""

    num_words: int = 1_000_000
    """Stop after the document that reaches this number of words (punctuation counts as words)."""
    seed: int = 0
    lexicon_scale: int = 1
    """1 to 4: sets the number of word types and the difficulty of the sentences."""

    def __post_init__(self) -> None:
        if not 1 <= self.lexicon_scale <= LONGEST_SCALE:
            raise BenchError(
                f"micro: lexicon_scale is {self.lexicon_scale}; it goes from 1 to {LONGEST_SCALE}"
            )
        if not 0 < self.num_words <= MOST_WORDS:
            raise BenchError(
                f"micro: num_words is {self.num_words:,}; it can be 1 to {MOST_WORDS:,}, beyond "
                "which documents would repeat; use your own text with --corpus FILE"
            )

    @classmethod
    def for_size(cls, size: str, num_words: int) -> Micro:
        """The corpus of `num_words` words, with the scale for an encoder size."""
        return cls(num_words=num_words, lexicon_scale=SCALES.get(size, 1))

    def fingerprint(self) -> str:
        """A sha256 of the parameters and the generator's version, which determine the text."""
        version = GENERATORS[self.lexicon_scale]
        return sha256_json({"micro": version, **dataclasses.asdict(self)})

    def documents(self) -> Iterator[str]:
        """One document after the other, of 14 words or more."""
        num_words = index = 0
        while num_words < self.num_words:
            sentences = document(self.seed, index, self.lexicon_scale)
            words = [word for sentence in sentences for word in sentence.words]
            num_words += len(words)
            index += 1
            yield " ".join(words)


def document(seed: int, index: int, scale: int = 1) -> list[Sentence]:
    """The sentences of document `index`, 0 <= index < 2^30; none belongs to a task's split."""
    number = mix(index ^ mix(zlib.crc32(str(seed).encode()), KEY_BITS), KEY_BITS)
    attempt = 0
    while True:
        draws = Draws(f"micro {GENERATORS[scale]} {seed} {index} {attempt}", number)
        sentences = write(draws, lexicon_of(scale))
        if all(held_out(sentence.words) is None for sentence in sentences):
            return sentences
        attempt += 1


def held_out(words: Sequence[str]) -> Split | None:
    """The split of task examples that a sentence belongs to; None: the corpus (3 of 4)."""
    return _SPLITS.get(mix(sum(map(_word_code, words))) & 7)


@functools.cache
def _word_code(word: str) -> int:
    return zlib.crc32(_LEVELLED.get(word, word).encode())


def mix(value: int, bits: int = 32) -> int:
    """Scramble the numbers below 2^bits; each step is a bijection, so the results are different."""
    mask, half = (1 << bits) - 1, bits // 2
    value &= mask
    value = ((value ^ value >> half) * 0x7FEB352D) & mask
    value = ((value ^ value >> half - 1) * 0x846CA68B) & mask
    return value ^ value >> half
