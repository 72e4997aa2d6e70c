"""Tasks whose examples come from one published table or file.

These classes are not in `datasets`, because the code of a task's classes is part of its scores'
key, and the loaded data are in that key by their fingerprint anyhow. So a better message about a
missing file makes no score obsolete, while a changed step between a table and a family does.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import Table, as_splits, tags_by_name
from bench.probing.families.classification import TextClassification
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Splits, Task

if TYPE_CHECKING:
    import pandas as pd

    from bench.probing.reader.batching import Span

SENTEVAL = (
    "SentEval's are at github.com/facebookresearch/SentEval, data/probing; put {} in senteval/"
)
SENTEVAL_PARTS = {"tr": "train", "te": "test"}


class TableTask(Task):
    """Loads a `table` for its family; named before the family, `class SST2(TableTask, ...)`."""

    table: ClassVar[Table]

    def require(self, data: DataRoot) -> None:
        """Check that train and a split to test on are at hand."""
        self.table.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and the first split to test on that has labels."""
        train, test = (self.reshape(frame) for frame in self.table.pair(data))
        return as_splits(train, test, data)

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Convert a split for the family, where other names for the columns are not enough."""
        return frame


class SpanTable(TableTask, Tagging):
    """Spans of some `kinds` as B-, I- and O tags, which files give by number or by name."""

    kinds: ClassVar[tuple[str, ...]]
    """In the order of their numbers: O is 0, B- of the first is 1, its I- is 2."""
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """The label O for every word predicts no span."""

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Replace every tag by its name."""
        names = ("O", *(f"{side}-{kind}" for kind in self.kinds for side in "BI"))
        labels: Any = [tags_by_name(tags, names) for tags in frame["labels"]]
        return frame.assign(labels=labels)


class WordPairTable(TableTask, PairClassification):
    """A word of each text, or two words of one text where the table has no `text_pair`."""

    places: ClassVar[tuple[tuple[str, str], tuple[str, str]]]
    """For each word the two columns that give its place."""

    @abstractmethod
    def span(self, text: str, first: Any, second: Any) -> Span:
        """The word's character range, from the values of its two columns."""

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Reduce to the texts, the label, and the place of each text's word."""
        pairs = frame if "text_pair" in frame else frame.assign(text_pair=frame["text"])
        result = pairs[["text", "text_pair", "label"]]
        for span, text, (first, second) in zip(
            ("span", "span_pair"), ("text", "text_pair"), self.places, strict=True
        ):
            values = zip(pairs[text], pairs[first], pairs[second], strict=True)
            columns: dict[str, Any] = {span: [self.span(*row) for row in values]}
            result = result.assign(**columns)
        return result


class SentenceProbe(TextClassification):
    """A property of sentences that no objective trains, from SentEval's file or from parquet.

    SentEval publishes one tab-separated file per probe (`tr`, `va` or `te`, label, sentence), which
    is not on the hub; it is read from `--data DIR/senteval/`. The same probes from other text, with
    columns `sentence` and `label`, have one folder per probe.
    """

    source: ClassVar[str] = "Conneau et al. 2018 (SentEval)"
    suites: ClassVar[tuple[str, ...]] = ("probing",)
    file: ClassVar[str]
    """The name of SentEval's file, without its ending."""

    def require(self, data: DataRoot) -> None:
        """Check that train and test are at hand, in either form."""
        if self._text_file(data) is None:
            self._table().require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and test; SentEval's third part is for choices, which are made on train."""
        import pandas as pd

        path = self._text_file(data)
        if path is None:
            return self._table().splits(data)
        rows: dict[str, list[tuple[str, str]]] = {part: [] for part in SENTEVAL_PARTS.values()}
        for part, label, sentence in _senteval_rows(path):
            if part in SENTEVAL_PARTS:
                rows[SENTEVAL_PARTS[part]].append((sentence, label))
        train, test = (pd.DataFrame(rows[part], columns=["text", "label"]) for part in rows)
        return as_splits(train, test, data)

    def _table(self) -> Table:
        return Table(
            f"senteval/{self.name}",
            {"sentence": "text", "label": "label"},
            hub=None,
            aliases=(f"ud_probing/{self.name}",),
            source=SENTEVAL.format(f"{self.file}.txt"),
        )

    def _text_file(self, data: DataRoot) -> Path | None:
        path = None if data.folder is None else data.folder / "senteval" / f"{self.file}.txt"
        return path if path is not None and path.is_file() else None


def _senteval_rows(path: Path) -> list[list[str]]:
    """The rows of a SentEval file.

    Raises:
        BenchError: It is not UTF-8, or a line does not have three fields.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BenchError(
            f"{path} is not UTF-8 ({error.reason}, byte {error.start}); download it again"
        ) from None
    rows = [line.split("\t", 2) for line in lines if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3:
            raise BenchError(
                f"{path}, row {number}: {len(row)} fields, but part, label and sentence are "
                "expected; download the file again"
            )
    return rows
