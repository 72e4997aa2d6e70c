"""How deep is the syntax tree of the sentence?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class TreeDepth(SentenceProbe):
    """Syntax; depth differs from length, because lengths are balanced over the classes."""

    name: ClassVar[str] = "tree_depth"
    summary: ClassVar[str] = "depth of the syntax tree (4 to 7 classes)"
    chance: ClassVar[float] = 0.265
    """The most frequent class of the UD edition; 1/7 in SentEval's."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "tree_depth"
    suites: ClassVar[tuple[str, ...]] = ("probing", "syntax")
