"""Which sense has an ambiguous noun, if the evidence is to its left?

`when fed and sleeping near the old gate , the crane was sold ...`: an animal. Every sentence has
verbs of both senses: clause after clause, one clause inside the other, or crossed. The text after
the noun says nothing about it. An objective that reads from left to right sees all the evidence.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.generated import GeneratedTagging


class SenseLeft(GeneratedTagging):
    """Animal, tool or food; one noun of each sentence has a label.

    Chance is one half: the word leaves two senses, and the sentence has verbs of both.
    """

    name: ClassVar[str] = "sense_left"
    summary: ClassVar[str] = "sense of an ambiguous noun, decided to its left"
    source: ClassVar[str] = "generated; after word-in-context (Pilehvar and Camacho-Collados 2019)"
    kind: ClassVar[str] = "sense_left"
