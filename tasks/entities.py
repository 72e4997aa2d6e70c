"""Where are the names, and are they a person's, a place's or an organisation's?

`Reed , the old firm , was compared with the quiet town named Hill Ford near ... .`: all three types
have the same names, so only the words around decide; to the left or to the right, seldom the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.corpus.microworld import Split
from bench.corpus.microworld.examples import entity_examples
from bench.probing.data.generated import GeneratedTask
from bench.probing.families.tagging import Tagging


class Entities(GeneratedTask, Tagging):
    """B-/I-/O tags of every word; a span counts if its ends and its type are right."""

    name: ClassVar[str] = "entities"
    summary: ClassVar[str] = "persons, places and organisations that share their names"
    source: ClassVar[str] = "generated; after CoNLL 2003 (Tjong Kim Sang and De Meulder)"
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """The label O for every word, the majority, predicts no span."""
    size: ClassVar[tuple[int, int]] = (600, 400)
    """A sentence has about twenty words and two names: enough labels for the probe's cap."""
    columns: ClassVar[tuple[str, ...]] = ("words", "labels")

    def rows(self, split: Split, count: int, scale: int) -> Sequence[tuple[Any, ...]]:
        """Sentences with a tag for every word."""
        return entity_examples(split, count, scale)
