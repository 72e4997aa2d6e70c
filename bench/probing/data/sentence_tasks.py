"""Examples made from sentences, with the cues of the words alone balanced away.

Each maker takes documents, as tuples of sentences, and returns rows in random order. The order and
the choices come from `Noise`, so the same text gives the same examples everywhere.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.corpus.words import has_unspaced, letter_words
from bench.errors import BenchError

if TYPE_CHECKING:
    import numpy as np

Document = tuple[str, ...]
"""Its sentences, in order."""
Row = tuple[Any, ...]
Maker = Callable[[Sequence[Document], str], list[Row]]
"""(documents, name of the part) to all rows that they give, in random order."""

MIN_EXAMPLES = {"train": 200, "test": 100}
"""With fewer test examples, a score's interval would be wider than ten points to either side."""
LONGEST, LONGEST_PAIR = 25, 40
"""Maximum words of a sentence, or of two together: about the length of the smallest encoders."""
LENGTH_CLASSES = 6
NUM_WORDS, MIN_WORDS, EACH_WORD = 20, 5, {"train": 15, "test": 8}
"""Number of classes of `word_maker`, at most and at least, and the minimum number of sentences
with each word in a part."""
NUM_HIDDEN, EACH_HIDDEN = 100, 5
"""Number of words that `hide_words` hides, and how often each at most."""
FUNCTION_WORDS = 30
"""Number of the most frequent words, which are never replaced or hidden; half of them are never a
class of `word_maker`."""


def swap_neighbours(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, label): every other sentence has two neighbouring words swapped, never its first."""
    rows: list[Row] = []
    for sentence, draw in _sentences(documents, part, "swapped"):
        places = [
            (a, b)
            for a, b in itertools.pairwise(letter_words(sentence)[1:])
            if not sentence[a.end : b.start].strip() and a.word.lower() != b.word.lower()
        ]
        if not places:
            continue
        if len(rows) % 2:
            a, b = places[int(draw * len(places))]
            between = sentence[a.end : b.start]
            swapped = sentence[: a.start] + b.word + between + a.word + sentence[b.end :]
            rows.append((swapped, "swapped"))
        else:
            rows.append((sentence, "kept"))
    return rows


def replace_one(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, label): every other sentence has a word replaced by one of similar frequency.

    The sentences of the replaced class pass their words on in a ring, ordered by frequency (to a
    factor of 1.4), so the class as a whole keeps its words.
    """
    counts = _word_counts(documents)
    common = {word for word, _ in counts.most_common(FUNCTION_WORDS)}
    candidates = []
    for sentence, draw in _sentences(documents, part, "replaced"):
        places = [
            place
            for place in letter_words(sentence)[1:]
            if place.word.lower() == place.word
            and place.word not in common
            and counts[place.word] > 1
        ]
        if places:
            candidates.append((sentence, places[int(draw * len(places))]))
    unchanged: list[Row] = [(sentence, "kept") for sentence, _ in candidates[::2]]
    ring = sorted(candidates[1::2], key=lambda pair: int(2 * math.log2(counts[pair[1].word])))
    replaced: list[Row] = []
    for (sentence, place), (_, other) in zip(ring, ring[1:] + ring[:1], strict=True):
        if other.word not in sentence:
            text = sentence[: place.start] + other.word + sentence[place.end :]
            replaced.append((text, "replaced"))
    return _alternate([unchanged, _shuffle(replaced, f"{part}.ring")])


