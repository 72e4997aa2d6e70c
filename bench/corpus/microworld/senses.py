"""Typed actions: an animal is fed, a tool is oiled, and a crane that is fed is the animal.

An example of a task contains two ambiguous nouns with the same pair of senses, one in each sense,
and verbs of both senses in the same context. So neither the bag of words, nor the bag of word
pairs, nor a window shows which verb belongs to which noun. The constants set the difficulty; shares
are in 256ths, so that no choice depends on a float. "Corpus only" marks what makes something
learnable and never occurs in an example of a task.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.corpus.microworld import lexicon as words
from bench.corpus.microworld.draws import Draws, Sentence
from bench.corpus.microworld.lexicon import Lexicon

TypedNoun = tuple[str, str]
"""A class and one of its nouns."""

AMBIGUOUS_SHARE = 96
"""Ambiguous ones among the typed nouns; the unambiguous ones teach the meaning of the verbs."""
SHORT_GAP_SHARE = 176
"""Corpus only: the phrase stands elsewhere, so that verb and noun are neighbours. With 128 one of
two masked runs had learnt no verb's class after two million words; with 192 it had."""
LONG_GAP_SHARE = 64
"""Gaps of two phrases (up to one more than the scale), which are longer than a window. The left gap
of an example is always such a gap."""
TYPED_PREDICATE_SHARE = 128
"""Corpus only, `sense_left`: a typed verb also follows the noun. Without it nothing after the noun
depends on its sense, and a causal encoder need not represent the sense there."""
NESTED_LEFT_SHARE = 80
"""The other clause stands inside: openings joined by a comma, nouns in reverse order."""
CROSSED_LEFT_SHARE = 80
"""Openings joined by `and`, nouns in the same order. In the rest the clauses follow each other,
which every left-to-right encoder solves; these two kinds keep it below 100 %."""
NESTED_RIGHT_SHARE = 48
"""The other clause stands between noun and verb, so that the nearest verb is the wrong one. Masked
runs of two million words are right in 99 % of the other sentences and in 65 to 70 % of these. The
share is multiplied by the scale; at larger scales up to three more clauses stand inside, each about
another class."""

BE = ("is", "was")


def _nouns(draws: Draws, lexicon: Lexicon, is_example: bool) -> tuple[TypedNoun, TypedNoun]:
    """The nouns of the two clauses; in an example each noun could have the sense of either."""
    if not is_example:
        return _typed_noun(draws, lexicon), _typed_noun(draws, lexicon)
    pair = draws.pick(tuple(words.AMBIGUOUS))
    one, other = pair if draws.happens(128) else pair[::-1]
    first = draws.pick(words.AMBIGUOUS[pair])
    second = draws.pick([noun for noun in words.AMBIGUOUS[pair] if noun != first])
    return (one, first), (other, second)


def _bystanders(draws: Draws, lexicon: Lexicon, clauses: Sequence[TypedNoun]) -> list[TypedNoun]:
    """Up to `scale - 1` unambiguous nouns, of classes other than those of the clauses."""
    classes = [name for name in words.CLASSES if name not in dict(clauses)]
    first, count = draws.between(0, lexicon.scale - 1), draws.between(0, lexicon.scale - 1)
    names = [*classes[first:], *classes[:first]][:count]
    return [(name, draws.pick(lexicon.nouns[name][draws.topic])) for name in names]


def _typed_noun(draws: Draws, lexicon: Lexicon) -> TypedNoun:
    name = draws.pick(words.CLASSES)
    return name, _noun_of(draws, lexicon, name)


def _noun_of(draws: Draws, lexicon: Lexicon, name: str) -> str:
    if name in words.SENSES and draws.happens(AMBIGUOUS_SHARE):
        return draws.pick(words.OF_SENSE[name])
    return draws.pick(lexicon.nouns[name][draws.topic])


def _verbs(draws: Draws, name: str) -> tuple[str, ...]:
    """`fed and sleeping`: both show the class, so that each teaches the other."""
    return draws.fill(words.DONE[name]), "and", draws.fill(words.DOING[name])


def sense_right(draws: Draws, lexicon: Lexicon, is_example: bool = False) -> list[Sentence]:
    """Sentences in which the sense is decided to the right of the noun.

    `the crane near the old gate was fed and sleeping today but the bat by the red wall is ... .`
    Nested: `the crane near the old gate , but the bat ... is oiled and rusting twice , was fed ...`
    """
    one, other = _nouns(draws, lexicon, is_example)
    sentence = Sentence()
    if draws.happens(NESTED_RIGHT_SHARE * lexicon.scale):
        inner = (other, *_bystanders(draws, lexicon, (one, other)))
        _subject(sentence, one, is_labelled=True, gap=_gap(draws, lexicon))
        for noun in inner:
            sentence.words += (",", draws.fill(words.JOINTS))
            _subject(sentence, noun, is_labelled=False, gap=_gap(draws, lexicon))
        for noun in reversed(inner):
            sentence.words += (*_predicate(draws, noun), ",")
        sentence.words += (*_predicate(draws, one), ".")
        return [sentence]
    for noun, joint in ((one, draws.fill(words.JOINTS)), (other, ".")):
        gap, is_near = _gap(draws, lexicon), not is_example and draws.happens(SHORT_GAP_SHARE)
        _subject(sentence, noun, is_labelled=noun is one, gap=() if is_near else gap)
        sentence.words += (*_predicate(draws, noun), *(gap if is_near else ()), joint)
    return [sentence]


def _gap(draws: Draws, lexicon: Lexicon, is_long: bool = False) -> tuple[str, ...]:
    gap = draws.phrase()
    if is_long or draws.happens(LONG_GAP_SHARE):
        gap += draws.phrases(1, lexicon.scale)
    return gap


