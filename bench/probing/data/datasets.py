"""Published data sets: read from a folder or from the hub, cut to a limit, fingerprinted.

A table is `NAME/SPLIT.parquet` under `--data DIR`, with the columns of its hub repository. From the
hub only the parquet export is read, never a repository's own loading script: data must not be code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus.raw_files import refuse_bomb
from bench.errors import BenchError
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd

HUB_EXPORT = "refs/convert/parquet"
SMALL_BYTES = 100_000_000
"""A parquet file with fewer bytes times rows cannot unpack to more."""
MOST_UNPACKED_BYTES = 8_000_000_000
WAY_OUT = "give --data DIR with the data in the layout NAME/SPLIT.parquet"


@dataclasses.dataclass(frozen=True)
class Table:
    """The location of one data set.

    Args:
        name: Its folder under `--data`, such as `glue/sst2`.
        columns: The columns that the task reads, with the family's name for each.
        hub: Its repository on the hub; None if it is not on the hub.
        config: The repository's configuration; `*` is all of them, one after the other.
        tests: The splits that may be the test split, in order of preference; the first with labels
            is used.
        aliases: Other folders that may contain it.
        source: Where to get it if not from the hub.
        has_train: Whether it has a training split; False where all examples are test examples.
    """

    name: str
    columns: Mapping[str, str]
    hub: str | None
    config: str = "default"
    tests: tuple[str, ...] = ("test", "validation")
    aliases: tuple[str, ...] = ()
    source: str = ""
    has_train: bool = True

    def require(self, data: DataRoot, *splits: str) -> None:
        """Check that the splits are at hand, without loading them.

        Args:
            data: The source of the data.
            splits: The required splits; by default train, if there is one, and one of `tests`.

        Raises:
            BenchError: Where a file was looked for; or the requirements of the hub.
        """
        if data.folder is None:
            require_hub(self)
            return
        test = next((split for split in self.tests if self.has(data, split)), self.tests[0])
        for split in splits or (("train", test) if self.has_train else (test,)):
            if not self.path(data.folder, split).is_file():
                raise self._missing(data.folder, split)

    def load(self, data: DataRoot, split: str) -> pd.DataFrame:
        """One split: the columns of the task, with the family's names.

        Raises:
            BenchError: The split is missing, is not parquet, or lacks a column.
        """
        if data.folder is None:
            frame = read_hub(self, split)
            where = f"{self.hub} ({self.config}, {split}) on the hub"
        else:
            path = self.path(data.folder, split)
            if not path.is_file():
                raise self._missing(data.folder, split)
            frame = read_parquet(path)
            where = str(path)
        lacking = [column for column in self.columns if column not in frame.columns]
        if lacking:
            raise BenchError(
                f"{where} lacks the columns {lacking}: it has {list(frame.columns)}, but the task "
                f"needs {list(self.columns)}"
            )
        return frame[list(self.columns)].rename(columns=self.columns)

    def pair(self, data: DataRoot) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train, and the first of `tests` with labels (benchmarks withhold some labels as -1).

        Train is empty where the table has none.

        Raises:
            BenchError: A split is missing, or none of `tests` has labels.
        """
        for split in self.tests:
            if self.has(data, split) and _is_labelled(test := self.load(data, split)):
                return self.load(data, "train") if self.has_train else test[:0], test
        if data.folder is not None and not any(self.has(data, split) for split in self.tests):
            raise self._missing(data.folder, self.tests[0])
        raise BenchError(
            f"{self.name}: none of the splits {', '.join(self.tests)} has labels; use an edition "
            "of the data set with labels"
        )

    def splits(self, data: DataRoot) -> Splits:
        """`pair`, cut to the limit and fingerprinted."""
        return as_splits(*self.pair(data), data)

    def has(self, data: DataRoot, split: str) -> bool:
        """Whether the split is in the folder; the hub is assumed to have every split of a task."""
        return data.folder is None or self.path(data.folder, split).is_file()

    def path(self, folder: Path, split: str) -> Path:
        """The file of a split, in the first of the table's folders that exists."""
        names = (self.name, *self.aliases)
        name = next((name for name in names if (folder / name).is_dir()), self.name)
        return folder / name / f"{split}.parquet"

    def _missing(self, folder: Path, split: str) -> BenchError:
        path = self.path(folder, split)
        beside = sorted(file.name for file in path.parent.glob("*.parquet"))
        content = f"its folder has {beside}" if beside else "there is no such folder with data"
        elsewhere = f"without --data the hub's {self.hub} is read" if self.hub else self.source
        return BenchError(
            f"no {split} split of {self.name}: looked for {path}; {content}. --data DIR must have "
            f"the layout NAME/SPLIT.parquet; {elsewhere}"
        )


def _is_labelled(frame: pd.DataFrame) -> bool:
    """Whether a split has labels other than -1."""
    for column in ("label", "score"):
        if column in frame and frame[column].dtype.kind in "if":
            return bool((frame[column].fillna(-1) >= 0).any())
    return True


