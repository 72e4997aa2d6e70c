"""Examples of corruption for a page: how each objective of a table changes a text, with statistics.

The records do not contain examples, so they are made from the corpus. The cache holds the corpus
under the hashes of the records. If it does not, or an objective is not installed, the page says so
and omits the example, because a page must not need a download.
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

SAMPLE_ROWS = 256
"""Maximum number of rows of the corpus for the statistics."""
_MAX_EXAMPLE_LENGTH = 240


@dataclasses.dataclass(frozen=True)
class Piece:
    """A token of an example."""

    text: str
    kind: str
    """`plain`, `hidden`, `replaced`, `kept`, `ahead`, `removed`, `inserted` or `moved`."""


@dataclasses.dataclass(frozen=True)
class Corruption:
    """The example of one objective."""

    display_name: str
    summary: str
    source: str
    inputs: list[Piece]
    predicted: str
    """The tokens that the objective predicts, or a description of them."""
    statistics: dict[str, str]
    """Heading -> realised value, with the nominal value in brackets."""


@dataclasses.dataclass(frozen=True)
class Corruptions:
    """The examples of a table."""

    examples: list[Corruption]
    text: str
    """The text of all examples."""
    is_heldout: bool
    """Whether no objective was trained on the text."""
    sample: str
    """Description of the rows of the statistics."""
    missing: list[str]
    """Sentences about the examples that could not be made."""


def corruptions(
    table: Table, registry: Registry, code_of: Callable[[Objective], str]
) -> Corruptions:
    """Make an example for each pretrained objective of a table.

    Args:
        table: The table, for its runs.
        registry: The installed objectives.
        code_of: Computes the sha256 of an objective's code, as in the record of a run.
    """
    rows = [row for row in table.rows if row.kind == "trained" and row.attention == "native"]
    if not rows:
        return Corruptions([], "", False, "", [])
    try:
        prepared = _prepared_corpus(rows[0].runs[0])
    except BenchError as error:
        reason = f"There are no examples, because the corpus in the cache is not usable: {error}."
        return Corruptions([], "", False, "", [reason])
    if prepared is None:
        reason = (
            "There are no examples, because the corpus of these runs is not in the cache of the "
            "machine that made this page. On a machine with the corpus, bench show OBJECTIVE "
            "shows them."
        )
        return Corruptions([], "", False, "", [reason])
    examples, missing, sample = [], [], ""
    length = rows[0].runs[0].data["spec"].get("encoder", {}).get("max_length", 64)
    text = _example_text(prepared, length)
    for row in rows:
        try:
            example, sample = _corruption(row, prepared, text, registry, code_of)
            examples.append(example)
        except BenchError as error:
            missing.append(f"There is no example of {row.name}: {error}.")
    return Corruptions(examples, text, prepared.heldout is not None, sample, missing)


def _prepared_corpus(run: RunRecord) -> PreparedCorpus | None:
    from bench.corpus.preparation import default_cache, open_prepared, stores_of

    hashes = run.data["corpus_sha256"], run.data["tokenizer_sha256"]
    folder = stores_of(default_cache(), *hashes)
    return None if folder is None else open_prepared(folder)


def _corruption(
    row: Row,
    prepared: PreparedCorpus,
    text: str,
    registry: Registry,
    code_of: Callable[[Objective], str],
) -> tuple[Corruption, str]:
    from bench.settings import from_mapping
    from bench.showing.examples import ShowOptions, show
    from bench.showing.json_values import as_json
    from bench.spec import EncoderShape

    data = row.runs[0].data
    cls = registry.get("objective", row.objective)
    objective = from_mapping(cls, data["settings"], row.objective)
    if code_of(objective) != data["spec"].get("objective_code"):
        raise BenchError("its installed code differs from the code of these runs")
    shape = from_mapping(EncoderShape, data["spec"].get("encoder") or {}, "encoder")
    options = ShowOptions(text=text, rows=1, sample_rows=SAMPLE_ROWS)
    plain = as_json(show(objective, prepared, shape, options))
    shown = plain["rows"][0]
    return Corruption(
        display_name=row.name,
        summary=cls.summary,
        source=cls.source,
        inputs=_inputs(shown),
        predicted=_predicted(shown),
        statistics=_statistics(plain["realised"]),
    ), str(plain["sample"])


def _example_text(prepared: PreparedCorpus, length: int) -> str:
    """The first sentences of the held-out part, or of the only part, for all objectives."""
    import numpy as np

    from bench.corpus.sentences import sentence_starts

    store, vocabulary = prepared.heldout or prepared.train, prepared.tokenizer.vocabulary
    rows = store.rows(np.arange(1), length, vocabulary.cls_id, vocabulary.pad_id)
    tokens = rows.tokens[0][rows.real[0]][: length - 2]  # a text by itself also has [CLS] and [SEP]
    text = prepared.tokenizer.decode(tokens.tolist()).strip()
    if len(text) <= _MAX_EXAMPLE_LENGTH:
        return text
    shortest = _MAX_EXAMPLE_LENGTH // 4
    ends = [at for at in sentence_starts(text) if shortest < at <= _MAX_EXAMPLE_LENGTH]
    return text[: max(ends, default=_MAX_EXAMPLE_LENGTH)].strip()


def _inputs(row: dict[str, Any]) -> list[Piece]:
    """The input of the encoder, each token with the space before it in the text."""
    text, pieces = row["text"], []
    predicts_all = _predicts_all(row)
    for item in row["input"]:
        token, place = item["token"], item["place"]
        if not 0 <= place < len(text):
            pieces.append(Piece(f" {token.strip()}", "inserted"))
        elif text[place]["ordinary"] or token != text[place]["token"]:
            space = " " if text[place]["token"].startswith(" ") else ""
            state = text[place]["state"]
            if state == "plain" or (predicts_all and state in ("kept", "ahead")):
                state = "moved" if text[place]["moved"] else "plain"
            pieces.append(Piece(space + token.strip(" "), state))
    return pieces


def _predicts_all(row: dict[str, Any]) -> bool:
    """Whether every ordinary token is predicted, so that prediction distinguishes no token."""
    return all(token["predicted"] for token in row["text"] if token["ordinary"])


def _predicted(row: dict[str, Any]) -> str:
    labels = row["labels"]
    if not labels:
        return "no token"
    if _predicts_all(row):
        is_ahead = any(token["state"] == "ahead" for token in row["text"])
        return "every token, from the tokens to its left" if is_ahead else "every token"
    if labels[0]["read_at"] is not None:  # not the sequence of a decoder, so order them by position
        labels = sorted(labels, key=lambda label: label["place"])
    return " \u00b7 ".join(label["token"].strip() or "(space)" for label in labels)


def _statistics(realised: dict[str, Any]) -> dict[str, str]:
    """The row of an objective in the table of realised corruption."""
    shares, nominal, runs = realised["shares"], realised["nominal"], realised["runs"]

    def share(value: float, key: str) -> str:
        return f"{value:.1%}" + (f" ({nominal[key]:.1%})" if key in nominal else "")

    means = {unit: runs[unit]["mean"] for unit in ("words", "tokens")}
    treatments = {"mask": "shown as mask", "random": "as another token", "kept": "unchanged"}
    return {
        "predicted": share(shares["predicted"], "predicted"),
        "corrupted": share(shares["corrupted"], "corrupted"),
        **{text: share(realised["treatment"][key], key) for key, text in treatments.items()},
        "mean run, words": "-" if means["words"] is None else f"{means['words']:.2f}",
        "mean run, tokens": "-" if means["tokens"] is None else f"{means['tokens']:.2f}",
        "words chosen only in part": f"{realised['cut_words']:.1%}",
    }
