"""Questions about the generated corpus, with their answers: the data of the `micro` tasks.

A question's sentence is none of the corpus's and in one split only. Its draws are told apart from
every document's by their label. `count` is for scale 1 everywhere: there are `scale` times as many,
so that the sampling error of the best encoders is the smallest (at 3,200 of 800, half of it).
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence

from bench.corpus.microworld import GENERATORS, Split, held_out, lexicon_of
from bench.corpus.microworld.cache import kept
from bench.corpus.microworld.draws import KEY_BITS, Draws, Sentence
from bench.corpus.microworld.grammar import agreement, entities, word_class, write
from bench.corpus.microworld.lexicon import CLOSED_CLASS
from bench.corpus.microworld.senses import sense_left, sense_right

Tagged = tuple[list[str], list[str | None]]
"""Words, and for each its label, or None where it is not asked."""

_ASKING = {"sense_left": sense_left, "sense_right": sense_right, "word_class": word_class}


@kept
def one_word(kind: str, split: Split, count: int, scale: int = 1) -> list[Tagged]:
    """Sentences that ask about one word.

    Args:
        kind: `sense_left`, `sense_right` (animal, tool or food) or `word_class` (noun or verb).
        split: Whose questions.
        count: How many at scale 1.
        scale: Of the corpus.
    """
    rows: list[Tagged] = []
    for draws, said in _sentences(kind, split, count, scale, _ASKING[kind]):
        labels: list[str | None] = [None] * len(said.words)
        place, _, answer = draws.pick(said.marks)
        labels[place] = answer
        rows.append((said.words, labels))
    return rows


@kept
def names(split: Split, count: int, scale: int = 1) -> list[Tagged]:
    """Sentences whose every word has a B-, I- or O tag: PER, LOC and ORG."""
    rows: list[Tagged] = []
    for _, said in _sentences("entities", split, count, scale, entities):
        labels: list[str | None] = ["O"] * len(said.words)
        for start, length, answer in said.marks:
            tags = [f"B-{answer}", *[f"I-{answer}"] * (length - 1)]
            labels[start : start + length] = tags
        rows.append((said.words, labels))
    return rows


@kept
def swapped(split: Split, count: int, scale: int = 1) -> list[tuple[str, str]]:
    """(sentence, "intact" or "swapped"), alternately; two neighbouring words changed places.

    Each of the three new word pairs has an open-class word that is swapped in this split only. So
    pairs of words learnt from train say nothing about test (they would solve it: 82 %), and
    knowing which words are alike is what helps.
    """
    rows: list[tuple[str, str]] = []
    for draws in _draws("swapped_words", split, scale):
        if len(rows) == count * scale:
            break
        words = write(draws, lexicon_of(scale))[0].words
        if held_out(words) != split:
            continue
        places = [i for i in range(1, len(words) - 2) if _may_swap(words[i - 1 : i + 3], split)]
        if not places:
            continue
        place = draws.pick(places)
        label = ("intact", "swapped")[len(rows) % 2]
        if label == "swapped":
            words[place : place + 2] = words[place + 1], words[place]
        rows.append((" ".join(words), label))
    return rows


@kept
def agreement_pairs(count: int, scale: int = 1) -> list[tuple[str, str, str]]:
    """(right, wrong, number of attractors): 0, 1, 2 (to scale + 1) in turn; of the test split.

    The two differ in one word, `is`/`are` or `was`/`were`. An attractor matches the subject in
    half of the cases, so that following the nearest noun scores a half.
    """
    groups = []
    for attractors in range(most := scale + 2):
        ask = functools.partial(agreement, attractors=attractors)
        share = len(range(attractors, count, most))
        rows = []
        for _, said in _sentences(f"agreement {attractors}", "test", share, scale, ask):
            place, _, wrong = said.marks[0]
            twin = [*said.words[:place], wrong, *said.words[place + 1 :]]
            rows.append((" ".join(said.words), " ".join(twin), str(attractors)))
        groups.append(rows)
    return [row for turn in itertools.zip_longest(*groups) for row in turn if row is not None]


def _draws(kind: str, split: Split, scale: int) -> Iterator[Draws]:
    for number in itertools.count():
        label = f"micro {GENERATORS[scale]} {kind} {split} {number}"
        yield Draws(label, zlib.crc32(label.encode()) % 2**KEY_BITS)


def _sentences(
    kind: str, split: Split, count: int, scale: int, ask: Callable[..., list[Sentence]]
) -> Iterator[tuple[Draws, Sentence]]:
    """Sentences of a split, no two alike, each with the draws that made it."""
    seen: set[str] = set()
    for draws in _draws(kind, split, scale):
        if len(seen) == count * scale:
            return
        said = ask(draws, lexicon_of(scale), is_question=True)[0]
        text = " ".join(said.words)
        if held_out(said.words) == split and text not in seen:
            seen.add(text)
            yield draws, said


def _may_swap(around: Sequence[str], split: Split) -> bool:
    """Whether the middle two of four words may change places: no punctuation, no two names."""
    before, one, other, after = around
    if not (one.isalpha() and other.isalpha() and (one.islower() or other.islower())):
        return False
    pairs = ((before, other), (other, one), (one, after))
    return all(split in map(_swapped_in, pair) for pair in pairs)


@functools.cache
def _swapped_in(word: str) -> Split | None:
    """The split in which an open-class word is swapped."""
    if word in CLOSED_CLASS:
        return None
    return "test" if zlib.crc32(word.encode()) >> 8 & 1 else "train"
