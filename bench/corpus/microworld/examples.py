"""Labelled examples in the language of the generated corpus: the data of the `micro` tasks.

The sentence of an example is not in the corpus, and is in one split only. The label of its draws
differs from that of every document. `count` is the number at scale 1 everywhere; there are `scale`
times as many examples, so that the sampling error is smallest for the best encoders (3,200 examples
have half the sampling error of 800).
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence

from bench.corpus.microworld import GENERATORS, Split, held_out, lexicon_of
from bench.corpus.microworld.cache import disk_cache
from bench.corpus.microworld.draws import KEY_BITS, Draws, Sentence
from bench.corpus.microworld.grammar import agreement, entities, word_class, write
from bench.corpus.microworld.lexicon import CLOSED_CLASS, REACTIONS
from bench.corpus.microworld.senses import review, sense_left, sense_right

TaggedWords = tuple[list[str], list[str | None]]
"""Words, and one label per word; None for a word that is not part of the task."""

_WRITERS = {"sense_left": sense_left, "sense_right": sense_right, "word_class": word_class}


@disk_cache
def word_examples(kind: str, split: Split, count: int, scale: int = 1) -> list[TaggedWords]:
    """Sentences in which one word has a label.

    Args:
        kind: `sense_left`, `sense_right` (animal, tool or food) or `word_class` (noun or verb).
        split: Split of the examples.
        count: Number of examples at scale 1.
        scale: Scale of the lexicon.
    """
    rows: list[TaggedWords] = []
    for draws, sentence in _sentences(kind, split, count, scale, _WRITERS[kind]):
        labels: list[str | None] = [None] * len(sentence.words)
        position, _, label = draws.pick(sentence.spans)
        labels[position] = label
        rows.append((sentence.words, labels))
    return rows


@disk_cache
def entity_examples(split: Split, count: int, scale: int = 1) -> list[TaggedWords]:
    """Sentences in which every word has a B-, I- or O tag of PER, LOC and ORG."""
    rows: list[TaggedWords] = []
    for _, sentence in _sentences("entities", split, count, scale, entities):
        labels: list[str | None] = ["O"] * len(sentence.words)
        for start, length, entity_type in sentence.spans:
            tags = [f"B-{entity_type}", *[f"I-{entity_type}"] * (length - 1)]
            labels[start : start + length] = tags
        rows.append((sentence.words, labels))
    return rows


@disk_cache
def swap_examples(split: Split, count: int, scale: int = 1) -> list[tuple[str, str]]:
    """(sentence, "intact" or "swapped"), alternately.

    In a swapped sentence two neighbouring words have changed places. Each of the three new word
    pairs has an open-class word that is swapped in this split only. So word pairs learnt from the
    training split do not help in the test split (otherwise they would solve 82 %); knowing which
    words are similar does.
    """
    rows: list[tuple[str, str]] = []
    for draws in _draws("swapped_words", split, scale):
        if len(rows) == count * scale:
            break
        words = write(draws, lexicon_of(scale))[0].words
        if held_out(words) != split:
            continue
        positions = [i for i in range(1, len(words) - 2) if _may_swap(words[i - 1 : i + 3], split)]
        if not positions:
            continue
        position = draws.pick(positions)
        label = ("intact", "swapped")[len(rows) % 2]
        if label == "swapped":
            words[position : position + 2] = words[position + 1], words[position]
        rows.append((" ".join(words), label))
    return rows


@disk_cache
def agreement_pairs(count: int, scale: int = 1) -> list[tuple[str, str, str]]:
    """(correct sentence, wrong sentence, number of attractors), all in the test split.

    The number of attractors is 0, 1, 2 (up to scale + 1) in turn. The two sentences differ in one
    word, `is`/`are` or `was`/`were`. An attractor matches the subject in half of the cases, so that
    agreement with the nearest noun scores 0.5.
    """
    groups = []
    for attractors in range(most := scale + 2):
        writer = functools.partial(agreement, attractors=attractors)
        share = len(range(attractors, count, most))
        rows = []
        for _, sentence in _sentences(f"agreement {attractors}", "test", share, scale, writer):
            position, _, wrong_form = sentence.spans[0]
            twin = [*sentence.words[:position], wrong_form, *sentence.words[position + 1 :]]
            rows.append((" ".join(sentence.words), " ".join(twin), str(attractors)))
        groups.append(rows)
    return [row for turn in itertools.zip_longest(*groups) for row in turn if row is not None]


@disk_cache
def negation_pairs(count: int, scale: int = 1) -> list[tuple[str, str, str]]:
    """(consistent sentence, inconsistent sentence, number of negations), all in the test split.

    The number of negations is 0, 1, 2 in turn, and either mood is right as often. The two sentences
    differ in the reaction at the end, which agrees with both descriptions or with none; no document
    has the wrong one.
    """
    kinds = [(number, mood) for mood in (0, 1) for number in range(3)]
    needed = {kind: len(range(i, count * scale, len(kinds))) for i, kind in enumerate(kinds)}
    rows: dict[tuple[int, int], list[tuple[str, str, str]]] = {kind: [] for kind in kinds}
    seen: set[str] = set()
    for draws in _draws("negation", "test", scale):
        if all(len(rows[kind]) == needed[kind] for kind in kinds):
            break
        words = review(draws, lexicon_of(scale))[0].words
        text, reaction = " ".join(words), words[-2]
        mood = 0 if reaction in REACTIONS[0] else 1
        kind = words.count("not"), mood
        if held_out(words) != "test" or text in seen or len(rows[kind]) == needed[kind]:
            continue
        seen.add(text)
        wrong = REACTIONS[1 - mood][REACTIONS[mood].index(reaction)]
        rows[kind].append((text, " ".join([*words[:-2], wrong, words[-1]]), str(kind[0])))
    turns = itertools.zip_longest(*(rows[kind] for kind in kinds))
    return [row for turn in turns for row in turn if row is not None]


def _draws(kind: str, split: Split, scale: int) -> Iterator[Draws]:
    for number in itertools.count():
        label = f"micro {GENERATORS[scale]} {kind} {split} {number}"
        yield Draws(label, zlib.crc32(label.encode()) % 2**KEY_BITS)


def _sentences(
    kind: str, split: Split, count: int, scale: int, writer: Callable[..., list[Sentence]]
) -> Iterator[tuple[Draws, Sentence]]:
    """Different sentences of a split, each with the draws that made it."""
    seen: set[str] = set()
    for draws in _draws(kind, split, scale):
        if len(seen) == count * scale:
            return
        sentence = writer(draws, lexicon_of(scale), is_example=True)[0]
        text = " ".join(sentence.words)
        if held_out(sentence.words) == split and text not in seen:
            seen.add(text)
            yield draws, sentence


def _may_swap(window: Sequence[str], split: Split) -> bool:
    """Whether the middle two of four words may be swapped: no punctuation, at most one name."""
    before, one, other, after = window
    if not (one.isalpha() and other.isalpha() and (one.islower() or other.islower())):
        return False
    pairs = ((before, other), (other, one), (one, after))
    return all(split in map(_swap_split, pair) for pair in pairs)


@functools.cache
def _swap_split(word: str) -> Split | None:
    """The split in which an open-class word may be swapped; None for a closed-class word."""
    if word in CLOSED_CLASS:
        return None
    return "test" if zlib.crc32(word.encode()) >> 8 & 1 else "train"
