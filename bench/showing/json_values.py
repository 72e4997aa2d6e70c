"""The output of `bench show --json`: plain values with stable keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.pretraining.batch import IGNORED
from bench.settings import as_mapping
from bench.showing import corruption_statistics
from bench.showing.trace import State, Trace

if TYPE_CHECKING:
    from bench.corpus.tokenizer import TextTokenizer
    from bench.showing.examples import Demonstration


def as_json(demonstration: Demonstration) -> dict[str, Any]:
    """The rows and the statistics."""
    return {
        "objective": demonstration.objective.name,
        "settings": as_mapping(demonstration.objective),
        "seed": demonstration.options.seed,
        "progress": demonstration.options.progress,
        "notes": demonstration.notes,
        "other_predictions": demonstration.objective.other_predictions,
        "rows": [
            {"title": row.title, **_row(row.trace, row.filled, demonstration.tokenizer)}
            for row in demonstration.rows
        ],
        "sample": demonstration.sample,
        "realised": corruption_statistics.as_json(demonstration.statistics),
    }


def _row(trace: Trace, filled: Trace | None, tokenizer: TextTokenizer) -> dict[str, Any]:
    """One row: the tokens of the text, the inputs and the labels.

    `place` is a position in the text, -1 if there is none.
    """

    def spell(token: int) -> str:
        sentinel = token - tokenizer.vocabulary.size
        return f"<extra_id_{sentinel}>" if sentinel >= 0 else tokenizer.token(token)

    prefix = trace.attention.prefix_lengths
    text_at = np.flatnonzero(trace.attention_mask[0])
    input_at = np.flatnonzero(trace.inputs_attention_mask[0])
    return {
        "attention": trace.attention.pattern,
        "prefix": None if prefix is None else int(prefix[0]),
        "text": [
            {
                "token": spell(int(trace.tokens[0, at])),
                "ordinary": bool(trace.real[0, at]),
                "state": State(trace.state[0, at]).name.lower(),
                "predicted": bool(trace.predicted[0, at]),
                "moved": bool(trace.moved[0, at]),
            }
            for at in text_at
        ],
        "input": [
            {"token": spell(int(trace.inputs[0, at])), "place": int(trace.origins[0, at])}
            for at in input_at
        ],
        "filled": None if filled is None else [spell(int(filled.inputs[0, at])) for at in input_at],
        "labels": [
            {
                "token": spell(int(trace.labels[0, slot])),
                "place": int(trace.targets[0, slot]),
                "read_at": None if trace.read_at is None else int(trace.read_at[0, slot]),
            }
            for slot in np.flatnonzero(trace.labels[0] != IGNORED)
        ],
    }
