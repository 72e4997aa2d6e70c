"""How sentences become questions about them, with what the words alone would tell balanced away.

Each maker takes documents, as lists of sentences, and gives rows in random order; the order and
the choices come from counters, so that the same text gives the same questions everywhere.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    import numpy as np

Document = tuple[str, ...]
"""Its sentences, in order."""
Row = tuple[Any, ...]
Maker = Callable[[Sequence[Document], str], list[Row]]
"""(documents, name of the part) to as many rows as they give, in random order."""

MIN_EXAMPLES = {"train": 200, "test": 100}
"""With fewer to test on, the interval of a score would be wider than ten points to either side."""
LONGEST, LONGEST_PAIR = 25, 40
"""Words of a sentence, or of two, that is asked about: the smallest encoders read about as many."""
LENGTH_CLASSES = 6
NUM_WORDS, MIN_WORDS, EACH_WORD = 20, 5, {"train": 15, "test": 8}
"""Classes of `word_occurring`, and how many sentences of a part must hold each word."""
NUM_HIDDEN, EACH_HIDDEN = 100, 5
"""Words that `hidden_words` hides, and how often each."""
FUNCTION_WORDS = 30
"""So many of the most frequent words are neither replaced nor hidden; half as many, not asked."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def neighbours_swapped(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, label): every other sentence has two neighbouring words swapped, not the first one."""
    rows: list[Row] = []
    for sentence, draw in _sentences(documents, part, "swapped"):
        words = list(_WORD.finditer(sentence))
        places = [
            (a, b)
            for a, b in itertools.pairwise(words[1:])
            if sentence[a.end() : b.start()].isspace() and a[0].lower() != b[0].lower()
        ]
        if not places:
            continue
        if len(rows) % 2:
            a, b = places[int(draw * len(places))]
            between = sentence[a.end() : b.start()]
            swapped = sentence[: a.start()] + b[0] + between + a[0] + sentence[b.end() :]
            rows.append((swapped, "swapped"))
        else:
            rows.append((sentence, "kept"))
    return rows


def one_replaced(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, label): every other sentence has a word replaced by one of similar frequency.

    The sentences of the replaced class pass their words on in a ring, ordered by how frequent they
    are (to a factor of 1.4), so that the class as a whole has the words it had.
    """
    counts = _word_counts(documents)
    common = {word for word, _ in counts.most_common(FUNCTION_WORDS)}
    asked = []
    for sentence, draw in _sentences(documents, part, "replaced"):
        places = [
            place
            for place in list(_WORD.finditer(sentence))[1:]
            if place[0].islower() and place[0] not in common and counts[place[0]] > 1
        ]
        if places:
            asked.append((sentence, places[int(draw * len(places))]))
    kept: list[Row] = [(sentence, "kept") for sentence, _ in asked[::2]]
    ring = sorted(asked[1::2], key=lambda pair: int(2 * math.log2(counts[pair[1][0]])))
    replaced: list[Row] = []
    for (sentence, place), (_, other) in zip(ring, ring[1:] + ring[:1], strict=True):
        if other[0] not in sentence:
            text = sentence[: place.start()] + other[0] + sentence[place.end() :]
            replaced.append((text, "replaced"))
    return _alternating([kept, _shuffled(replaced, f"{part}.ring")])


def length_classes(documents: Sequence[Document]) -> list[int]:
    """The number of words with which each class of length begins: as many sentences in each."""
    lengths = sorted(_length(s) for document in documents for s in document if _length(s) > 2)
    if not lengths:
        return []
    return sorted({lengths[len(lengths) * i // LENGTH_CLASSES] for i in range(LENGTH_CLASSES)})


def lengths_of(edges: Sequence[int]) -> Maker:
    """(text, label): how many words, in the classes that begin at `edges`."""

    def make(documents: Sequence[Document], part: str) -> list[Row]:
        if len(edges) < 3:
            raise BenchError("the sentences of the corpus' held-out part are too alike in length")
        classes: list[list[Row]] = [[] for _ in edges]
        for sentence, _ in _sentences(documents, part, "length", longest=60):
            at = sum(_length(sentence) >= edge for edge in edges) - 1
            if at >= 0:
                classes[at].append((sentence, f"{edges[at]} words or more"))
        return _alternating(classes)

    return make


def word_occurring(found: Mapping[str, Sequence[Document]]) -> Maker:
    """(text, label): which of some words, all about as frequent, occurs in the sentence.

    The rarest twenty that are frequent enough, or where little text makes these too few, the most
    frequent twenty that are no function words.
    """
    counts = {part: _word_counts(documents) for part, documents in found.items()}
    enough = [
        word
        for word, _ in counts["train"].most_common()[FUNCTION_WORDS // 2 :]
        if all(counts[part][word] >= EACH_WORD[part] for part in found)
    ]
    asked = max(
        (_kept_apart(words, found) for words in (enough[-NUM_WORDS:], enough[:NUM_WORDS])), key=len
    )

    def make(documents: Sequence[Document], part: str) -> list[Row]:
        if len(asked) < MIN_WORDS:
            raise too_few(len(asked), "words that are frequent enough", MIN_WORDS)
        classes: dict[str, list[Row]] = {word: [] for word in sorted(asked)}
        for sentence, word in _held(documents, part, asked):
            classes[word].append((sentence, word))
        return _alternating(list(classes.values()))

    return make


def _kept_apart(words: Sequence[str], found: Mapping[str, Sequence[Document]]) -> set[str]:
    """The words left when, one after the other, the one with fewest sentences to itself is dropped.

    Until each has enough of them in both parts; fewer words need more sentences each.
    """
    asked = set(words)
    while asked:
        alone = {part: Counter(w for _, w in _held(found[part], part, asked)) for part in found}
        need = {part: max(EACH_WORD[part], MIN_EXAMPLES[part] / len(asked)) for part in found}
        share = {w: min(alone[part][w] / need[part] for part in found) for w in asked}
        worst = min(sorted(asked), key=share.__getitem__)
        if share[worst] >= 1:
            break
        asked.remove(worst)
    return asked


def _held(
    documents: Sequence[Document], part: str, asked: Collection[str]
) -> list[tuple[str, str]]:
    """Sentences that hold exactly one of the words asked for, with that word."""
    found = []
    for sentence, _ in _sentences(documents, part, "occurring"):
        held = _words(sentence).intersection(asked)
        if len(held) == 1:
            found.append((sentence, min(held)))
    return found


def order_swapped(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, label): two sentences that follow each other, every other time the wrong way round."""
    return [
        (f"{second} {first}", "swapped") if i % 2 else (f"{first} {second}", "kept")
        for i, (first, second, _) in enumerate(_following(documents, part, "order"))
    ]


