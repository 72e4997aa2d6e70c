"""Is the main verb in the past or in the present tense?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class PastPresent(SentenceProbe):
    """Meaning; no verb form is in both train and test of SentEval."""

    name: ClassVar[str] = "past_present"
    summary: ClassVar[str] = "tense of the main verb"
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "past_present"