def _subject(sentence: Sentence, noun: TypedNoun, is_labelled: bool, gap: tuple[str, ...]) -> None:
    sentence.words.append("the")
    sentence.add(noun[1], label=noun[0] if is_labelled else None)
    sentence.words += gap


def _predicate(draws: Draws, noun: TypedNoun) -> tuple[str, ...]:
    """Ends in an adverb, so that the verbs before `but` and before `.` have the same neighbours."""
    return draws.pick(BE), *_verbs(draws, noun[0]), draws.fill(words.ADVERBS)


def sense_left(draws: Draws, lexicon: Lexicon, is_example: bool = False) -> list[Sentence]:
    """Sentences in which the sense is decided to the left of the noun.

    `when fed and sleeping near the old gate , the crane was sold but if oiled ... , the bat ... .`
    Nested: `when fed ... , if oiled and rusting ... , the bat was lost , the crane was sold .`
    Crossed: `when fed ... and if oiled and rusting ... , the crane was sold , the bat was lost .`
    """
    one, other = _nouns(draws, lexicon, is_example)
    target = one if draws.happens(128) else other
    sentence, order = Sentence(), draws.pick(range(256))
    if order >= NESTED_LEFT_SHARE + CROSSED_LEFT_SHARE:
        _opening(draws, lexicon, sentence, one, is_example)
        _ending(draws, sentence, one, target, is_example)
        sentence.words.append(draws.fill(words.JOINTS))
        _opening(draws, lexicon, sentence, other, is_example)
        _ending(draws, sentence, other, target, is_example)
    else:
        is_nested = order < NESTED_LEFT_SHARE
        nouns = [one, *_bystanders(draws, lexicon, (one, other)), other]
        for noun in nouns:
            sentence.words += ("," if is_nested else "and",) if sentence.words else ()
            _opening(draws, lexicon, sentence, noun, is_example)
        for noun in reversed(nouns) if is_nested else nouns:
            _ending(draws, sentence, noun, target, is_example)
    sentence.words.append(".")
    return [sentence]


def _opening(
    draws: Draws, lexicon: Lexicon, sentence: Sentence, noun: TypedNoun, is_example: bool
) -> None:
    verbs, gap = _verbs(draws, noun[0]), _gap(draws, lexicon, is_long=is_example)
    opener = draws.pick(words.OPENERS)
    is_near = not is_example and draws.happens(SHORT_GAP_SHARE)
    sentence.words += (*gap, opener, *verbs) if is_near else (opener, *verbs, *gap)


def _ending(
    draws: Draws, sentence: Sentence, noun: TypedNoun, target: TypedNoun, is_example: bool
) -> None:
    sentence.words += (",", "the")
    sentence.add(noun[1], label=noun[0] if noun is target else None)
    is_typed = not is_example and draws.happens(TYPED_PREDICATE_SHARE)
    done = words.DONE[noun[0]] if is_typed else words.NEUTRAL
    sentence.words += (draws.pick(BE), draws.fill(done))


def noun_list(draws: Draws, lexicon: Lexicon) -> list[Sentence]:
    """Five words of one class together; these sentences teach the classes.

    `near the old gate the horse , the cow and the bat were fed and sleeping today by ... .`
    """
    name = draws.pick(words.CLASSES)
    nouns: list[str] = []
    while len(nouns) < 3:
        noun = _noun_of(draws, lexicon, name)
        if noun not in nouns:
            nouns.append(noun)
    sentence = Sentence((*draws.phrase(), "the", nouns[0], ",", "the", nouns[1], "and", "the"))
    sentence.words += (nouns[2], draws.fill(("are", "were")), *_verbs(draws, name))
    sentence.words += (draws.fill(words.ADVERBS), *draws.phrase(), ".")
    return [sentence]


def restatement(draws: Draws, lexicon: Lexicon) -> list[Sentence]:
    """`the nurse near the old gate fed the crane by the wall . in may the crane was fed .`."""
    name, noun = _typed_noun(draws, lexicon)
    done = draws.fill(words.DONE[name])
    active = ("the", draws.fill(words.PERSONS), *draws.phrase(), done)
    passive = (*draws.fill(words.TIMES), "the", noun, draws.pick(BE), done, ".")
    return [Sentence((*active, "the", noun, *draws.phrase(), ".")), Sentence(passive)]


def story(draws: Draws, lexicon: Lexicon) -> list[Sentence]:
    """`the nurse left the bat near ... and the pie by ... in may . what was by ... ? the pie .`."""
    things = [("the", _typed_noun(draws, lexicon)[1]) for _ in range(2)]
    places = [draws.phrase() for _ in range(2)]
    statement = Sentence(("the", draws.fill(words.PERSONS), draws.fill(words.PLACING)))
    statement.words += (*things[0], *places[0], "and", *things[1], *places[1])
    statement.words += (*draws.fill(words.TIMES), ".")
    chosen = draws.pick((0, 1))
    question = Sentence(("what", "was", *places[chosen], "?"))
    return [statement, question, Sentence((*things[chosen], "."))]


def review(draws: Draws, lexicon: Lexicon) -> list[Sentence]:
    """`the cake near ... was not great and the pie by ... was awful so we frowned .`."""
    mood, sentence = draws.pick((0, 1)), Sentence()
    for joint in ("and", "so"):
        is_negated = draws.pick((0, 1))
        sentence.words += ("the", _typed_noun(draws, lexicon)[1], *draws.phrase(), "was")
        sentence.words += ("not",) if is_negated else ()
        sentence.words += (draws.fill((words.GOOD, words.BAD)[mood ^ is_negated]), joint)
    sentence.words += ("we", draws.fill(words.REACTIONS[mood]), ".")
    return [sentence]
