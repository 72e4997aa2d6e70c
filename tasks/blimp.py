"""BLiMP: is the grammatical one of two sentences likelier under the run, in 67 phenomena?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table, as_splits
from bench.probing.data.tables import TableTask
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.task import DataRoot, Splits

DEFAULT_PAIRS = 67 * 20
"""20 of each phenomenon's 1,000: a masked run needs a pass per sentence, token and policy."""


class BLiMP(TableTask, MinimalPairs):
    """Equally many pairs of each phenomenon; `--limit` gives more, up to all 67,000."""

    name: ClassVar[str] = "blimp"
    summary: ClassVar[str] = "grammatical against ungrammatical sentence, 67 x 20 pairs"
    source: ClassVar[str] = "Warstadt et al. 2020"
    size: ClassVar[tuple[int, int]] = (0, 67_000)
    suites: ClassVar[tuple[str, ...]] = ("syntax",)
    table: ClassVar[Table] = Table(
        "blimp",
        {"sentence_good": "good", "sentence_bad": "bad", "field": "bucket", "UID": "UID"},
        hub="nyu-mll/blimp",
        config="*",
        tests=("train",),
        has_train=False,
    )

    def load(self, data: DataRoot) -> Splits:
        """Read the first pairs of each phenomenon; the phenomena alternate."""
        pairs = self.table.load(data, "train")
        turn = pairs.groupby("UID").cumcount().sort_values(kind="stable").index
        limit = DEFAULT_PAIRS if data.limit is None else data.limit
        test = pairs.loc[turn[:limit]].copy()
        test["bucket"] = test["bucket"].str.replace(
            "/", "_"
        )  # one phenomenon spells it with a slash
        return as_splits(test[:0], test, data)
