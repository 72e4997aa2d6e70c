"""The generated corpus repeats nothing, leaks nothing, and is the same everywhere."""

import hashlib
import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench._layout import import_part
from bench.corpus.microworld import Micro, document, held_out, lexicon, lexicon_of, mix, questions
from bench.corpus.microworld.draws import KEY_BITS, Draws
from bench.corpus.microworld.grammar import KINDS
from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.task import DataRoot

CLASS_OF_VERB = {
    verb: name
    for verbs in (lexicon.DONE, lexicon.DOING)
    for name in lexicon.CLASSES
    for verb in verbs[name]
}
numbers = st.integers(0, 2**KEY_BITS - 1)


def text_of(seed, index, scale=1):
    return " ".join(word for part in document(seed, index, scale) for word in part.words)


def digest(documents):
    return hashlib.sha256("\n".join(documents).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "scale", "expected"),
    [(0, 1, "4c492d4d68938123"), (1, 1, "31ac98fca0eb58b3"), (0, 4, "eaf15fb14753270a")],
)
def test_the_first_documents_are_pinned(seed, scale, expected):
    """A new value here means a new GENERATOR."""
    corpus = Micro(num_words=10_000, seed=seed, lexicon_scale=scale)
    assert digest(corpus.documents()) == expected


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


@given(st.sampled_from(sorted(KINDS)), numbers, numbers, st.integers(0, 2**20))
def test_documents_of_different_numbers_differ(kind, one, other, label):
    """Even where every other choice is the same."""
    known = lexicon_of(1)
    texts = []
    for number in (one, other):
        draws = Draws(str(label), number)
        texts.append([part.words for part in KINDS[kind][0](draws, known)])
        assert draws.key_bits_left <= 0, "the number does not fit into the document's fillers"
    assert (texts[0] == texts[1]) == (one == other)


def test_scrambling_a_number_is_a_bijection():
    assert sorted(mix(value, 12) for value in range(2**12)) == list(range(2**12))


@given(numbers, st.integers(0, 3), st.integers(0, 40))
def test_a_sentence_and_its_corrupted_twin_are_on_the_same_side(index, seed, place):
    words = document(seed, index)[0].words
    place %= len(words) - 1
    twin = [*words[:place], words[place + 1], words[place], *words[place + 2 :]]
    other_number = [{"is": "are", "was": "were"}.get(word, word) for word in words]
    assert held_out(words) is held_out(twin) is held_out(other_number) is None


def all_questions(count):
    for split in ("train", "test"):
        for kind in ("sense_left", "sense_right", "word_class"):
            yield from (
                (split, " ".join(words)) for words, _ in questions.one_word(kind, split, count)
            )
        yield from ((split, " ".join(words)) for words, _ in questions.names(split, count))
        yield from ((split, text) for text, _ in questions.swapped(split, count))
    for good, bad, _ in questions.agreement_pairs(count):
        yield from (("test", good), ("test", bad))


def test_no_question_is_in_the_corpus_or_in_both_splits():
    in_corpus = {" ".join(part.words) for index in range(10_000) for part in document(0, index)}
    asked = {"train": set(), "test": set()}
    for split, text in all_questions(300):
        assert text not in in_corpus
        assert held_out(text.split()) == split
        asked[split].add(text)
    assert not asked["train"] & asked["test"]
    assert len(asked["test"]) == 5 * 300 + 2 * 300


@pytest.mark.parametrize("kind", ["sense_left", "sense_right"])
def test_a_sentence_holds_both_senses_and_the_evidence_on_one_side(kind):
    for words, labels in questions.one_word(kind, "test", 300):
        (place,) = [i for i, label in enumerate(labels) if label]
        pair = next(p for p, nouns in lexicon.AMBIGUOUS.items() if words[place] in nouns)
        verbs = {i: CLASS_OF_VERB[word] for i, word in enumerate(words) if word in CLASS_OF_VERB}
        assert Counter(verbs.values()) == {pair[0]: 2, pair[1]: 2}
        evidence = [i for i, name in verbs.items() if name == labels[place]]
        if kind == "sense_left":
            assert max(evidence) < place - 4
        else:
            assert min([*verbs]) > place + 4
            assert words[place + 1] in lexicon.PREPOSITIONS


def test_a_sentence_holds_both_word_classes_and_two_types_of_name():
    asked = questions.one_word("word_class", "test", 300)
    forms = {*lexicon.EITHER, *map(lexicon.plural, lexicon.EITHER)}
    assert all(sum(word in forms for word in words) == 2 for words, _ in asked)
    assert {label for _, labels in asked for label in labels} == {None, "noun", "verb"}
    for words, labels in questions.names("test", 300):
        types = [label[2:] for label in labels if label.startswith("B-")]
        assert len(set(types)) == len(types) == 2
        capital = [word[0].isupper() for word in words]
        assert capital == [label != "O" for label in labels]