def length_classes(documents: Sequence[Document]) -> list[int]:
    """The smallest number of words of each length class; the classes have equal sizes."""
    lengths = sorted(_length(s) for document in documents for s in document if _length(s) > 2)
    if not lengths:
        return []
    return sorted({lengths[len(lengths) * i // LENGTH_CLASSES] for i in range(LENGTH_CLASSES)})


def length_maker(edges: Sequence[int]) -> Maker:
    """(text, label): the number of words, in the classes that begin at `edges`."""

    def make(documents: Sequence[Document], part: str) -> list[Row]:
        if len(edges) < 3:
            raise BenchError(
                "the sentences of the corpus' held-out part are too similar in length: they give "
                f"{len(edges)} length classes, but 3 are needed; leave this task out"
            )
        classes: list[list[Row]] = [[] for _ in edges]
        for sentence, _ in _sentences(documents, part, "length", longest=60):
            at = sum(_length(sentence) >= edge for edge in edges) - 1
            if at >= 0:
                classes[at].append((sentence, f"{edges[at]} words or more"))
        return _alternate(classes)

    return make


def word_maker(parts: Mapping[str, Sequence[Document]]) -> Maker:
    """(text, label): which of some words, all of similar frequency, occurs in the sentence.

    The classes are the rarest twenty of the words that are frequent enough; where little text makes
    these too few, the most frequent twenty outside the function words.
    """
    counts = {part: _word_counts(documents) for part, documents in parts.items()}
    frequent = [
        word
        for word, _ in counts["train"].most_common()[FUNCTION_WORDS // 2 :]
        if all(counts[part][word] >= EACH_WORD[part] for part in parts)
    ]
    chosen = max(
        (_distinct_words(words, parts) for words in (frequent[-NUM_WORDS:], frequent[:NUM_WORDS])),
        key=len,
    )

    def make(documents: Sequence[Document], part: str) -> list[Row]:
        if len(chosen) < MIN_WORDS:
            raise too_few(len(chosen), "words that are frequent enough", MIN_WORDS)
        classes: dict[str, list[Row]] = {word: [] for word in sorted(chosen)}
        for sentence, word in _with_one_word(documents, part, chosen):
            classes[word].append((sentence, word))
        return _alternate(list(classes.values()))

    return make


def _distinct_words(words: Sequence[str], parts: Mapping[str, Sequence[Document]]) -> set[str]:
    """The words that remain after dropping, one by one, the word with the fewest own sentences.

    It stops where each word has enough sentences without another of the words, in both parts; with
    fewer words each needs more sentences.
    """
    chosen = set(words)
    while chosen:
        alone = {
            part: Counter(w for _, w in _with_one_word(parts[part], part, chosen)) for part in parts
        }
        need = {part: max(EACH_WORD[part], MIN_EXAMPLES[part] / len(chosen)) for part in parts}
        share = {w: min(alone[part][w] / need[part] for part in parts) for w in chosen}
        worst = min(sorted(chosen), key=share.__getitem__)
        if share[worst] >= 1:
            break
        chosen.remove(worst)
    return chosen


def _with_one_word(
    documents: Sequence[Document], part: str, chosen: Collection[str]
) -> list[tuple[str, str]]:
    """Sentences that contain exactly one of the chosen words, with that word."""
    pairs = []
    for sentence, _ in _sentences(documents, part, "occurring"):
        present = _words(sentence).intersection(chosen)
        if len(present) == 1:
            pairs.append((sentence, min(present)))
    return pairs


def swap_order(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, label): two consecutive sentences; every other pair is in the wrong order."""
    return [
        (f"{second} {first}", "swapped") if i % 2 else (f"{first} {second}", "kept")
        for i, (first, second, _) in enumerate(_following(documents, part, "order"))
    ]


def next_or_not(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, text_pair, label): a sentence and the next one, or the next one of another sentence.

    The other sentence is from another document.
    """
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
    return _alternate([true, false])


def hide_words(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, start, end): a hundred words, each hidden in at most five sentences."""
    counts = _word_counts(documents)
    common = {word for word, _ in counts.most_common(FUNCTION_WORDS)}
    known = [w for w in sorted(counts) if counts[w] >= EACH_HIDDEN and w not in common]
    usable = [word for word in known if len(word) > 2 or has_unspaced(word)]
    chosen = dict.fromkeys(_shuffle(usable, "hidden")[:NUM_HIDDEN], 0)
    if len(chosen) < NUM_HIDDEN:
        raise too_few(len(chosen), "words that are frequent enough", NUM_HIDDEN)
    rows: list[Row] = []
    for sentence, draw in _sentences(documents, part, "hiding"):
        places = [
            place
            for place in letter_words(sentence)[1:]
            if chosen.get(place.word, EACH_HIDDEN) < EACH_HIDDEN
        ]
        if places:
            place = places[int(draw * len(places))]
            chosen[place.word] += 1
            rows.append((sentence, place.start, place.end))
    return rows


def hide_pairs(documents: Sequence[Document], part: str) -> list[Row]:
    """(text, start, end, bucket): two neighbouring words are hidden, neither of them the first.

    The bucket is `capitals` where both begin with a capital letter, else `other`.
    """
    rows: list[Row] = []
    for sentence, draw in _sentences(documents, part, "pairs"):
        places = [
            (a, b)
            for a, b in itertools.pairwise(letter_words(sentence)[1:])
            if sentence[a.end : b.start].isspace()
        ]
        if places:
            a, b = places[int(draw * len(places))]
            is_name = a.word[:1].isupper() and b.word[:1].isupper()
            rows.append((sentence, a.start, b.end, "capitals" if is_name else "other"))
    return rows


def whole_sentences(documents: Sequence[Document], part: str) -> list[Row]:
    """(text,): sentences as they are."""
    return [(sentence,) for sentence, _ in _sentences(documents, part, "whole")]


def _sentences(
    documents: Sequence[Document], part: str, stream: str, longest: int = LONGEST
) -> list[tuple[str, float]]:
    """Distinct sentences of at least five words, in random order, each with a draw from [0, 1)."""
    sentences = _usable(documents, longest)
    draws = _draws(f"{part}.{stream}", len(sentences))
    return [
        (sentence, float(draws[i]))
        for i, sentence in enumerate(_shuffle(sentences, f"{part}.{stream}"))
    ]


def _usable(documents: Sequence[Document], longest: int = LONGEST) -> list[str]:
    sentences = itertools.chain.from_iterable(documents)
    return list(dict.fromkeys(one for one in sentences if 5 <= _length(one) <= longest))


def _following(documents: Sequence[Document], part: str, stream: str) -> list[tuple[str, str, int]]:
    """Pairs of consecutive sentences, none used twice, with their document; in random order."""
    pairs = [
        (first, second, i)
        for i, document in enumerate(documents)
        for first, second in zip(document[::2], document[1::2], strict=False)
        if _length(first) > 2 and _length(second) > 2
        if _length(first) + _length(second) <= LONGEST_PAIR and first != second
    ]
    return _shuffle(pairs, f"{part}.{stream}")


@functools.lru_cache(maxsize=1 << 14)
def _words(sentence: str) -> frozenset[str]:
    return frozenset(place.word.lower() for place in letter_words(sentence))


@functools.lru_cache(maxsize=1 << 16)
def _length(sentence: str) -> int:
    return len(letter_words(sentence))


def _word_counts(documents: Sequence[Document]) -> Counter[str]:
    """The number of usable sentences that contain each word.

    Sorted, because equal counts keep the order of counting, and the order of a set of texts changes
    from process to process.
    """
    return Counter(word for sentence in _usable(documents) for word in sorted(_words(sentence)))


def _alternate(classes: Sequence[list[Row]]) -> list[Row]:
    """Equally many rows of each class, in turn."""
    return [row for turn in zip(*classes, strict=False) for row in turn]


def _shuffle(items: list[Any], stream: str) -> list[Any]:
    order = _draws(f"order.{stream}", len(items)).argsort(kind="stable")
    return [items[i] for i in order]


def _draws(stream: str, count: int) -> np.ndarray:
    import torch

    from bench.pretraining.noise import Noise
    from bench.probing.sampling import uniform

    return uniform(Noise(0, 0, torch.arange(1)), f"heldout.{stream}", count)


def too_few(count: int, kind: str, needed: int) -> BenchError:
    """The error of a held-out part that does not give enough."""
    return BenchError(
        f"the corpus' held-out part gives {count} {kind}, but {needed} are needed; take a larger "
        "corpus or one of longer documents, or leave this task out"
    )
