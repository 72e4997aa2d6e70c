"""Self-supervised tasks: made from the held-out part of any corpus, without labels.

No run trains on that part, and its language is the corpus' own, so these tasks exist for every text
that a user brings. Train and test come from different documents. Cues in the words alone are
balanced away where the task is not about words: a shift keeps the words, a replacement moves them
among sentences of one class, and each wrong next sentence is the right one elsewhere.

Words are runs of letters with their marks; in a script without spaces, they are characters. A text
that gives too few examples is refused before anything is trained.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.errors import BenchError
from bench.probing.data.datasets import as_splits
from bench.probing.data.sentence_tasks import MIN_EXAMPLES, Document, Maker, too_few
from bench.probing.task import DataRoot, Splits, Task

if TYPE_CHECKING:
    import pandas as pd

Parts = Mapping[str, list[Document]]
"""The held-out documents of `train` and of `test`."""
TEST_SHARE = 0.35


class SelfSupervised(Task):
    """Makes the examples of its family from held-out documents; named before the family."""

    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    """The family's columns, in the order of a row from `maker`."""
    chance: ClassVar[float | None] = 0.5
    """Two classes of one size."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    """Maximum numbers of train and test examples; 0 for train where nothing is fitted."""
    suites: ClassVar[tuple[str, ...]] = ("self",)

    @abstractmethod
    def maker(self, parts: Parts) -> Maker:
        """The function that makes rows from documents.

        Args:
            parts: All documents, from which a maker may choose its classes.
        """

    def load(self, data: DataRoot) -> Splits:
        """Make the examples from the corpus' held-out part.

        Raises:
            BenchError: No prepared corpus, nothing held out, or too little of it.
        """
        parts = held_out_parts(data)
        make = self.maker(parts)
        if self.size[0]:
            train, test = (self._frame(make, parts[part], part) for part in ("train", "test"))
            return as_splits(train, test, data)
        test = self._frame(make, [*parts["train"], *parts["test"]], "all")
        return as_splits(test[:0], test, data)

    def _frame(self, make: Maker, documents: list[Document], part: str) -> pd.DataFrame:
        import pandas as pd

        split = "train" if part == "train" else "test"
        rows = make(documents, part)[: self.size[split == "test"]]
        if len(rows) < MIN_EXAMPLES[split]:
            raise too_few(len(rows), f"examples to {split} on", MIN_EXAMPLES[split])
        return pd.DataFrame(rows, columns=list(self.columns))


def held_out_parts(data: DataRoot) -> Parts:
    """The held-out documents of `train` and of `test`; no sentence is in both.

    Raises:
        BenchError: There is no prepared corpus, or it has no held-out part.
    """
    if data.prepared is None:
        raise BenchError(
            "this task is made from the held-out part of a prepared corpus, and none is given; "
            "name a corpus with --corpus"
        )
    ordered = sorted(_documents(data.prepared), key=_text_hash)
    if len(ordered) < 2:
        raise too_few(len(ordered), "documents", 2)
    total, count = sum(map(len, ordered)), 0
    parts: dict[str, list[Document]] = {"train": [], "test": []}
    for document in ordered:
        parts["test" if count < TEST_SHARE * total else "train"].append(document)
        count += len(document)
    known = {sentence for document in parts["train"] for sentence in document}
    parts["test"] = [tuple("" if s in known else s for s in one) for one in parts["test"]]
    return parts


@functools.lru_cache(maxsize=2)
def _documents(prepared: Path) -> list[Document]:
    """The sentences of each held-out document; those with unknown characters become empty.

    They are not removed, because their neighbours do not follow each other.
    """
    from bench.corpus.partition import one_text
    from bench.corpus.sentences import sentence_starts
    from bench.corpus.store import TokenStore
    from bench.corpus.tokenizer import TextTokenizer

    manifest = json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))
    if not manifest["has_heldout"]:
        raise BenchError(
            f"the corpus {manifest['corpus']} is {one_text(manifest.get('documents', 1))}: nothing "
            "is held out; take a corpus of several documents, set what one document is with "
            "--documents, or leave this task out"
        )
    tokenizer = TextTokenizer.from_file(prepared / "tokenizer.json")
    store = TokenStore.open(prepared / "heldout")
    unknown = tokenizer.token(tokenizer.vocabulary.unk_id)
    documents = []
    for begin, end in zip(store.documents, store.documents[1:], strict=False):
        text = tokenizer.decode(store.tokens[begin : end - 1])  # without its [SEP]
        bounds = [*sentence_starts(text), len(text)]
        sentences = (text[a:b].strip() for a, b in itertools.pairwise(bounds))
        documents.append(tuple("" if unknown in one else one for one in sentences))
    return documents


def _text_hash(document: Document) -> bytes:
    return hashlib.sha256("\n".join(document).encode("utf-8", "surrogatepass")).digest()
