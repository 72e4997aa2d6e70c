"""ArguAna: which argument is the best counterargument to an argument?

8,674 arguments from a debate portal, of which 1,406 are queries with one counterargument each.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.collections import Collection, CollectionTask


class ArguAna(CollectionTask):
    """The query is a document too and would be the best match, so its ranking leaves it out."""

    name: ClassVar[str] = "arguana"
    summary: ClassVar[str] = "counterarguments to an argument"
    source: ClassVar[str] = "Wachsmuth et al. 2018; Thakur et al. 2021 (BEIR)"
    size: ClassVar[tuple[int, int]] = (8_674, 1_406)
    suites: ClassVar[tuple[str, ...]] = ("retrieval",)
    excludes_itself: ClassVar[bool] = True
    collection: ClassVar[Collection] = Collection("arguana", hub="mteb/arguana")
