"""Where are the names, and whose are they: a person's, a place's, an organisation's?

`Reed , the old firm , was compared with the quiet town named Hill Ford near ... .`: all three bear
the same names, so that only the words around tell; to the left or to the right, seldom the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.corpus.microworld import SCALES, Split
from bench.corpus.microworld.examples import names
from bench.probing.data.datasets import generated_splits
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Splits

NUM_SENTENCES: Mapping[Split, int] = {"train": 600, "test": 400}
"""A sentence has about twenty words and two names: enough labels for the probe's cap."""


class Entities(Tagging):
    """B-/I-/O tags of every word; a span counts when its ends and its type are right."""

    name: ClassVar[str] = "entities"
    summary: ClassVar[str] = "persons, places and organisations that share their names"
    source: ClassVar[str] = "generated; after CoNLL 2003 (Tjong Kim Sang and De Meulder)"
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """Tagging every word O, the majority, finds no span."""
    size: ClassVar[tuple[int, int]] = (600, 400)
    suites: ClassVar[tuple[str, ...]] = ("micro",)

    def load(self, data: DataRoot) -> Splits:
        """Generate the sentences; none is in the corpus, none in both splits."""
        scale = SCALES.get(data.size, 1)
        return generated_splits(names, NUM_SENTENCES, ("words", "labels"), scale, data)
