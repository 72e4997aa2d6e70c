"""Is a word like `walk` a noun or a verb in its sentence?

`they daily and early walk near the old gate before the weekly race by the red wall .`; or, decided
only by the text after it, `the nurse plans near the old gate after the judge walks by ... were long
.` Every sentence contains one of each.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.generated import GeneratedTagging


class WordClass(GeneratedTagging):
    """One of the two noun-or-verb words of each sentence has a label; the classes are balanced."""

    name: ClassVar[str] = "word_class"
    summary: ClassVar[str] = "noun or verb, one spelling"
    source: ClassVar[str] = "generated; after the noun-verb challenge set (Elkahky et al. 2018)"
    kind: ClassVar[str] = "word_class"
