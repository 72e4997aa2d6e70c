"""Sentence probes: properties of a sentence that nobody told the encoder to keep.

SentEval publishes one tab-separated file a probe (`tr`, `va` or `te`, label, sentence), on no hub;
that file is read as it is, from `--data DIR/senteval/`. The same probes made from other text, with
columns `sentence` and `label`, lie in a folder a probe.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import Table, as_splits
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits

SOURCE = "SentEval's are at github.com/facebookresearch/SentEval, data/probing; put {} in senteval/"
PARTS = {"tr": "train", "te": "test"}


class SentenceProbe(TextClassification):
    """Text classification read from SentEval's file or from parquet."""

    source: ClassVar[str] = "Conneau et al. 2018 (SentEval)"
    suites: ClassVar[tuple[str, ...]] = ("probing",)
    file: ClassVar[str]
    """SentEval's, without its ending."""

    def require(self, data: DataRoot) -> None:
        """Train and test, in either form."""
        if self._text_file(data) is None:
            self._table().require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and test; SentEval's third part is for choices, which are made on train."""
        import pandas as pd

        path = self._text_file(data)
        if path is None:
            return self._table().splits(data)
        rows: dict[str, list[tuple[str, str]]] = {part: [] for part in PARTS.values()}
        for part, label, sentence in _lines(path):
            if part in PARTS:
                rows[PARTS[part]].append((sentence, label))
        train, test = (pd.DataFrame(rows[part], columns=["text", "label"]) for part in rows)
        return as_splits(train, test, data)

    def _table(self) -> Table:
        return Table(
            f"senteval/{self.name}",
            {"sentence": "text", "label": "label"},
            hub=None,
            also=(f"ud_probing/{self.name}",),
            source=SOURCE.format(f"{self.file}.txt"),
        )

    def _text_file(self, data: DataRoot) -> Path | None:
        path = None if data.folder is None else data.folder / "senteval" / f"{self.file}.txt"
        return path if path is not None and path.is_file() else None


def _lines(path: Path) -> list[list[str]]:
    """The rows of a SentEval file.

    Raises:
        BenchError: It is not UTF-8, or a line does not have three fields.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not UTF-8 ({error.reason}, byte {error.start})") from None
    rows = [line.split("\t", 2) for line in lines if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3:
            raise BenchError(
                f"{path}, row {number}: {len(row)} fields; part, label and sentence are expected"
            )
    return rows
