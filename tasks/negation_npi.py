"""Words that negation licenses: the part of BLiMP that turns on `not ... ever`.

`ever` needs a licensor above it: `not` (in two of BLiMP's phenomena), `only`, or a question. Each
pair has the licensor in its place or out of place. It is a part of `blimp`, with more pairs of each
phenomenon, so take one of the two into an aggregate.
"""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from bench.errors import BenchError
from bench.probing.data.datasets import Table, as_splits
from bench.probing.data.tables import TableTask
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.task import DataRoot, Splits

PHENOMENA = (
    "sentential_negation_npi_licensor_present",
    "sentential_negation_npi_scope",
    "only_npi_licensor_present",
    "only_npi_scope",
    "matrix_question_npi_licensor_present",
    "npi_present_1",
    "npi_present_2",
)
DEFAULT_PAIRS = len(PHENOMENA) * 100
"""100 of each phenomenon's 1,000: a masked run needs a pass per sentence, token and policy."""


class NegationNPI(TableTask, MinimalPairs):
    """Equally many pairs of each phenomenon, which is the bucket."""

    name: ClassVar[str] = "negation_npi"
    summary: ClassVar[str] = "words that negation licenses (ever), 7 x 100 pairs of BLiMP"
    source: ClassVar[str] = "Warstadt et al. 2020 (negative polarity items)"
    size: ClassVar[tuple[int, int]] = (0, 1_000 * len(PHENOMENA))
    suites: ClassVar[tuple[str, ...]] = ()
    table: ClassVar[Table] = Table(
        "blimp",
        {"sentence_good": "good", "sentence_bad": "bad", "UID": "bucket"},
        hub="nyu-mll/blimp",
        config="*",
        tests=("train",),
        has_train=False,
    )

    def load(self, data: DataRoot) -> Splits:
        """Read the first pairs of each phenomenon; the phenomena alternate.

        Raises:
            BenchError: The data lack a phenomenon.
        """
        pairs = self.table.load(data, "train")
        lacking = [name for name in PHENOMENA if name not in set(pairs["bucket"])]
        if lacking:
            raise BenchError(
                f"{self.name}: the data of blimp have no pairs of {', '.join(lacking)}; use an "
                "edition with all 67 phenomena"
            )
        pairs = pairs[pairs["bucket"].isin(PHENOMENA)]
        turn = pairs.groupby("bucket").cumcount().sort_values(kind="stable").index
        limit = DEFAULT_PAIRS if data.limit is None else data.limit
        test: pd.DataFrame = pairs.loc[turn[:limit]].copy()
        return as_splits(test[:0], test, data)
