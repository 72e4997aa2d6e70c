"""Word classes, names and agreement: the sentences of the generated corpus besides `senses`.

Each says two things of opposite kinds (a noun and a verb, two types of name), so that a bag of its
words answers nothing. The numbers are the difficulty; shares are in 256ths.
"""

from __future__ import annotations

from itertools import chain

from bench.corpus.microworld import lexicon, senses
from bench.corpus.microworld.draws import Draws, Sentence
from bench.corpus.microworld.lexicon import Lexicon
from bench.corpus.microworld.senses import SHORT_GAP_SHARE

BARE_WORD_SHARE = 64
"""Noun-or-verb words right after a determiner or subject: a window of one word solves these."""
ONE_MODIFIER_SHARE = 96
"""... after one modifier; the rest has two and a conjunction, four words from what decides, and at
larger scales up to one more for each."""
RIGHT_DECIDED_SHARE = 96
"""Noun-or-verb sentences in which only what follows tells, after a phrase: they keep a
left-to-right encoder from 100 %."""
GIVEAWAY_SHARE = 64
"""Corpus only: a word that tells the class follows. Without it nothing depends on the class."""
TITLED_SHARE = 64
"""Names right after a word that tells their type (in the corpus SHORT_GAP_SHARE): a window of one
word solves these."""
TYPED_NAME_SHARE = 128
"""Corpus only: names of one type; they make the type worth knowing where a name stands."""
LONG_NAME_SHARE = 96
"""Names of two words."""
DESCRIBED_SHARE = 128
"""Subjects with an adjective, which look like the nouns of phrases. With none a causal run learns
agreement without a fault."""
FRONTED_SHARE = 128
"""Agreement: sentences that open with a phrase whose noun may be taken for the subject."""

FORMS = (("is", "are"), ("was", "were"))
"""One token each, so that the number of hidden tokens never tells."""


def word_class(draws: Draws, known: Lexicon, is_question: bool = False) -> list[Sentence]:
    """`they daily walk near the old gate before the early and weekly race by the red wall .`."""
    if draws.happens(RIGHT_DECIDED_SHARE):
        return _garden_path(draws, known, is_question)
    said, link = Sentence(), draws.pick(lexicon.LINKS)
    parts = (draws.pick(lexicon.SUBJECTS), "verb"), (draws.pick(lexicon.DETERMINERS), "noun")
    if draws.happens(128):
        _either(draws, known, said, *parts[0], is_question)
        said.words.append(link)
        _either(draws, known, said, *parts[1], is_question)
    else:
        said.words.append(link)
        _either(draws, known, said, *parts[1], is_question)
        said.words.append(",")
        _either(draws, known, said, *parts[0], is_question)
    said.words.append(".")
    return [said]


def _either(
    draws: Draws, known: Lexicon, said: Sentence, opener: str, answer: str, is_question: bool
) -> None:
    """`the daily and early walk near the old gate`, `they daily and early walk near ...`."""
    said.words.append(opener)
    length = draws.pick(range(256))
    if length >= BARE_WORD_SHARE:
        said.words.append(draws.pick(lexicon.MODIFIERS))
    if length >= BARE_WORD_SHARE + ONE_MODIFIER_SHARE:
        for _ in range(draws.between(1, known.scale)):
            said.words += ("and", draws.pick(lexicon.MODIFIERS))
    said.say(_noun_or_verb(draws, answer, is_question), answer=answer)
    if not is_question and draws.happens(GIVEAWAY_SHARE):
        said.words.append(draws.pick(lexicon.GIVEAWAYS[answer]))
    said.words += draws.phrase()


def _noun_or_verb(draws: Draws, answer: str, is_question: bool) -> str:
    pure = lexicon.EITHER if is_question else lexicon.ONLY[answer]
    return draws.fill((*lexicon.EITHER, *pure))


def _garden_path(draws: Draws, known: Lexicon, is_question: bool) -> list[Sentence]:
    """`the nurse plans near the old gate after the judge walks by the red wall were long .`."""
    said, answers = Sentence(), ("noun", "verb") if draws.happens(128) else ("verb", "noun")
    for answer, joint in zip(answers, (draws.pick(lexicon.LINKS[:2]), "."), strict=True):
        said.words += ("the", draws.pick(lexicon.PERSONS))
        said.say(lexicon.plural(_noun_or_verb(draws, answer, is_question)), answer=answer)
        said.words += draws.phrases(1, known.scale)
        if answer == "noun":
            said.words += (draws.pick(FORMS)[1], draws.pick(lexicon.ADJECTIVES))
        said.words.append(joint)
    return [said]


