"""No document repeats, no example leaks, and every platform generates the same bytes."""

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus.microworld import (
    SCALES,
    Micro,
    document,
    examples,
    grammar,
    held_out,
    lexicon,
    lexicon_of,
    mix,
)
from bench.corpus.microworld.draws import FILL_BYTES, KEY_BITS, Draws
from bench.corpus.microworld.grammar import KINDS
from bench.corpus.trainer import train_tokenizer
from bench.errors import BenchError
from bench.probing.task import DataRoot
from bench.sizes import SIZES
from tests.helpers.registry import REGISTRY

CLASS_OF_VERB = {
    verb: name
    for verbs in (lexicon.DONE, lexicon.DOING)
    for name in lexicon.CLASSES
    for verb in verbs[name]
}
numbers = st.integers(0, 2**KEY_BITS - 1)
scales = st.integers(1, lexicon.LONGEST_SCALE)
each_scale = pytest.mark.parametrize("scale", [1, 2, 3, 4])


def text_of(seed, index, scale=1):
    return " ".join(word for part in document(seed, index, scale) for word in part.words)


@pytest.mark.parametrize(
    ("seed", "scale", "expected"),
    [
        (0, 1, "9569f2b057b0aa7e"),
        (1, 1, "567dc6a47c946eee"),
        (0, 2, "abbe4ff98675461f"),
        (0, 3, "b8e2b66a52aed435"),
        (0, 4, "f5654a40b397cb5b"),
    ],
)
def test_the_first_documents_are_pinned(seed, scale, expected):
    """A new value here means a new number in GENERATORS."""
    corpus = Micro(seed=seed, lexicon_scale=scale)
    text = "\n".join(itertools.islice(corpus.documents(), 2_000))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == expected


def test_a_longer_corpus_begins_with_the_shorter_one():
    short, long = (list(Micro(num_words=count).documents()) for count in (500, 2_000))
    assert long[: len(short)] == short
    assert 500 <= sum(len(text.split()) for text in short) < 550
    assert text_of(0, len(short)) == long[len(short)]


def test_no_document_occurs_twice():
    near = (text_of(0, index) for index in range(15_000))
    far = (text_of(0, 2**KEY_BITS - 1 - index) for index in range(5_000))
    counts = Counter(itertools.chain(near, far))
    assert len(counts) == 20_000


@given(st.sampled_from(sorted(KINDS)), numbers, numbers, st.integers(0, 2**20), scales)
def test_documents_of_different_numbers_differ(kind, one, other, label, scale):
    """Also when all other choices are the same."""
    words = lexicon_of(scale)
    texts = []
    for number in (one, other):
        draws = Draws(str(label), number)
        texts.append([part.words for part in KINDS[kind][0](draws, words)])
        assert draws.key_bits_left <= 0, "the fillers of the document cannot encode its number"
        assert draws.key_bits_left >= -8 * FILL_BYTES, (
            "the fillers used more bits than the hash has: the rest are zeros"
        )
    assert (texts[0] == texts[1]) == (one == other)


def test_scrambling_a_number_is_a_bijection():
    assert sorted(mix(value, 12) for value in range(2**12)) == list(range(2**12))


@given(numbers, st.integers(0, 3), st.integers(0, 40), scales)
def test_a_sentence_and_its_corrupted_twin_are_on_the_same_side(index, seed, place, scale):
    words = document(seed, index, scale)[0].words
    place %= len(words) - 1
    twin = [*words[:place], words[place + 1], words[place], *words[place + 2 :]]
    other_number = [{"is": "are", "was": "were"}.get(word, word) for word in words]
    assert held_out(words) is held_out(twin) is held_out(other_number) is None


def all_examples(count, scale):
    for split in ("train", "test"):
        for kind in ("sense_left", "sense_right", "word_class"):
            yield from (
                (split, " ".join(words))
                for words, _ in examples.word_examples(kind, split, count, scale)
            )
        yield from (
            (split, " ".join(words)) for words, _ in examples.entity_examples(split, count, scale)
        )
        yield from ((split, text) for text, _ in examples.swap_examples(split, count, scale))
    for good, bad, _ in examples.agreement_pairs(count, scale):
        yield from (("test", good), ("test", bad))
    for good, _, _ in examples.negation_pairs(count, scale):
        yield "test", good


