"""Typed actions: an animal is fed, a tool is oiled, and a crane is whichever it was.

A question holds two ambiguous nouns of the same pair of senses, one of each sense, and verbs of
both in the same surroundings, so that neither a bag of words, nor one of word pairs, nor a window
tells which verb is whose. The numbers are the difficulty. Shares are in 256ths, since no float
decides anything here; "corpus only" makes a thing learnable and never occurs in a question.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.corpus.microworld import lexicon
from bench.corpus.microworld.draws import Draws, Sentence
from bench.corpus.microworld.lexicon import Lexicon

TypedNoun = tuple[str, str]
"""A class and a noun of it."""

AMBIGUOUS_SHARE = 96
"""Of typed nouns: the unambiguous ones teach what the verbs mean, the ambiguous ones need them."""
SHORT_GAP_SHARE = 176
"""Corpus only: the phrase stands elsewhere, so that verb and noun are neighbours. With 128 one of
two masked runs had learnt no verb's class after two million words, with 192 it had."""
LONG_GAP_SHARE = 64
"""Gaps of two phrases (up to one more than the scale), beyond what a window could see; a question's
left gap always is one."""
TYPED_PREDICATE_SHARE = 128
"""Corpus only, left-decided: a typed verb follows the noun too. Without it nothing after the noun
depends on its sense, and a causal encoder need not keep it there."""
NESTED_LEFT_SHARE = 80
"""The rival clause stands inside: openings joined by a comma, nouns in reverse order."""
CROSSED_LEFT_SHARE = 80
"""Openings joined by `and`, nouns in the same order. The rest: clause after clause, which every
left-to-right encoder solves; these two kinds keep it from 100 %."""
NESTED_RIGHT_SHARE = 48
"""The rival clause stands between noun and verb, so that the nearest verb is the wrong one. Masked
runs of two million words are right in 99 % of the other sentences and in 65 to 70 % of these. Times
the scale; at larger scales up to three more clauses stand inside, each about another class."""

BE = ("is", "was")


def _nouns(draws: Draws, known: Lexicon, is_question: bool) -> tuple[TypedNoun, TypedNoun]:
    """What the two clauses are about; of a question's nouns either could be either."""
    if not is_question:
        return _typed_noun(draws, known), _typed_noun(draws, known)
    pair = draws.pick(tuple(lexicon.AMBIGUOUS))
    one, other = pair if draws.happens(128) else pair[::-1]
    first = draws.pick(lexicon.AMBIGUOUS[pair])
    second = draws.pick([noun for noun in lexicon.AMBIGUOUS[pair] if noun != first])
    return (one, first), (other, second)


def _bystanders(draws: Draws, known: Lexicon, clauses: Sequence[TypedNoun]) -> list[TypedNoun]:
    """Up to `scale - 1` further nouns, of classes other than the clauses' and of one sense."""
    classes = [name for name in lexicon.CLASSES if name not in dict(clauses)]
    first, count = draws.between(0, known.scale - 1), draws.between(0, known.scale - 1)
    names = [*classes[first:], *classes[:first]][:count]
    return [(name, draws.pick(known.nouns[name][draws.topic])) for name in names]


def _typed_noun(draws: Draws, known: Lexicon) -> TypedNoun:
    name = draws.pick(lexicon.CLASSES)
    return name, _noun_of(draws, known, name)


def _noun_of(draws: Draws, known: Lexicon, name: str) -> str:
    if name in lexicon.SENSES and draws.happens(AMBIGUOUS_SHARE):
        return draws.pick(lexicon.OF_SENSE[name])
    return draws.pick(known.nouns[name][draws.topic])


def _verbs(draws: Draws, name: str) -> tuple[str, ...]:
    """`fed and sleeping`: both tell the class, so that each teaches the other."""
    return draws.fill(lexicon.DONE[name]), "and", draws.fill(lexicon.DOING[name])


def sense_right(draws: Draws, known: Lexicon, is_question: bool = False) -> list[Sentence]:
    """What decides stands right of the noun.

    `the crane near the old gate was fed and sleeping today but the bat by the red wall is ... .`
    Nested: `the crane near the old gate , but the bat ... is oiled and rusting twice , was fed ...`
    """
    one, other = _nouns(draws, known, is_question)
    said = Sentence()
    if draws.happens(NESTED_RIGHT_SHARE * known.scale):
        inner = (other, *_bystanders(draws, known, (one, other)))
        _subject(said, one, is_asked=True, gap=_gap(draws, known))
        for noun in inner:
            said.words += (",", draws.fill(lexicon.JOINTS))
            _subject(said, noun, is_asked=False, gap=_gap(draws, known))
        for noun in reversed(inner):
            said.words += (*_predicate(draws, noun), ",")
        said.words += (*_predicate(draws, one), ".")
        return [said]
    for noun, joint in ((one, draws.fill(lexicon.JOINTS)), (other, ".")):
        gap, is_near = _gap(draws, known), not is_question and draws.happens(SHORT_GAP_SHARE)
        _subject(said, noun, is_asked=noun is one, gap=() if is_near else gap)
        said.words += (*_predicate(draws, noun), *(gap if is_near else ()), joint)
    return [said]


def _gap(draws: Draws, known: Lexicon, is_long: bool = False) -> tuple[str, ...]:
    gap = draws.phrase()
    if is_long or draws.happens(LONG_GAP_SHARE):
        gap += draws.phrases(1, known.scale)
    return gap