def tags_by_name(tags: Iterable[Any], names: Sequence[str]) -> list[str]:
    """A sentence's tags by name: the hub's files have numbers, its library may give names.

    Raises:
        BenchError: A number without a tag.
    """
    try:
        return [tag if isinstance(tag, str) else names[tag] for tag in tags]
    except IndexError:
        raise BenchError(
            f"tags {list(tags)}: each number must be below {len(names)}, the number of tags"
        ) from None


def require_hub(table: Table) -> None:
    """Check at once that the hub can be read.

    Raises:
        BenchError: No `datasets`, or no network; names the way out.
    """
    from bench.corpus.hub import require_network

    if table.hub is None:
        raise BenchError(f"{table.name} is not on the hub: {table.source}; then {WAY_OUT}")
    if importlib.util.find_spec("datasets") is None:
        raise BenchError(
            f"the data set {table.name} is read from the hub, which needs the extra: "
            f"pip install 'objective-bench[hf]'; or {WAY_OUT}"
        )
    require_network(f"the data set {table.name}", WAY_OUT)


def read_hub(table: Table, split: str) -> pd.DataFrame:
    """A split from the hub; numbers of labels in lists are replaced by their names.

    Raises:
        BenchError: No `datasets`, no network, or the hub's own error.
    """
    require_hub(table)
    import datasets

    files = {split: f"{table.config}/{split}/*.parquet"}
    try:
        loaded = datasets.load_dataset(
            table.hub, data_files=files, revision=HUB_EXPORT, split=split
        )
    except Exception as error:  # the library and its network layers raise dozens of kinds
        raise BenchError(
            f"{table.hub} ({table.config}, {split}) could not be read from the hub: "
            f"{type(error).__name__}: {error}"
        ) from None
    frame: pd.DataFrame = loaded.to_pandas()
    for column, feature in loaded.features.items():
        names = getattr(getattr(feature, "feature", None), "names", None)
        if names:
            frame[column] = [[names[tag] for tag in row] for row in frame[column]]
    return frame


_DAMAGED_METADATA = (ValueError, KeyError, TypeError, AttributeError)
"""The errors of pandas where the metadata that it wrote itself are damaged."""


def read_parquet(path: Path) -> pd.DataFrame:
    """The content of a parquet file.

    Raises:
        BenchError: It is damaged, not a parquet file, or unpacks to far more than its size.
    """
    import pandas as pd
    import pyarrow

    try:
        _refuse_parquet_bomb(path)
        return pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError, *_DAMAGED_METADATA) as error:
        raise BenchError(f"{path} cannot be read as parquet ({error}); download it again") from None


def _refuse_parquet_bomb(path: Path) -> None:
    """Count what a file unpacks to; one text in a million rows stays one text in memory.

    Raises:
        BenchError: It is out of proportion to the size of the file, or over `MOST_UNPACKED_BYTES`.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        meta = file.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    if meta.num_rows * sum(group.total_byte_size for group in groups) <= SMALL_BYTES:
        return
    columns = [meta.schema.column(i) for i in range(meta.num_columns)]
    texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    num_bytes, num_packed = 0, path.stat().st_size
    with pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False) as file:
        for batch in file.iter_batches(1024, use_threads=False):
            num_bytes += sum(_unpacked_bytes(column) for column in batch.columns)
            refuse_bomb(num_bytes, num_packed, path)
            if num_bytes > MOST_UNPACKED_BYTES:
                raise BenchError(
                    f"{path} unpacks to over {MOST_UNPACKED_BYTES // 10**9} GB, the limit of the "
                    "examples of a task; take fewer rows or columns"
                )


def _unpacked_bytes(column: Any) -> int:
    """The bytes of a column of arrow with every text written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(column.dictionary)
        return int(pc.sum(pc.take(lengths, column.indices)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_unpacked_bytes(part) for part in column.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _unpacked_bytes(column.flatten())
    return int(column.nbytes)


def as_splits(train: pd.DataFrame, test: pd.DataFrame, data: DataRoot) -> Splits:
    """Cut each split to `--limit` and fingerprint the rest."""
    train, test = cut(train, data.limit, "train"), cut(test, data.limit, "test")
    return Splits(train, test, fingerprint(train, test))


def cut(frame: pd.DataFrame, limit: int | None, split: str) -> pd.DataFrame:
    """At most `limit` rows in their order, equal for all runs; a larger limit only adds rows."""
    if limit is None or len(frame) <= limit:
        return frame.reset_index(drop=True)
    import numpy as np
    import torch

    from bench.pretraining.noise import Noise
    from bench.probing.sampling import uniform

    draws = uniform(Noise(0, 0, torch.arange(1)), f"limit.{split}", len(frame))
    chosen = np.sort(np.argsort(draws, kind="stable")[:limit])
    return frame.iloc[chosen].reset_index(drop=True)


def fingerprint(*frames: pd.DataFrame) -> str:
    """sha256 of the values, column by column; independent of their types in the file."""
    from bench.settings import canonical_json

    digest = hashlib.sha256()
    for frame in frames:
        for column in sorted(frame.columns):
            values = [_plain(value) for value in frame[column].tolist()]
            digest.update(canonical_json([column, values]).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON: arrays and NumPy scalars become lists and numbers, NaN becomes null."""
    if value is None or type(value) is str:  # nearly every value, and every word in a list
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return None if value != value else value