def entities(draws: Draws, known: Lexicon, is_question: bool = False) -> list[Sentence]:
    """`Reed , the old firm , was linked with the quiet town named Hill Ford near ... .`.

    A second sentence comes back to one of the two: `in may Reed was audited .`
    """
    types = draws.pick(_TYPE_PAIRS)
    names = [_name(draws, known, kind, is_question) for kind in types]
    said, again = Sentence(), draws.pick((0, 1))
    _mention(draws, known, said, types[0], names[0], is_question)
    said.words += ("was", draws.fill(lexicon.RELATIONS), "with")
    _mention(draws, known, said, types[1], names[1], is_question)
    said.words += (*draws.phrase(), ".")
    fate = (*draws.fill(lexicon.TIMES), *names[again], "was")
    return [said, Sentence((*fate, draws.fill(lexicon.FATES[types[again]]), "."))]


_TYPE_PAIRS = tuple(
    (one, other) for one in lexicon.ENTITY_TYPES for other in lexicon.ENTITY_TYPES if one != other
)


def _name(draws: Draws, known: Lexicon, kind: str, is_question: bool) -> tuple[str, ...]:
    is_typed = not is_question and draws.happens(TYPED_NAME_SHARE)
    first = draws.pick(lexicon.TYPED_NAMES[kind] if is_typed else known.names)
    return (first, draws.pick(known.names)) if draws.happens(LONG_NAME_SHARE) else (first,)


def _mention(
    draws: Draws,
    known: Lexicon,
    said: Sentence,
    kind: str,
    name: tuple[str, ...],
    is_question: bool,
) -> None:
    """`the old insurer Reed`, `the old firm named Reed` or `Reed , the old firm ,`."""
    is_titled = draws.happens(TITLED_SHARE if is_question else SHORT_GAP_SHARE)
    nouns = (lexicon.TITLES if is_titled else lexicon.TYPE_NOUNS)[kind]
    described = ("the", draws.fill(lexicon.ADJECTIVES), draws.fill(nouns))
    gap = () if is_titled else draws.phrases(0, known.scale - 1)
    if is_titled or draws.happens(128):
        said.words += described if is_titled else (*described, *gap, "named")
        said.say(*name, answer=kind)
    else:
        said.say(*name, answer=kind)
        said.words += (*gap, ",", *described, ",")


def agreement(
    draws: Draws, known: Lexicon, is_question: bool = False, attractors: int | None = None
) -> list[Sentence]:
    """`the towers near the old gate that they saw are famous by the red wall .`.

    The mark is on `are`, its answer the other number's form; `attractors` nouns stand between.
    """
    is_near = not is_question and draws.happens(SHORT_GAP_SHARE)
    count = draws.pick(range(known.scale + 2)) if attractors is None else attractors
    number, forms = draws.pick((0, 1)), draws.pick(FORMS)
    said = Sentence(draws.phrase() if count == 0 or draws.happens(FRONTED_SHARE) else ())
    subject = draws.pick(lexicon.PLACES)
    described = (draws.pick(lexicon.ADJECTIVES),) if draws.happens(DESCRIBED_SHARE) else ()
    said.words += ("the", *described, lexicon.plural(subject) if number else subject)
    gap = [draws.phrase() for _ in range(count)]
    aside = draws.fill(lexicon.TIMES if is_near else lexicon.ASIDES)
    gap.insert(draws.pick(range(count + 1)), aside)
    said.words += () if is_near else chain(*gap)
    said.say(forms[number], answer=forms[1 - number])
    said.words.append(draws.fill(lexicon.ADJECTIVES))
    said.words += chain(*gap) if is_near else ()
    said.words += (*draws.phrase(), ".") if count < 2 else (".",)
    return [said]


KINDS = {
    "sense_right": (senses.sense_right, 60),
    "sense_left": (senses.sense_left, 40),
    "listed": (senses.listed, 64),
    "entities": (entities, 44),
    "agreement": (agreement, 30),
    "restated": (senses.restated, 6),
    "word_class": (word_class, 6),
    "story": (senses.story, 3),
    "review": (senses.review, 3),
}
"""Each kind of document and its share in 256ths. Word classes are learnt from the fewest examples
and would be learnt without a fault from more; nobody asks about the last two, which stay at chance
at this size whatever the objective."""
_KIND_OF_BYTE = tuple(write for write, share in KINDS.values() for _ in range(share))


def write(draws: Draws, known: Lexicon) -> list[Sentence]:
    """The sentences of a document of some kind."""
    return draws.pick(_KIND_OF_BYTE)(draws, known)
