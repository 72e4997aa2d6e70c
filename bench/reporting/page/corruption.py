"""What each objective of a table really does to text: an example and its realised figures.

Nothing of it is in the records; it is drawn again from the corpus, which the cache may hold under
the hashes that the records do. Where it does not, or the objective is not installed here any more,
the report says so and goes without: a page must not need a download.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.corpus.preparation import PreparedCorpus
    from bench.pretraining.objective import Objective
    from bench.records.store import RunRecord
    from bench.registry import Registry
    from bench.reporting.table import Row, Table

ROWS = 256
"""Of the corpus that figures are counted over."""
_LONGEST_EXAMPLE = 240


@dataclasses.dataclass(frozen=True)
class Piece:
    """A token as a page shows it."""

    text: str
    kind: str
    """`plain`, `hidden`, `replaced`, `kept`, `ahead`, `removed`, `inserted` or `moved`."""


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One objective at work."""

    label: str
    summary: str
    source: str
    inputs: list[Piece]
    asked: str
    """What it must predict, in words."""
    figures: dict[str, str]
    """Heading -> realised figure, the nominal one in brackets."""


@dataclasses.dataclass(frozen=True)
class Corruptions:
    """All that could be shown, and what could not."""

    shown: list[Corruption]
    text: str
    """The passage that all were shown."""
    sample: str
    missing: list[str]
    """Sentences."""


def corruptions(
    table: Table, registry: Registry, code_of: Callable[[Objective], str]
) -> Corruptions:
    """Look at every pretrained objective of a table.

    Args:
        table: For its runs.
        registry: The objectives installed here.
        code_of: The sha256 of an objective's code, as a run records it.
    """
    entries = [e for e in table.rows if e.kind == "trained" and e.attention == "native"]
    if not entries:
        return Corruptions([], "", "", [])
    try:
        prepared = _prepared(entries[0].runs[0])
    except BenchError as error:
        return Corruptions([], "", "", [f"The corpus in the cache cannot be used: {error}."])
    if prepared is None:
        reason = (
            "The corpus of these runs is not in the cache of the machine that made this page, so "
            "no example can be drawn from it; bench show OBJECTIVE draws them where it is."
        )
        return Corruptions([], "", "", [reason])
    shown, missing, sample = [], [], ""
    length = entries[0].runs[0].data["spec"].get("encoder", {}).get("max_length", 64)
    text = _example(prepared, length)
    for entry in entries:
        try:
            found, sample = _corruption(entry, prepared, text, registry, code_of)
            shown.append(found)
        except BenchError as error:
            missing.append(f"{entry.name} cannot be shown: {error}.")
    return Corruptions(shown, text, sample, missing)


def _prepared(run: RunRecord) -> PreparedCorpus | None:
    from bench.corpus.preparation import default_cache, open_prepared, stores_of

    hashes = run.data["corpus_sha256"], run.data["tokenizer_sha256"]
    folder = stores_of(default_cache(), *hashes)
    return None if folder is None else open_prepared(folder)


def _corruption(
    entry: Row,
    prepared: PreparedCorpus,
    text: str,
    registry: Registry,
    code_of: Callable[[Objective], str],
) -> tuple[Corruption, str]:
    from bench.settings import from_mapping
    from bench.showing.examples import Look, show
    from bench.showing.json_values import as_json
    from bench.spec import EncoderShape

    data = entry.runs[0].data
    cls = registry.get("objective", entry.objective)
    objective = from_mapping(cls, data["settings"], entry.objective)
    if code_of(objective) != data["spec"].get("objective_code"):
        raise BenchError("its code here is not the code that made these runs")
    shape = from_mapping(EncoderShape, data["spec"].get("encoder") or {}, "encoder")
    look = Look(text=text, rows=1, sample=ROWS)
    plain = as_json(show(objective, prepared, shape, look))
    row, realised = plain["rows"][0], plain["realised"]
    return Corruption(
        label=entry.name,
        summary=cls.summary,
        source=cls.source,
        inputs=_inputs(row),
        asked=_asked(row),
        figures=_figures(realised),
    ), str(plain["sample"])


def _example(prepared: PreparedCorpus, length: int) -> str:
    """The first sentences of the held-out part, so that all objectives are shown one text."""
    import numpy as np

    from bench.corpus.tokenizer import sentence_starts

    store, vocabulary = prepared.heldout or prepared.train, prepared.tokenizer.vocabulary
    rows = store.rows(np.arange(1), length, vocabulary.cls_id, vocabulary.pad_id)
    tokens = rows.tokens[0][rows.real[0]][: length - 2]  # a sentence by itself ends in [SEP]
    text = prepared.tokenizer.decode(tokens.tolist()).strip()
    if len(text) <= _LONGEST_EXAMPLE:
        return text
    ends = [at for at in sentence_starts(text) if _LONGEST_EXAMPLE // 4 < at <= _LONGEST_EXAMPLE]
    return text[: max(ends, default=_LONGEST_EXAMPLE)].strip()


def _inputs(row: dict[str, Any]) -> list[Piece]:
    """What the encoder meets, each token with the blank that stands before it in the text."""
    text, pieces = row["text"], []
    asks_all = _asks_all(row)
    for shown in row["input"]:
        token, place = shown["token"], shown["place"]
        if not 0 <= place < len(text):
            pieces.append(Piece(f" {token.strip()}", "inserted"))
        elif text[place]["ordinary"] or token != text[place]["token"]:
            blank = " " if text[place]["token"].startswith(" ") else ""
            state = text[place]["state"]
            if state == "plain" or (asks_all and state in ("kept", "ahead")):
                state = "moved" if text[place]["moved"] else "plain"
            pieces.append(Piece(blank + token.strip(" "), state))
    return pieces


def _asks_all(row: dict[str, Any]) -> bool:
    """Every token is predicted, so that being predicted marks none."""
    return all(token["predicted"] for token in row["text"] if token["ordinary"])


def _asked(row: dict[str, Any]) -> str:
    labels = row["labels"]
    if not labels:
        return "nothing"
    if _asks_all(row):
        is_ahead = any(token["state"] == "ahead" for token in row["text"])
        return "every token, from those to its left" if is_ahead else "every token"
    if labels[0]["read_at"] is not None:  # read off the input, in no order; else a sequence
        labels = sorted(labels, key=lambda label: label["place"])
    return " \u00b7 ".join(label["token"].strip() or "blank" for label in labels)


def _figures(realised: dict[str, Any]) -> dict[str, str]:
    """The figures of one row of the table of realised corruption."""
    shares, nominal, runs = realised["shares"], realised["nominal"], realised["runs"]

    def share(value: float, key: str) -> str:
        return f"{value:.1%}" + (f" ({nominal[key]:.1%})" if key in nominal else "")

    mean = {unit: runs[unit]["mean"] for unit in ("words", "tokens")}
    return {
        "predicted": share(shares["predicted"], "predicted"),
        "corrupted": share(shares["corrupted"], "corrupted"),
        **{
            f"shown as {what}": share(realised["treatment"][key], key)
            for key, what in (("mask", "mask"), ("random", "another"), ("kept", "itself"))
        },
        "mean run, words": "-" if mean["words"] is None else f"{mean['words']:.2f}",
        "mean run, tokens": "-" if mean["tokens"] is None else f"{mean['tokens']:.2f}",
        "words cut": f"{realised['cut_words']:.1%}",
    }
