"""Tasks whose examples lie in one table: what a task file says once, it does not do again.

Beside `datasets`, not in it: the code of a task's classes is part of its scores' key, and what was
read is in that key by its fingerprint anyhow. So a better message about a missing file asks no
question anew, while another step between a table and a family does.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.data.datasets import Table, as_splits, tags_by_name
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Span, Splits, Task

if TYPE_CHECKING:
    import pandas as pd


class Tabled(Task):
    """Reads a `table` as its family's; named before the family, `class SST2(Tabled, ...)`."""

    table: ClassVar[Table]

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        self.table.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and the first split to test on whose labels are given."""
        train, test = (self.reshaped(frame) for frame in self.table.pair(data))
        return as_splits(train, test, data)

    def reshaped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A split as the family wants it, where other names for the columns are not enough."""
        return frame


class TabledSpans(Tabled, Tagging):
    """Spans of some `kinds` as B-, I- and O tags, which files give by number or by name."""

    kinds: ClassVar[tuple[str, ...]]
    """In the order of their numbers: O is 0, B- of the first is 1, its I- is 2."""
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """Tagging every word O finds no span."""

    def reshaped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Every tag by name."""
        names = ("O", *(f"{side}-{kind}" for kind in self.kinds for side in "BI"))
        labels: Any = [tags_by_name(tags, names) for tags in frame["labels"]]
        return frame.assign(labels=labels)


class TabledWordPairs(Tabled, PairClassification):
    """A word of each text, or two of one text where the table has no `text_pair`."""

    places: ClassVar[tuple[tuple[str, str], tuple[str, str]]]
    """For each word the two columns that say where it is."""

    @abstractmethod
    def span(self, text: str, first: Any, second: Any) -> Span:
        """The word's characters, from what its two columns hold."""

    def reshaped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Texts, label, and where each text's word is."""
        pairs = frame if "text_pair" in frame else frame.assign(text_pair=frame["text"])
        found = pairs[["text", "text_pair", "label"]]
        for span, text, (first, second) in zip(
            ("span", "span_pair"), ("text", "text_pair"), self.places, strict=True
        ):
            cells = zip(pairs[text], pairs[first], pairs[second], strict=True)
            columns: dict[str, Any] = {span: [self.span(*cell) for cell in cells]}
            found = found.assign(**columns)
        return found
