"""The loss from filling two hidden words of the corpus at once, not one token after the other.

A diagnostic: higher says that the tokens of a unit depend on each other in a way that independent
predictions miss. It compares a head with itself, so it ranks no objective.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, hide_pairs
from bench.probing.families.diagnostics import JointPrediction


class SelfJointPrediction(SelfSupervised, JointPrediction):
    """Two neighbouring words; the bucket says whether both begin with a capital, as in names."""

    name: ClassVar[str] = "self_joint_prediction"
    summary: ClassVar[str] = "diagnostic: nats lost by filling two words at once, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Yang et al. 2019 (sec. 2.1)"
    chance: ClassVar[float | None] = None
    size: ClassVar[tuple[int, int]] = (0, 500)
    suites: ClassVar[tuple[str, ...]] = ("diagnostic",)
    columns: ClassVar[tuple[str, ...]] = ("text", "start", "end", "bucket")

    def maker(self, parts: Parts) -> Maker:
        """Hide two words of each sentence."""
        return hide_pairs