def _subject(said: Sentence, noun: TypedNoun, is_asked: bool, gap: tuple[str, ...]) -> None:
    said.words.append("the")
    said.say(noun[1], answer=noun[0] if is_asked else None)
    said.words += gap


def _predicate(draws: Draws, noun: TypedNoun) -> tuple[str, ...]:
    """Ends in an adverb: else the verb before `but` and the verb before `.` would be told apart."""
    return draws.pick(BE), *_verbs(draws, noun[0]), draws.fill(lexicon.ADVERBS)


def sense_left(draws: Draws, known: Lexicon, is_question: bool = False) -> list[Sentence]:
    """What decides stands left of the noun.

    `when fed and sleeping near the old gate , the crane was sold but if oiled ... , the bat ... .`
    Nested: `when fed ... , if oiled and rusting ... , the bat was lost , the crane was sold .`
    Crossed: `when fed ... and if oiled and rusting ... , the crane was sold , the bat was lost .`
    """
    one, other = _nouns(draws, known, is_question)
    asked = one if draws.happens(128) else other
    said, order = Sentence(), draws.pick(range(256))
    if order >= NESTED_LEFT_SHARE + CROSSED_LEFT_SHARE:
        _opening(draws, known, said, one, is_question)
        _ending(draws, said, one, asked, is_question)
        said.words.append(draws.fill(lexicon.JOINTS))
        _opening(draws, known, said, other, is_question)
        _ending(draws, said, other, asked, is_question)
    else:
        is_nested = order < NESTED_LEFT_SHARE
        nouns = [one, *_bystanders(draws, known, (one, other)), other]
        for noun in nouns:
            said.words += ("," if is_nested else "and",) if said.words else ()
            _opening(draws, known, said, noun, is_question)
        for noun in reversed(nouns) if is_nested else nouns:
            _ending(draws, said, noun, asked, is_question)
    said.words.append(".")
    return [said]


def _opening(
    draws: Draws, known: Lexicon, said: Sentence, noun: TypedNoun, is_question: bool
) -> None:
    verbs, gap = _verbs(draws, noun[0]), _gap(draws, known, is_long=is_question)
    opener = draws.pick(lexicon.OPENERS)
    is_near = not is_question and draws.happens(SHORT_GAP_SHARE)
    said.words += (*gap, opener, *verbs) if is_near else (opener, *verbs, *gap)


def _ending(
    draws: Draws, said: Sentence, noun: TypedNoun, asked: TypedNoun, is_question: bool
) -> None:
    said.words += (",", "the")
    said.say(noun[1], answer=noun[0] if noun is asked else None)
    is_typed = not is_question and draws.happens(TYPED_PREDICATE_SHARE)
    done = lexicon.DONE[noun[0]] if is_typed else lexicon.NEUTRAL
    said.words += (draws.pick(BE), draws.fill(done))


def listed(draws: Draws, known: Lexicon) -> list[Sentence]:
    """Five words of one class together: these teach the classes.

    `near the old gate the horse , the cow and the bat were fed and sleeping today by ... .`
    """
    name = draws.pick(lexicon.CLASSES)
    nouns: list[str] = []
    while len(nouns) < 3:
        noun = _noun_of(draws, known, name)
        if noun not in nouns:
            nouns.append(noun)
    said = Sentence((*draws.phrase(), "the", nouns[0], ",", "the", nouns[1], "and", "the"))
    said.words += (nouns[2], draws.fill(("are", "were")), *_verbs(draws, name))
    said.words += (draws.fill(lexicon.ADVERBS), *draws.phrase(), ".")
    return [said]


def restated(draws: Draws, known: Lexicon) -> list[Sentence]:
    """`the nurse near the old gate fed the crane by the wall . in may the crane was fed .`."""
    name, noun = _typed_noun(draws, known)
    done = draws.fill(lexicon.DONE[name])
    active = ("the", draws.fill(lexicon.PERSONS), *draws.phrase(), done)
    passive = (*draws.fill(lexicon.TIMES), "the", noun, draws.pick(BE), done, ".")
    return [Sentence((*active, "the", noun, *draws.phrase(), ".")), Sentence(passive)]


def story(draws: Draws, known: Lexicon) -> list[Sentence]:
    """`the nurse left the bat near ... and the pie by ... in may . what was by ... ? the pie .`."""
    things = [("the", _typed_noun(draws, known)[1]) for _ in range(2)]
    places = [draws.phrase() for _ in range(2)]
    told = Sentence(("the", draws.fill(lexicon.PERSONS), draws.fill(lexicon.PLACING)))
    told.words += (*things[0], *places[0], "and", *things[1], *places[1])
    told.words += (*draws.fill(lexicon.TIMES), ".")
    asked = draws.pick((0, 1))
    question = Sentence(("what", "was", *places[asked], "?"))
    return [told, question, Sentence((*things[asked], "."))]


def review(draws: Draws, known: Lexicon) -> list[Sentence]:
    """`the cake near ... was not great and the pie by ... was awful so we frowned .`."""
    mood, said = draws.pick((0, 1)), Sentence()
    for joint in ("and", "so"):
        is_negated = draws.pick((0, 1))
        said.words += ("the", _typed_noun(draws, known)[1], *draws.phrase(), "was")
        said.words += ("not",) if is_negated else ()
        said.words += (draws.fill((lexicon.GOOD, lexicon.BAD)[mood ^ is_negated]), joint)
    said.words += ("we", draws.fill(lexicon.VERDICTS[mood]), ".")
    return [said]