@each_scale
def test_no_example_is_in_the_corpus_or_in_both_splits(scale):
    in_corpus = {
        " ".join(part.words) for index in range(1_500) for part in document(0, index, scale)
    }
    texts = {"train": set(), "test": set()}
    count = 96 // scale
    for split, text in all_examples(count, scale):
        assert text not in in_corpus
        assert held_out(text.split()) == split
        texts[split].add(text)
    assert not texts["train"] & texts["test"]
    assert len(texts["test"]) == 8 * count * scale, "all are different; `scale` times as many"


@each_scale
@pytest.mark.parametrize("kind", ["sense_left", "sense_right"])
def test_a_sentence_has_both_senses_and_the_evidence_on_one_side(kind, scale):
    clauses = Counter()
    for words, labels in examples.word_examples(kind, "test", 240 // scale, scale):
        (place,) = [i for i, label in enumerate(labels) if label]
        pair = next(p for p, nouns in lexicon.AMBIGUOUS.items() if words[place] in nouns)
        verbs = {i: CLASS_OF_VERB[word] for i, word in enumerate(words) if word in CLASS_OF_VERB}
        classes = Counter(verbs.values())
        assert set(pair) <= set(classes)
        assert set(classes.values()) == {2}, "one clause decides each class"
        clauses[len(classes)] += 1
        evidence = [i for i, name in verbs.items() if name == labels[place]]
        if kind == "sense_left":
            assert max(evidence) < place - 4
        else:
            assert min([*verbs]) > place + 4
            assert words[place + 1] in lexicon.PREPOSITIONS
    assert sorted(clauses) == list(range(2, scale + 2))


@each_scale
def test_a_sentence_has_both_word_classes_and_two_types_of_name(scale):
    rows = examples.word_examples("word_class", "test", 240 // scale, scale)
    forms = {*lexicon.EITHER, *map(lexicon.plural, lexicon.EITHER)}
    assert all(sum(word in forms for word in words) == 2 for words, _ in rows)
    assert {label for _, labels in rows for label in labels} == {None, "noun", "verb"}
    for words, labels in examples.entity_examples("test", 240 // scale, scale):
        types = [label[2:] for label in labels if label.startswith("B-")]
        assert len(set(types)) == len(types) == 2
        capital = [word[0].isupper() for word in words]
        assert capital == [label != "O" for label in labels]


@each_scale
def test_agreement_pairs_differ_in_one_form_and_half_of_the_attractors_match(scale):
    matches = Counter()
    pairs = examples.agreement_pairs(600 // scale, scale)
    for good, bad, bucket in pairs:
        is_same = [a == b for a, b in zip(good.split(), bad.split(), strict=True)]
        place = is_same.index(False)
        assert sum(is_same) == len(is_same) - 1
        forms = good.split()[place], bad.split()[place]
        assert sorted(forms) in (["are", "is"], ["was", "were"])
        before = good.split()[:place]
        nouns = [word for word in before if word.removesuffix("s").removesuffix("e") in STEMS]
        subject, *between = nouns[len(nouns) - int(bucket) - 1 :]
        assert len(between) == int(bucket)
        assert subject.endswith("s") == (forms[0] in ("are", "were"))
        matches.update((noun.endswith("s") == subject.endswith("s")) for noun in between)
    buckets = Counter(bucket for *_, bucket in pairs)
    assert sorted(buckets) == [str(count) for count in range(scale + 2)]
    assert max(buckets.values()) - min(buckets.values()) <= 1
    assert sum(buckets.values()) == 600 // scale * scale
    assert 0.44 < matches[True] / matches.total() < 0.56


STEMS = {place.removesuffix("e") for place in lexicon.PLACES}


def task_named(name):
    return REGISTRY.get("task", name)()


def test_data_grows_with_the_size_and_respects_the_limit():
    task = task_named("entities")
    tiny, mini = (task.load(DataRoot(size=size)) for size in ("tiny", "mini"))
    assert (len(tiny.train), len(tiny.test)) == task.size
    assert (len(mini.train), len(mini.test)) == tuple(2 * count for count in task.size)
    assert not set(map(" ".join, tiny.test["words"])) & set(map(" ".join, mini.test["words"]))
    few = task.load(DataRoot(limit=50))
    assert len(few.train) == len(few.test) == 50
    assert set(map(" ".join, few.test["words"])) < set(map(" ".join, tiny.test["words"]))


def test_the_fingerprint_depends_on_the_parameters():
    corpora = [Micro(), Micro(seed=1), Micro(num_words=5), Micro(lexicon_scale=2)]
    assert len({corpus.fingerprint() for corpus in corpora}) == 4
    assert Micro().fingerprint() == Micro(num_words=1_000_000).fingerprint()


def test_the_lexicon_grows_and_its_groups_are_disjoint():
    types = [
        len(set(" ".join(Micro(60_000, 0, scale).documents()).split())) for scale in (1, 2, 3, 4)
    ]
    assert 400 < types[0] < types[1] - 40 < types[2] - 80 < types[3] - 120
    largest = lexicon.Lexicon(4)
    groups = [
        *({*tables[0]} for tables in largest.nouns.values()),
        *map(set, lexicon.AMBIGUOUS.values()),
        *map(set, (lexicon.PLACES, lexicon.EITHER, *lexicon.ONLY.values(), largest.names)),
        *map(set, (lexicon.ADJECTIVES, lexicon.PREPOSITIONS, lexicon.NEUTRAL, CLASS_OF_VERB)),
    ]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert [len(group) for group in groups[:5]] == [32] * 5


def test_a_topic_prefers_some_nouns_and_has_all():
    table = lexicon.zipfian(("a", "b", "c", "d"), 1)
    assert Counter(table) == {"b": 122, "c": 62, "d": 41, "a": 31}


@pytest.mark.parametrize("wrong", [{"num_words": 0}, {"num_words": 2**40}, {"lexicon_scale": 5}])
def test_invalid_parameters_are_refused(wrong):
    with pytest.raises(BenchError, match="micro: "):
        Micro(**wrong)


def test_plurals():
    plurals = [lexicon.plural(word) for word in ("gate", "church", "play", "party", "dress")]
    assert plurals == ["gates", "churches", "plays", "parties", "dresses"]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scale"), SCALES.items())
def test_the_tokenizer_of_every_scale_has_the_auxiliaries_and_cuts_few_words(size, scale):
    """The number of hidden tokens must not reveal the form, and examples must fit the encoder."""
    corpus = Micro.for_size(size, 200_000)
    assert corpus.lexicon_scale == scale
    documents = list(corpus.documents())
    tokenizer = train_tokenizer(iter(documents), corpus.vocab_size)
    for word in itertools.chain(*grammar.FORMS):
        (encoded,) = tokenizer.encode([f"near {word}"])
        assert len(encoded.ids) - len(tokenizer.encode(["near"])[0].ids) == 1
    num_words = sum(len(text.split()) for text in documents)
    num_tokens = sum(len(encoded.ids) for encoded in tokenizer.encode(documents))
    assert 1.05 < num_tokens / num_words < 1.25
    longest = SIZES[size].encoder.max_length - 2
    texts = [text for _, text in all_examples(240 // scale, scale)]
    assert max(len(encoded.ids) for encoded in tokenizer.encode(texts)) <= longest


def test_examples_are_cached_and_damaged_files_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    rows = examples.word_examples("sense_left", "test", 20)
    (path,) = (tmp_path / "examples").iterdir()
    stored = json.loads(path.read_bytes())
    with monkeypatch.context() as patch:
        patch.delattr(examples, "_sentences")  # nothing is generated again
        assert examples.word_examples("sense_left", "test", 20) == rows
    assert examples.word_examples("sense_left", "train", 20) != rows
    stored["rows"][0][0][0] = "other"
    for damage in (json.dumps(stored), "[]", "{}", "", "[1"):
        path.write_text(damage)
        assert examples.word_examples("sense_left", "test", 20) == rows


def ending(text):
    """The mood that both descriptions give, by hand: a good word is good unless `not` precedes."""
    words, moods = text.split(), set()
    for before, word in itertools.pairwise(words):
        if word in lexicon.GOOD or word in lexicon.BAD:
            moods.add((word in lexicon.GOOD) != (before == "not"))
    assert len(moods) == 1
    return lexicon.REACTIONS[0 if moods == {True} else 1]


@each_scale
def test_negation_pairs_end_as_both_descriptions_say(scale):
    pairs = examples.negation_pairs(60, scale)
    assert len(set(pairs)) == 60 * scale
    moods = Counter()
    for good, bad, bucket in pairs:
        words, twin = good.split(), bad.split()
        assert words[:-2] + words[-1:] == twin[:-2] + twin[-1:]
        assert words[-2] in ending(good)
        assert twin[-2] not in ending(bad)
        assert words.count("not") == int(bucket)
        moods[bucket, words[-2] in lexicon.REACTIONS[0]] += 1
    assert set(moods.values()) == {10 * scale}, "either mood is right as often"


def test_no_document_has_the_wrong_ending():
    for index in range(4_000):
        text = " ".join(document(0, index, 1)[0].words)
        if text.endswith(tuple(f"we {word} ." for side in lexicon.REACTIONS for word in side)):
            assert text.split()[-2] in ending(text)
