"""The words of the generated corpus: real English words, in groups.

A verb goes with one class of nouns only, so it decides the sense of an ambiguous noun. A filler
goes with every class, so it decides nothing. Groups that encode a document's number have 2^k
members. At scale 1 there are about 470 word types, few enough for an encoder of width 64 to learn
which verb goes with which class from two million words. `scale` lengthens the lists of nouns and
names, and the sentences (see `bench.corpus.microworld`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def _words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


CLASSES = ("animal", "tool", "food", "vehicle", "garment")
SENSES = ("animal", "tool", "food")
"""The classes of ambiguous nouns; each ambiguous noun belongs to two of them."""
ENTITY_TYPES = ("PER", "LOC", "ORG")
LONGEST_SCALE = 4
NOUNS_A_CLASS = 8
SHARED_NAMES = 16
TOPICS = 6
"""Number of topics. Each document has one, which decides which nouns of a class are frequent."""

_NOUNS = {
    "animal": _words(
        """horse cow dog cat goat pig fox bear lion tiger rabbit donkey camel otter beaver badger
        squirrel monkey parrot eagle owl pigeon swan raven sparrow falcon lizard snake frog toad
        turtle spider"""
    ),
    "tool": _words(
        """hammer spade rake ladder drill wrench bucket kettle lantern clock camera radio printer
        engine pump anvil axe shovel broom mop needle scanner magnet lever chisel pulley clamp
        lathe compass telescope microscope calculator"""
    ),
    "food": _words(
        """cake soup pie apple sausage onion carrot biscuit noodle pancake salad potato waffle
        muffin burger stew curry steak cookie pudding cheese peach mango lemon cherry banana
        melon olive bean pea mushroom walnut"""
    ),
    "vehicle": _words(
        """car bus truck tractor bicycle boat ferry tram taxi scooter wagon ship canoe yacht
        helicopter jeep van lorry trolley barge raft sled carriage ambulance limousine motorbike
        submarine glider airship rocket shuttle tanker"""
    ),
    "garment": _words(
        """coat shirt skirt dress sock hat glove jacket sweater apron cloak belt tie vest robe gown
        blouse cardigan hood cape shawl bonnet mitten sandal boot slipper sneaker legging tunic
        kilt poncho turban"""
    ),
}
AMBIGUOUS = {
    ("animal", "tool"): _words("bat crane seal mouse"),
    ("animal", "food"): _words("duck lamb turkey chicken"),
    ("tool", "food"): _words("nut chip punch roll"),
}
OF_SENSE = {
    sense: tuple(word for pair, words in AMBIGUOUS.items() if sense in pair for word in words)
    for sense in SENSES
}

DONE = {
    "animal": _words("fed tamed groomed bred"),
    "tool": _words("repaired sharpened oiled assembled"),
    "food": _words("cooked tasted seasoned chewed"),
    "vehicle": _words("parked steered refuelled boarded"),
    "garment": _words("ironed knitted dyed folded"),
}
"""The actions of people on the nouns of a class; past tense and participle are the same word."""
DOING = {
    "animal": _words("sleeping grazing breathing howling"),
    "tool": _words("rusting rattling whirring creaking"),
    "food": _words("cooling spoiling simmering melting"),
    "vehicle": _words("skidding departing stalling speeding"),
    "garment": _words("fading shrinking wrinkling fraying"),
}
NEUTRAL = _words("sold found lost stolen bought moved hidden seen")
"""Verbs that go with every class, and decide nothing."""

PLACES = _words(
    """gate barn bridge tower garden station market harbour wall tree river church school farm
    street lake"""
)
ADJECTIVES = _words(
    """old new big small red green tall long dark white broken empty narrow busy quiet ancient"""
)
PREPOSITIONS = _words("near by behind beside past below above outside")
TIMES = tuple(
    tuple(time.split("_"))
    for time in _words(
        """on_monday on_tuesday on_wednesday on_thursday on_friday on_saturday on_sunday at_noon
        at_night at_dawn in_may in_june in_spring in_summer in_autumn in_winter"""
    )
)
JOINTS = _words("and but while though")
ASIDES = tuple(
    ("that", who, did) for who in _words("we they she he") for did in _words("saw liked knew drew")
)
"""Relative clauses without a noun or a number: they lengthen a gap and are no attractors."""
ADVERBS = _words("today again twice outdoors quietly quickly rarely often")
OPENERS = ("when", "once", "if", "until")

EITHER = _words(
    """walk watch play plan dance help cook race talk visit march climb dream swim ride hunt"""
)
"""Words that are both a noun and a verb."""
ONLY = {
    "verb": _words(
        """wait listen arrive pray wander sing sit learn write argue leave travel relax speak eat
        read"""
    ),
    "noun": _words(
        """trip party lesson meal concert meeting journey wedding ceremony exam picnic festival
        speech dinner match feast"""
    ),
}
MODIFIERS = _words("daily weekly monthly yearly hourly nightly early late")
"""Adjectives before a noun and adverbs before a verb, with one spelling for both."""
DETERMINERS = ("the", "this", "our", "my")
SUBJECTS = ("they", "we", "you", "people")
LINKS = ("before", "after", "without", "during")
GIVEAWAYS = {
    "verb": ("together", "alone", "again", "slowly"),
    "noun": ("itself", "season", "programme", "contest"),
}

PERSONS = _words(
    """teacher farmer singer lawyer baker nurse pilot sailor painter student tailor judge guard
    clerk miner waiter"""
)
TYPE_NOUNS = {
    "PER": PERSONS[:4],
    "LOC": ("town", "village", "island", "valley"),
    "ORG": ("firm", "bank", "agency", "charity"),
}
TITLES = {
    "PER": ("doctor", "captain"),
    "LOC": ("downtown", "upper"),
    "ORG": ("insurer", "carmaker"),
}
"""Words right before a name that show its type: the easy cases."""
TYPED_NAMES = {
    "PER": _words("Anna Peter Maria David Laura James Sarah Martin"),
    "LOC": _words("Paris Rome Cairo Lima Oslo Delhi Tokyo Madrid"),
    "ORG": _words("Atlas Delta Apex Orion Nova Vertex Titan Zenith"),
}
_SHARED_NAMES = _words(
    """Reed Marsh Lane Ford Hill Stone Wells Brook Dale York Wood Field Grant Cole Blake Kent Hart
    Heath Glen Shaw Moss Ross Webb Barton Norton Milton Newton Preston Clifton Melton Weston
    Easton Ashby Derby Kirby Selby Whitby Rugby Crosby Hornby Langley Hadley Oakley Ripley
    Stanley Ashford Bradford Crawford Stratford Bedford Clifford Milford Hartford Radford
    Sanford Gifford Lincoln Jackson Houston Austin Denver Sheldon Marlow Carlisle"""
)
FATES = {
    "PER": _words("married promoted arrested interviewed hired elected injured praised"),
    "LOC": _words("flooded settled mapped invaded rebuilt evacuated conquered visited"),
    "ORG": _words("founded audited merged acquired taxed fined funded bankrupted"),
}
RELATIONS = _words("compared confused linked associated paired contrasted matched grouped")

GOOD = _words("great excellent superb wonderful delightful brilliant pleasant splendid")
BAD = _words("awful terrible dreadful horrible poor nasty dull miserable")
REACTIONS = (
    ("smiled", "cheered", "stayed", "returned"),
    ("complained", "frowned", "sighed", "quit"),
)
PLACING = _words("left kept placed put stored dropped set laid")
CLOSED_CLASS = frozenset(
    (
        *PREPOSITIONS,
        *JOINTS,
        *DETERMINERS,
        *SUBJECTS,
        *LINKS,
        *OPENERS,
        *_words("she he"),
        *_words("is are was were not and that so with named what on at in . , ?"),
    )
)
"""Words too frequent to be distinguished by their neighbours. Only membership is tested."""


def plural(noun: str) -> str:
    """The plural of a noun, or the third person of a verb."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def zipfian(options: Sequence[str], first: int) -> tuple[str, ...]:
    """A table of 256 options, with weights 1/1, 1/2, 1/3 ... from option `first` on."""
    rotated = [*options[first:], *options[:first]]
    weights = [720_720 // rank for rank in range(1, len(rotated) + 1)]
    total = sum(weights)
    table: list[str] = []
    for option, weight_so_far in zip(rotated, accumulate(weights), strict=True):
        table += [option] * (weight_so_far * 256 // total - len(table))
    return tuple(table)


class Lexicon:
    """The words of a scale (1 to 4), and the scale itself, which also lengthens sentences."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.nouns: dict[str, list[tuple[str, ...]]] = {}
        """Class -> one Zipfian table per topic of its unambiguous nouns (eight times the scale)."""
        for name, words in _NOUNS.items():
            nouns = words[: NOUNS_A_CLASS * scale]
            firsts = [topic * len(nouns) // TOPICS for topic in range(TOPICS)]
            self.nouns[name] = [zipfian(nouns, first) for first in firsts]
        self.names = _SHARED_NAMES[: SHARED_NAMES * scale]
        """Names shared by persons, places and organisations, 16 times the scale."""