def next_or_not(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, text_pair, label): what follows, or what follows another document's sentence."""
    pairs = _following(documents, part, "next")
    true: list[Row] = [(first, second, "next") for first, second, _ in pairs[::2]]
    others = pairs[1::2]
    false: list[Row] = [
        (first, second, "other")
        for (first, _, here), (_, second, there) in zip(
            others, others[1:] + others[:1], strict=True
        )
        if here != there
    ]
    return _alternating([true, false])


def hidden_words(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, start, end): a hundred words, each hidden in up to five sentences."""
    counts = _word_counts(documents)
    common = {word for word, _ in counts.most_common(FUNCTION_WORDS)}
    known = [w for w in sorted(counts) if counts[w] >= EACH_HIDDEN and w not in common]
    chosen = dict.fromkeys(_shuffled([w for w in known if len(w) > 2], "hidden")[:NUM_HIDDEN], 0)
    if len(chosen) < NUM_HIDDEN:
        raise too_few(len(chosen), "words that are frequent enough", NUM_HIDDEN)
    rows: list[Row] = []
    for sentence, draw in _sentences(documents, part, "hiding"):
        places = [
            place
            for place in list(_WORD.finditer(sentence))[1:]
            if chosen.get(place[0], EACH_HIDDEN) < EACH_HIDDEN
        ]
        if places:
            place = places[int(draw * len(places))]
            chosen[place[0]] += 1
            rows.append((sentence, place.start(), place.end()))
    return rows


def _sentences(
    documents: Sequence[Document], part: str, stream: str, longest: int = LONGEST
) -> list[tuple[str, float]]:
    """Different sentences of five words at least, in random order, each with a draw from [0, 1)."""
    found = _usable(documents, longest)
    draws = _draws(f"{part}.{stream}", len(found))
    return [
        (sentence, float(draws[i]))
        for i, sentence in enumerate(_shuffled(found, f"{part}.{stream}"))
    ]


def _usable(documents: Sequence[Document], longest: int = LONGEST) -> list[str]:
    sentences = itertools.chain.from_iterable(documents)
    return list(dict.fromkeys(one for one in sentences if 5 <= _length(one) <= longest))


def _following(documents: Sequence[Document], part: str, stream: str) -> list[tuple[str, str, int]]:
    """Sentences that follow each other, none twice, with their document; in random order."""
    found = [
        (first, second, i)
        for i, document in enumerate(documents)
        for first, second in zip(document[::2], document[1::2], strict=False)
        if _length(first) > 2 and _length(second) > 2
        if _length(first) + _length(second) <= LONGEST_PAIR and first != second
    ]
    return _shuffled(found, f"{part}.{stream}")


@functools.lru_cache(maxsize=1 << 14)
def _words(sentence: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(sentence))


@functools.lru_cache(maxsize=1 << 16)
def _length(sentence: str) -> int:
    return len(_WORD.findall(sentence))


def _word_counts(documents: Sequence[Document]) -> Counter[str]:
    """How many of the sentences that are asked about hold each word."""
    return Counter(word for sentence in _usable(documents) for word in _words(sentence))


def _alternating(classes: Sequence[list[Row]]) -> list[Row]:
    """As many rows of each class, in turn."""
    return [row for turn in zip(*classes, strict=False) for row in turn]


def _shuffled(items: list[Any], stream: str) -> list[Any]:
    order = _draws(f"order.{stream}", len(items)).argsort(kind="stable")
    return [items[i] for i in order]


def _draws(stream: str, count: int) -> np.ndarray:
    import torch

    from bench.pretraining.noise import Noise
    from bench.probing.probes import uniform

    return uniform(Noise(0, 0, torch.arange(1)), f"heldout.{stream}", count)


def too_few(got: int, what: str, wanted: int) -> BenchError:
    """The held-out part does not give enough."""
    return BenchError(
        f"the corpus' held-out part gives {got} {what}, {wanted} are needed; take a larger corpus, "
        "one of longer documents, or leave this question out"
    )
