"""Which sense has an ambiguous noun, if the evidence is to its right?

`the crane near the old gate was fed and sleeping today but the bat by the red wall is oiled ... .`:
an animal. A phrase always separates noun and evidence, and the other clause has verbs of the other
sense, sometimes nearer. An encoder that reads from left to right is at chance for any training.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.generated import GeneratedTagging


class SenseRight(GeneratedTagging):
    """Animal, tool or food; the first noun of each sentence has a label.

    Chance is one half: the word leaves two senses, and the sentence has verbs of both.
    """

    name: ClassVar[str] = "sense_right"
    summary: ClassVar[str] = "sense of an ambiguous noun, decided to its right"
    source: ClassVar[str] = "generated; after word-in-context (Pilehvar and Camacho-Collados 2019)"
    kind: ClassVar[str] = "sense_right"
