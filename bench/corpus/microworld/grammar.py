"""Word classes, names and agreement: the sentences of the generated corpus besides `senses`.

Each sentence contains two opposite cases (a noun and a verb, two types of name), so that the bag of
its words does not decide the label. The constants set the difficulty; shares are in 256ths.
"Corpus only" marks what makes something learnable and never occurs in an example of a task.
"""

from __future__ import annotations

from itertools import chain

from bench.corpus.microworld import lexicon as words
from bench.corpus.microworld import senses
from bench.corpus.microworld.draws import Draws, Sentence
from bench.corpus.microworld.lexicon import Lexicon
from bench.corpus.microworld.senses import SHORT_GAP_SHARE

BARE_WORD_SHARE = 64
"""Noun-or-verb words right after a determiner or subject; a window of one word solves these."""
ONE_MODIFIER_SHARE = 96
"""Noun-or-verb words after one modifier. The rest have two modifiers and a conjunction, so that the
deciding word is four words away; each larger scale adds up to one more modifier."""
RIGHT_DECIDED_SHARE = 96
"""Noun-or-verb sentences that are decided only by the words that follow, after a phrase. They keep
a left-to-right encoder below 100 %."""
GIVEAWAY_SHARE = 64
"""Corpus only: a word that shows the class follows. Without it nothing depends on the class."""
TITLED_SHARE = 64
"""Names right after a word that shows their type (in the corpus SHORT_GAP_SHARE); a window of one
word solves these."""
TYPED_NAME_SHARE = 128
"""Corpus only: names of a single type. They make the type useful at the position of a name."""
LONG_NAME_SHARE = 96
"""Names of two words."""
DESCRIBED_SHARE = 128
"""Subjects with an adjective, which look like the nouns of phrases. Without them a causal run
learns agreement perfectly."""
FRONTED_SHARE = 128
"""Agreement: sentences that start with a phrase, whose noun can be mistaken for the subject."""

FORMS = (("is", "are"), ("was", "were"))
"""Each is one token, so that the number of hidden tokens gives nothing away."""


def word_class(draws: Draws, lexicon: Lexicon, is_example: bool = False) -> list[Sentence]:
    """`they daily walk near the old gate before the early and weekly race by the red wall .`."""
    if draws.happens(RIGHT_DECIDED_SHARE):
        return _garden_path(draws, lexicon, is_example)
    sentence, link = Sentence(), draws.pick(words.LINKS)
    parts = (draws.pick(words.SUBJECTS), "verb"), (draws.pick(words.DETERMINERS), "noun")
    if draws.happens(128):
        _either(draws, lexicon, sentence, *parts[0], is_example)
        sentence.words.append(link)
        _either(draws, lexicon, sentence, *parts[1], is_example)
    else:
        sentence.words.append(link)
        _either(draws, lexicon, sentence, *parts[1], is_example)
        sentence.words.append(",")
        _either(draws, lexicon, sentence, *parts[0], is_example)
    sentence.words.append(".")
    return [sentence]


def _either(
    draws: Draws, lexicon: Lexicon, sentence: Sentence, opener: str, label: str, is_example: bool
) -> None:
    """`the daily and early walk near the old gate`, `they daily and early walk near ...`."""
    sentence.words.append(opener)
    length = draws.pick(range(256))
    if length >= BARE_WORD_SHARE:
        sentence.words.append(draws.pick(words.MODIFIERS))
    if length >= BARE_WORD_SHARE + ONE_MODIFIER_SHARE:
        for _ in range(draws.between(1, lexicon.scale)):
            sentence.words += ("and", draws.pick(words.MODIFIERS))
    sentence.add(_noun_or_verb(draws, label, is_example), label=label)
    if not is_example and draws.happens(GIVEAWAY_SHARE):
        sentence.words.append(draws.pick(words.GIVEAWAYS[label]))
    sentence.words += draws.phrase()


def _noun_or_verb(draws: Draws, label: str, is_example: bool) -> str:
    pure = words.EITHER if is_example else words.ONLY[label]
    return draws.fill((*words.EITHER, *pure))


def _garden_path(draws: Draws, lexicon: Lexicon, is_example: bool) -> list[Sentence]:
    """`the nurse plans near the old gate after the judge walks by the red wall were long .`."""
    sentence, labels = Sentence(), ("noun", "verb") if draws.happens(128) else ("verb", "noun")
    for label, joint in zip(labels, (draws.pick(words.LINKS[:2]), "."), strict=True):
        sentence.words += ("the", draws.pick(words.PERSONS))
        sentence.add(words.plural(_noun_or_verb(draws, label, is_example)), label=label)
        sentence.words += draws.phrases(1, lexicon.scale)
        if label == "noun":
            sentence.words += (draws.pick(FORMS)[1], draws.pick(words.ADJECTIVES))
        sentence.words.append(joint)
    return [sentence]


