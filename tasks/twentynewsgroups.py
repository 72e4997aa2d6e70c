"""20 Newsgroups: do the clusters of Usenet messages agree with their newsgroups?

Headers, quotes and signatures are removed, because they name the newsgroup. Messages that are empty
without them are left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import Table, as_splits
from bench.probing.data.tables import TableTask
from bench.probing.families.clustering import Clustering
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd


class TwentyNewsgroups(TableTask, Clustering):
    """Read from `--data`; without it from scikit-learn's data folder, if it is there; or the hub.

    Nothing is downloaded through scikit-learn: `sklearn.datasets.fetch_20newsgroups()` does so,
    once, where a user calls it. Layer and pooling are chosen on the older messages (train).
    """

    name: ClassVar[str] = "twentynewsgroups"
    summary: ClassVar[str] = "newsgroups of Usenet messages (20 clusters)"
    source: ClassVar[str] = "Lang 1995"
    size: ClassVar[tuple[int, int]] = (11_314, 7_532)
    suites: ClassVar[tuple[str, ...]] = ("clustering",)
    table: ClassVar[Table] = Table(
        "twentynewsgroups",
        {"text": "text", "label": "label"},
        hub="SetFit/20_newsgroups",
        tests=("test",),
    )

    def require(self, data: DataRoot) -> None:
        """Check that the messages are in the folder, in scikit-learn's folder or on the hub."""
        if data.folder is not None or not _is_at_hand():
            super().require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read the older and the newer messages."""
        if data.folder is None and _is_at_hand():
            train, test = (self.reshape(_messages(part)) for part in ("train", "test"))
            return as_splits(train, test, data)
        return super().load(data)

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Leave out messages without text."""
        has_text = [bool(str(text).strip()) for text in frame["text"]]
        return frame[has_text].reset_index(drop=True)


def _is_at_hand() -> bool:
    """Whether scikit-learn has stored the messages in its data folder."""
    folder = os.environ.get("SCIKIT_LEARN_DATA") or "~/scikit_learn_data"
    return any(Path(folder).expanduser().glob("20news-bydate*.pkz"))


def _messages(part: str) -> pd.DataFrame:
    """One part of the messages, from scikit-learn's data folder alone."""
    import pandas as pd
    from sklearn.datasets import fetch_20newsgroups

    try:
        loaded = fetch_20newsgroups(
            subset=part,
            remove=("headers", "footers", "quotes"),
            shuffle=False,
            download_if_missing=False,
        )
    except (OSError, ValueError) as error:
        raise BenchError(
            f"scikit-learn cannot read its copy of 20 Newsgroups ({error}); delete it, or give "
            "--data DIR with twentynewsgroups/train.parquet and test.parquet (text, label)"
        ) from None
    labels = [loaded.target_names[i] for i in loaded.target]
    return pd.DataFrame({"text": loaded.data, "label": labels})