def test_agreement_pairs_differ_in_one_form_and_half_of_the_attractors_match():
    matches = Counter()
    for good, bad, bucket in questions.agreement_pairs(600):
        pair = [(a, b) for a, b in zip(good.split(), bad.split(), strict=True) if a != b]
        assert [tuple(sorted(forms)) for forms in pair] in ([("are", "is")], [("was", "were")])
        before = good.split()[
            : [a == b for a, b in zip(good.split(), bad.split(), strict=True)].index(False)
        ]
        nouns = [word for word in before if word.removesuffix("s").removesuffix("e") in STEMS]
        subject, *between = nouns[len(nouns) - int(bucket) - 1 :]
        assert len(between) == int(bucket)
        assert subject.endswith("s") == (pair[0][0] in ("are", "were"))
        matches.update((noun.endswith("s") == subject.endswith("s")) for noun in between)
    assert Counter(b for *_, b in questions.agreement_pairs(600)) == dict.fromkeys("012", 200)
    assert 0.42 < matches[True] / matches.total() < 0.58


STEMS = {place.removesuffix("e") for place in lexicon.PLACES}


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("sense_left", {"majority": 0.4, "bag_of_words": 0.58, "window_of_words": 0.58}),
        ("sense_right", {"majority": 0.4, "bag_of_words": 0.58, "window_of_words": 0.58}),
        ("word_class", {"majority": 0.55, "bag_of_words": 0.58, "window_of_words": 0.7}),
        ("entities", {"majority": 0.0, "bag_of_words": 0.3, "window_of_words": 0.55}),
        ("swapped_words", {"majority": 0.5, "bag_of_words": 0.66}),
        ("agreement", {"majority": 0.5}),
    ],
)
def test_a_task_is_not_solved_without_an_encoder(name, bounds):
    import torch

    import_part("tasks")
    task = task_named(name)
    splits = task.load(DataRoot())
    controls = task.controls(splits, Noise(0, 0, torch.arange(1)))
    assert sorted(controls) == sorted(bounds)
    for control, bound in bounds.items():
        assert controls[control].value <= bound, control


def task_named(name):
    import importlib

    module = importlib.import_module(f"bench.tasks.{name}")
    (cls,) = [v for v in vars(module).values() if getattr(v, "name", None) == name]
    return cls()


def test_data_grows_with_the_size_and_obeys_the_limit():
    import_part("tasks")
    task = task_named("entities")
    tiny, small = (task.load(DataRoot(limit=50, size=size)) for size in ("tiny", "small"))
    assert len(tiny.train) == len(tiny.test) == 50
    assert tiny.sha256 != small.sha256
    assert task.load(DataRoot(limit=50)).sha256 == tiny.sha256


def test_the_fingerprint_is_of_the_parameters():
    corpora = [Micro(), Micro(seed=1), Micro(num_words=5), Micro(lexicon_scale=2)]
    assert len({corpus.fingerprint() for corpus in corpora}) == 4
    assert Micro().fingerprint() == Micro(num_words=1_000_000).fingerprint()


def test_the_lexicon_grows_and_its_groups_are_disjoint():
    types = [len(set(" ".join(Micro(60_000, 0, scale).documents()).split())) for scale in (1, 4)]
    assert 400 < types[0] < 550 < types[1]
    known = lexicon.Lexicon(4)
    groups = [
        *({*tables[0]} for tables in known.nouns.values()),
        *map(set, lexicon.AMBIGUOUS.values()),
        *map(set, (lexicon.PLACES, lexicon.EITHER, *lexicon.ONLY.values(), known.names)),
        *map(set, (lexicon.ADJECTIVES, lexicon.PREPOSITIONS, lexicon.NEUTRAL, CLASS_OF_VERB)),
    ]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert [len(group) for group in groups[:5]] == [32] * 5


def test_a_topic_prefers_some_nouns_and_knows_all():
    table = lexicon.zipfian(("a", "b", "c", "d"), 1)
    assert Counter(table) == {"b": 122, "c": 62, "d": 41, "a": 31}


@pytest.mark.parametrize("wrong", [{"num_words": 0}, {"num_words": 2**40}, {"lexicon_scale": 5}])
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(BenchError, match="micro: "):
        Micro(**wrong)


def test_plurals():
    made = [lexicon.plural(word) for word in ("gate", "church", "play", "party", "dress")]
    assert made == ["gates", "churches", "plays", "parties", "dresses"]