def entities(draws: Draws, lexicon: Lexicon, is_example: bool = False) -> list[Sentence]:
    """`Reed , the old firm , was linked with the quiet town named Hill Ford near ... .`.

    A second sentence mentions one of the two again: `in may Reed was audited .`
    """
    types = draws.pick(_TYPE_PAIRS)
    names = [_name(draws, lexicon, kind, is_example) for kind in types]
    sentence, repeated = Sentence(), draws.pick((0, 1))
    _mention(draws, lexicon, sentence, types[0], names[0], is_example)
    sentence.words += ("was", draws.fill(words.RELATIONS), "with")
    _mention(draws, lexicon, sentence, types[1], names[1], is_example)
    sentence.words += (*draws.phrase(), ".")
    fate = (*draws.fill(words.TIMES), *names[repeated], "was")
    return [sentence, Sentence((*fate, draws.fill(words.FATES[types[repeated]]), "."))]


_TYPE_PAIRS = tuple(
    (one, other) for one in words.ENTITY_TYPES for other in words.ENTITY_TYPES if one != other
)


def _name(draws: Draws, lexicon: Lexicon, kind: str, is_example: bool) -> tuple[str, ...]:
    is_typed = not is_example and draws.happens(TYPED_NAME_SHARE)
    first = draws.pick(words.TYPED_NAMES[kind] if is_typed else lexicon.names)
    return (first, draws.pick(lexicon.names)) if draws.happens(LONG_NAME_SHARE) else (first,)


def _mention(
    draws: Draws,
    lexicon: Lexicon,
    sentence: Sentence,
    kind: str,
    name: tuple[str, ...],
    is_example: bool,
) -> None:
    """`the old insurer Reed`, `the old firm named Reed` or `Reed , the old firm ,`."""
    is_titled = draws.happens(TITLED_SHARE if is_example else SHORT_GAP_SHARE)
    nouns = (words.TITLES if is_titled else words.TYPE_NOUNS)[kind]
    described = ("the", draws.fill(words.ADJECTIVES), draws.fill(nouns))
    gap = () if is_titled else draws.phrases(0, lexicon.scale - 1)
    if is_titled or draws.happens(128):
        sentence.words += described if is_titled else (*described, *gap, "named")
        sentence.add(*name, label=kind)
    else:
        sentence.add(*name, label=kind)
        sentence.words += (*gap, ",", *described, ",")


def agreement(
    draws: Draws, lexicon: Lexicon, is_example: bool = False, attractors: int | None = None
) -> list[Sentence]:
    """`the towers near the old gate that they saw are famous by the red wall .`.

    The labelled word is `are`, and its label is the form of the other number. `attractors` nouns
    stand between the subject and the verb.
    """
    is_near = not is_example and draws.happens(SHORT_GAP_SHARE)
    count = draws.pick(range(lexicon.scale + 2)) if attractors is None else attractors
    number, forms = draws.pick((0, 1)), draws.pick(FORMS)
    sentence = Sentence(draws.phrase() if count == 0 or draws.happens(FRONTED_SHARE) else ())
    subject = draws.pick(words.PLACES)
    described = (draws.pick(words.ADJECTIVES),) if draws.happens(DESCRIBED_SHARE) else ()
    sentence.words += ("the", *described, words.plural(subject) if number else subject)
    gap = [draws.phrase() for _ in range(count)]
    aside = draws.fill(words.TIMES if is_near else words.ASIDES)
    gap.insert(draws.pick(range(count + 1)), aside)
    sentence.words += () if is_near else chain(*gap)
    sentence.add(forms[number], label=forms[1 - number])
    sentence.words.append(draws.fill(words.ADJECTIVES))
    sentence.words += chain(*gap) if is_near else ()
    sentence.words += (*draws.phrase(), ".") if count < 2 else (".",)
    return [sentence]


KINDS = {
    "sense_right": (senses.sense_right, 60),
    "sense_left": (senses.sense_left, 40),
    "noun_list": (senses.noun_list, 64),
    "entities": (entities, 44),
    "agreement": (agreement, 30),
    "restatement": (senses.restatement, 6),
    "word_class": (word_class, 6),
    "story": (senses.story, 3),
    "review": (senses.review, 3),
}
"""Each kind of document and its share in 256ths. Word classes are learnt from the fewest sentences,
and would be learnt perfectly from more. No task is about the last two kinds: at this size they stay
at chance with every objective."""
_KIND_OF_BYTE = tuple(write for write, share in KINDS.values() for _ in range(share))


def write(draws: Draws, lexicon: Lexicon) -> list[Sentence]:
    """The sentences of a document; the kind is drawn."""
    return draws.pick(_KIND_OF_BYTE)(draws, lexicon)
