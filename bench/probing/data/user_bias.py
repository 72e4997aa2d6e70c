"""Files of stereotype pairs that a user brings: the shapes of CrowS-Pairs and of StereoSet.

CrowS-Pairs is a table with `sent_more` (the sentence that stereotypes more), `sent_less` and
`bias_type`. StereoSet is a `.json` file with `data.intrasentence` and `data.intersentence`; the
sentences of the second follow their context. No such text is part of this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import as_splits
from bench.probing.data.label_files.column import Column
from bench.probing.data.user_files import find_splits
from bench.probing.data.user_kinds import FileSplits, FileTask
from bench.probing.families.preference import StereotypePreference
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("intrasentence", "intersentence")
GOLD = {
    "stereotype": "stereotype",
    "anti-stereotype": "anti_stereotype",
    "unrelated": "unrelated",
}
"""StereoSet's `gold_label` to the family's column."""


class BiasFile(FileTask, StereotypePreference):
    """All pairs of a file are test examples."""

    columns: ClassVar[tuple[str, ...]] = ("sent_more", "sent_less", "bias_type")
    metrics: ClassVar[tuple[str, ...]] = ("stereotype_share",)
    options: ClassVar[tuple[str, ...]] = ("name", "metric")
    """Nothing is fitted, so there is no split."""
    chance: ClassVar[float | None] = 0.5

    def require(self, data: DataRoot) -> None:
        """Check that the file exists and that it is one file.

        Raises:
            BenchError: There is no such file, or it is a folder.
        """
        if self.file.path.is_dir():
            raise BenchError(
                f"--task bias:{self.file.path} is a folder, and one file of pairs is needed: a "
                "table with sent_more, sent_less and bias_type, or StereoSet's .json"
            )
        find_splits(self.file.path)

    def load(self, data: DataRoot) -> Splits:
        """Read all pairs.

        Raises:
            BenchError: The file has neither shape, or a row cannot be used; names the row.
        """
        from bench.probing.data.label_files.formats import read_rows

        self.require(data)
        notes: list[str] = []
        path = self.file.path
        document = stereoset(path)
        if document is None:
            frame = self._examples(read_rows(path, notes), path, notes)
        else:
            frame = stereoset_frame(path, document)
        splits = as_splits(frame[:0], frame, data)
        return FileSplits(
            splits.train, splits.test, splits.sha256, self.metric, 0.5, tuple(dict.fromkeys(notes))
        )

    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(
            {
                "stereotype": columns["sent_more"].texts(),
                "anti_stereotype": columns["sent_less"].texts(),
                "bucket": columns["bias_type"].labels("one type of bias is needed in each row"),
            }
        )


def stereoset(path: Path) -> Mapping[str, Any] | None:
    """The `data` of StereoSet's file; None for a file of another shape.

    Raises:
        BenchError: A .json file that is no JSON.
    """
    if path.suffix.lower() != ".json":
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read as JSON: {error}") from None
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, dict) and set(data) & set(PARTS) else None


def stereoset_frame(path: Path, data: Mapping[str, Any]) -> pd.DataFrame:
    """The three sentences of each example, and its type of bias.

    Raises:
        BenchError: An example without one sentence of each gold label; names it.
    """
    import pandas as pd

    return pd.DataFrame(
        list(_rows(path, data)), columns=["stereotype", "anti_stereotype", "unrelated", "bucket"]
    )


def _rows(path: Path, data: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for part in PARTS:
        for number, example in enumerate(data.get(part, ()), start=1):
            where = f"{path}, {part}, example {number}"
            try:
                context = str(example["context"]).strip() if part == "intersentence" else ""
                texts = {
                    GOLD[one["gold_label"]]: f"{context} {one['sentence']}".strip()
                    for one in example["sentences"]
                }
                stereotype, opposite, unrelated = (texts[column] for column in GOLD.values())
                bias_type = str(example["bias_type"])
            except (KeyError, TypeError) as error:
                raise BenchError(
                    f"{where}: {error} is missing or unknown; each example needs a bias_type, and "
                    f"sentences with the gold labels {', '.join(GOLD)}"
                ) from None
            if len(example["sentences"]) != len(GOLD):
                raise BenchError(
                    f"{where} has {len(example['sentences'])} sentences, and one of each of "
                    f"{', '.join(GOLD)} is needed"
                )
            yield stereotype, opposite, unrelated, bias_type
