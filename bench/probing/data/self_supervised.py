"""Questions that need no labels: made from the held-out part of any corpus.

Nobody trains on that part, and it is the corpus' own language, so these questions exist for every
text anybody brings. Train and test are of different documents. What can be read off the words alone
is balanced away where the question is not about words: a shift keeps them, a replacement moves them
among sentences of one class, and the wrong next sentence is another's right one.

Words are runs of letters; a script that does not part its words gives too few questions, and the
error says so before anything is trained.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.probing.data.sentence_tasks import (
    MIN_EXAMPLES,
    Document,
    Maker,
    hidden_words,
    too_few,
)
from bench.probing.task import DataRoot, Splits

NUM_EXAMPLES = {"train": 1_500, "test": 800}
TEST_SHARE = 0.35


def questions(make: Maker, columns: Sequence[str], data: DataRoot) -> Splits:
    """Splits of a question made from the corpus' held-out part.

    Raises:
        BenchError: No prepared corpus, nothing held out, or too little of it.
    """
    import pandas as pd

    from bench.probing.data.datasets import as_splits

    found = {}
    for part, documents in parts(data).items():
        rows = make(documents, part)[: NUM_EXAMPLES[part]]
        if len(rows) < MIN_EXAMPLES[part]:
            raise too_few(len(rows), f"examples to {part} on", MIN_EXAMPLES[part])
        found[part] = pd.DataFrame(rows, columns=list(columns))
    return as_splits(found["train"], found["test"], data)


def fill_in_questions(data: DataRoot) -> Splits:
    """Splits of a question for which nothing is fitted: all held-out documents are the test.

    Raises:
        BenchError: As for `questions`.
    """
    import pandas as pd

    from bench.probing.data.datasets import as_splits

    rows = hidden_words([document for part in parts(data).values() for document in part], "all")
    if len(rows) < MIN_EXAMPLES["test"]:
        raise too_few(len(rows), "examples to test on", MIN_EXAMPLES["test"])
    test = pd.DataFrame(rows, columns=["text", "start", "end"])
    return as_splits(test[:0], test, data)


def parts(data: DataRoot) -> dict[str, list[Document]]:
    """The held-out documents, each for training or for testing and no sentence for both.

    Raises:
        BenchError: There is no prepared corpus, or it holds nothing out.
    """
    if data.prepared is None:
        raise BenchError(
            "this question is made from the held-out part of a prepared corpus, and none is given"
        )
    ordered = sorted(_documents(data.prepared), key=_text_hash)
    if len(ordered) < 2:
        raise too_few(len(ordered), "documents", 2)
    total, count = sum(map(len, ordered)), 0
    found: dict[str, list[Document]] = {"train": [], "test": []}
    for document in ordered:
        found["test" if count < TEST_SHARE * total else "train"].append(document)
        count += len(document)
    known = {sentence for document in found["train"] for sentence in document}
    found["test"] = [tuple("" if s in known else s for s in one) for one in found["test"]]
    return found


@functools.lru_cache(maxsize=2)
def _documents(prepared: Path) -> list[Document]:
    """The sentences of each held-out document; those with unknown characters are left empty.

    Empty, not out: what stood on either side of them does not follow each other.
    """
    from bench.corpus.store import TokenStore
    from bench.corpus.tokenizer import TextTokenizer, sentence_starts

    manifest = json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))
    if not manifest["has_heldout"]:
        raise BenchError(f"the corpus {manifest['corpus']} is one document: nothing is held out")
    tokenizer = TextTokenizer.from_file(prepared / "tokenizer.json")
    store = TokenStore.open(prepared / "heldout")
    unknown = tokenizer.token(tokenizer.vocabulary.unk_id)
    found = []
    for begin, end in zip(store.documents, store.documents[1:], strict=False):
        text = tokenizer.decode(store.tokens[begin : end - 1])  # without its [SEP]
        bounds = [*sentence_starts(text), len(text)]
        sentences = (text[a:b].strip() for a, b in itertools.pairwise(bounds))
        found.append(tuple("" if unknown in one else one for one in sentences))
    return found


def _text_hash(document: Document) -> bytes:
    return hashlib.sha256("\n".join(document).encode("utf-8", "surrogatepass")).digest()
