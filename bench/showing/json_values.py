"""A look at an objective as plain values for `--json`, with keys that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.pretraining.batch import IGNORED
from bench.settings import as_mapping
from bench.showing import figures
from bench.showing.trace import State, Trace

if TYPE_CHECKING:
    from bench.corpus.tokenizer import TextTokenizer
    from bench.showing.examples import Shown


def as_json(shown: Shown) -> dict[str, Any]:
    """The rows and the figures."""
    return {
        "objective": shown.objective.name,
        "settings": as_mapping(shown.objective),
        "seed": shown.look.seed,
        "progress": shown.look.progress,
        "notes": shown.notes,
        "rows": [
            {"title": row.title, **_row(row.trace, row.filled, shown.tokenizer)}
            for row in shown.rows
        ],
        "sample": shown.sample,
        "realised": figures.as_json(shown.figures),
    }


def _row(trace: Trace, filled: Trace | None, tokenizer: TextTokenizer) -> dict[str, Any]:
    """One row: each token of the text, each input, each label; places are positions of the text."""

    def spell(token: int) -> str:
        sentinel = token - tokenizer.vocabulary.size
        return f"<extra_id_{sentinel}>" if sentinel >= 0 else tokenizer.token(token)

    prefix = trace.attention.prefix_lengths
    here = np.flatnonzero(trace.attention_mask[0])
    fed = np.flatnonzero(trace.inputs_attention_mask[0])
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
            for at in here
        ],
        "input": [
            {"token": spell(int(trace.inputs[0, at])), "place": int(trace.origins[0, at])}
            for at in fed
        ],
        "filled": None if filled is None else [spell(int(filled.inputs[0, at])) for at in fed],
        "labels": [
            {
                "token": spell(int(trace.labels[0, slot])),
                "place": int(trace.targets[0, slot]),
                "read_at": None if trace.read_at is None else int(trace.read_at[0, slot]),
            }
            for slot in np.flatnonzero(trace.labels[0] != IGNORED)
        ],
    }
