"""The output of `bench show` as lines for a terminal, readable with colours and without.

If the order of the text does not change, each column holds a token, its input and its target. If
tokens moved, the text and the input are two paragraphs. Each colour has a mark with the same
meaning, for terminals without colours. Control characters in tokens are escaped, because the
terminal would obey those in the text of a corpus.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from bench.pretraining.batch import IGNORED
from bench.settings import as_mapping
from bench.showing.counts import count_lines
from bench.showing.trace import State, Trace

if TYPE_CHECKING:
    from bench.corpus.tokenizer import TextTokenizer
    from bench.showing.examples import Demonstration, DemonstrationRow

CONTINUES = "\u00b7"
"""The mark before a token that continues a word."""
STYLES = {
    State.PLAIN: "",
    State.HIDDEN: "bold magenta",
    State.REPLACED: "bold red",
    State.KEPT: "green",
    State.AHEAD: "cyan",
    State.REMOVED: "red",
}
INSERTED, MOVED = "bold yellow", "blue"
MARKS = {State.REPLACED: "*", State.KEPT: "="}
_GUTTER = 8

Cell = tuple[str, str]
"""Text and style."""


def row_lines(
    row: DemonstrationRow, tokenizer: TextTokenizer, width: int, other_predictions: str = ""
) -> Iterator[Text]:
    """One row: title, tokens in blocks, and a summary with the marks.

    Args:
        row: The row.
        tokenizer: Spells the tokens.
        width: Columns of the terminal.
        other_predictions: `Objective.other_predictions`.
    """
    yield Text(f"{row.title} ({_about(row.trace)})", style="bold")
    writer = _Writer(row.trace, row.filled, tokenizer)
    if row.trace.moved.any():
        for name, cells in (("text", writer.text()), ("input", writer.inputs())):
            yield from _paragraph(name, cells, width)
    else:
        yield from _blocks(writer.columns(), width)
    if row.trace.read_at is None and row.trace.labels.shape[1]:
        yield from _paragraph("target", writer.sequence(), width)
    yield Text(_summary(row.trace, other_predictions), style="dim")
    if row.filled is not None:
        yield Text(
            "filled: the input of the encoder, filled in by the head of the objective, which is "
            "untrained here",
            style="dim",
        )


class _Writer:
    """Converts a trace of one row into cells."""

    def __init__(self, trace: Trace, filled: Trace | None, tokenizer: TextTokenizer) -> None:
        self._trace, self._filled, self._tokenizer = trace, filled, tokenizer
        self._continues = (trace.real & ~trace.word_start)[0]
        targets, labels = trace.targets[0], trace.labels[0]
        self._labels = [
            (int(i), int(labels[i]), int(targets[i])) for i in np.flatnonzero(labels != IGNORED)
        ]

    def spell(self, token: int, position: int = -1) -> str:
        """The spelling of a token; `position` is its position in the text, -1 if it has none."""
        size = self._tokenizer.vocabulary.size
        if token >= size:
            return f"<extra_id_{token - size}>"
        text = printable(self._tokenizer.token(token))
        return f"{CONTINUES}{text}" if position >= 0 and self._continues[position] else text

    def text_cell(self, position: int) -> Cell:
        moved = self._trace.moved[0, position]
        style = MOVED if moved else self._style(self._trace, position)
        return self.spell(self._trace.tokens[0, position], position), style

    def input_cell(self, at: int, trace: Trace | None = None) -> Cell:
        trace = trace or self._trace
        token, origin = int(trace.inputs[0, at]), int(trace.origins[0, at])
        if origin < 0:
            is_sentinel = token >= self._tokenizer.vocabulary.size
            return self.spell(token) if is_sentinel else f"+{self.spell(token)}", INSERTED
        state = State(trace.state[0, origin])
        is_same = token == trace.tokens[0, origin]
        mark = "" if state == State.KEPT and trace.predicts_all[0] else MARKS.get(state, "")
        moved = trace.moved[0, origin] and state != State.HIDDEN
        text = self.spell(token, origin if is_same else -1)
        style = MOVED if moved and is_same else self._style(trace, origin)
        return f"{'~' if moved else ''}{mark}{text}", style

    def text(self) -> list[Cell]:
        return [self.text_cell(int(o)) for o in np.flatnonzero(self._trace.attention_mask[0])]

    def inputs(self) -> list[Cell]:
        return [
            self.input_cell(int(i)) for i in np.flatnonzero(self._trace.inputs_attention_mask[0])
        ]

    def sequence(self) -> list[Cell]:
        """The labels that a decoder generates."""
        if self._trace.predicts_all[0] and not self._trace.state[0].any():
            return [("the whole text", "")]
        return [
            (self.spell(label, of), self._style(self._trace, of)) for _, label, of in self._labels
        ]

    def columns(self) -> list[list[Cell]]:
        """The cells (text, input, filled, target) of each column, in order of the text."""
        targets = {}
        if (read_at := self._trace.read_at) is not None:
            for slot, label, of in self._labels:
                targets[int(read_at[0, slot])] = self._label_cell(label, of)
        columns = []
        for position, at in _align(self._trace):
            above = ("", "") if position is None else self.text_cell(position)
            below = ("-", STYLES[State.REMOVED]) if at is None else self.input_cell(at)
            filled = ("", "")
            if self._filled is not None and at is not None:
                filled = self.input_cell(at, self._filled)
            columns.append([above, below, filled, targets.get(-1 if at is None else at, ("", ""))])
        return columns

    def _label_cell(self, label: int, of: int) -> Cell:
        return self.spell(label, of), self._style(self._trace, of)

    def _style(self, trace: Trace, position: int) -> str:
        state = State(trace.state[0, position]) if position >= 0 else State.PLAIN
        return "" if state == State.KEPT and trace.predicts_all[0] else STYLES[state]


def _align(trace: Trace) -> Iterator[tuple[int | None, int | None]]:
    """Pairs of a position of the text and a position of the input; one of them can be None.

    Inserted inputs are paired with the tokens removed there, so a sentinel is below its span.
    """
    positions = np.flatnonzero(trace.attention_mask[0]).tolist()
    inserted: list[int] = []
    start = 0
    for at in np.flatnonzero(trace.inputs_attention_mask[0]).tolist():
        origin = int(trace.origins[0, at])
        if origin < 0:
            inserted.append(at)
            continue
        index = positions.index(origin, start)
        yield from itertools.zip_longest(positions[start:index], inserted)
        yield origin, at
        start, inserted = index + 1, []
    yield from itertools.zip_longest(positions[start:], inserted)


def printable(token: str) -> str:
    """A token without spaces around it; characters that would move the cursor are escaped."""
    text = token.strip() or token
    if not text or text.isspace():
        return repr(text)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _blocks(columns: Sequence[Sequence[Cell]], width: int) -> Iterator[Text]:
    """Columns side by side and wrapped, one line for each kind of cell, without empty lines."""
    names = ("text", "input", "filled", "target")
    for block in _wrap([max(cell_len(c[0]) for c in column) for column in columns], width):
        for line, name in enumerate(names):
            if any(columns[at][line][0] for at, _ in block):
                out = Text.assemble((name.ljust(_GUTTER), "dim"))
                for at, size in block:
                    text, style = columns[at][line]
                    out.append(text, style)
                    out.append(" " * (size - cell_len(text) + 1))
                out.rstrip()
                yield out
        yield Text("")


def _paragraph(name: str, cells: Sequence[Cell], width: int) -> Iterator[Text]:
    for number, block in enumerate(_wrap([cell_len(text) for text, _ in cells], width)):
        out = Text.assemble((("" if number else name).ljust(_GUTTER), "dim"))
        for at, _ in block:
            out.append(*cells[at]).append(" ")
        out.rstrip()
        yield out
    yield Text("")


def _wrap(sizes: Iterable[int], width: int) -> list[list[tuple[int, int]]]:
    """Indices and sizes of cells, one list for each line of cells that fit into the width."""
    blocks: list[list[tuple[int, int]]] = [[]]
    room = 0
    for at, size in enumerate(sizes):
        if blocks[-1] and room < size:
            blocks.append([])
        if not blocks[-1]:
            room = width - _GUTTER
        blocks[-1].append((at, size))
        room -= size + 1
    return blocks if blocks[0] else []


def _about(trace: Trace) -> str:
    """Number of tokens and attention of a row."""
    pattern, prefix = trace.attention.pattern, trace.attention.prefix_lengths
    num_prefix = 0 if prefix is None else int(prefix[0])
    if pattern == "full" or num_prefix >= trace.inputs_attention_mask[0].sum():
        attention = "full attention"
    elif num_prefix > 1:
        attention = f"causal attention, and all positions attend to the first {num_prefix}"
    else:
        attention = "causal attention"
    return f"{int(trace.real[0].sum())} ordinary tokens; {attention}"


def _summary(trace: Trace, other_predictions: str) -> str:
    """Counts of the tokens in each state, with the marks, and of the predictions."""
    state, real = trace.state[0], trace.real[0]
    num_kept = 0 if trace.predicts_all[0] else int(((state == State.KEPT) & real).sum())
    counts = {
        "hidden": int(((state == State.HIDDEN) & real).sum()),
        "replaced (*)": int(((state == State.REPLACED) & real).sum()),
        "predicted but unchanged (=)": num_kept,
        "removed (-)": int(((state == State.REMOVED) & real).sum()),
        "inserted (+)": int(trace.inserted[0].sum()),
        "moved (~)": int((trace.moved[0] & real).sum()),
    }
    parts = [f"{count} {text}" for text, count in counts.items() if count]
    num_labels = int((trace.labels[0] != IGNORED).sum())
    if not parts and not num_labels and other_predictions:
        return f"no token is hidden; predicted: {other_predictions}"
    if not parts and not num_labels:
        return "no token is hidden or predicted, so the objective learns nothing from this row"
    predictions = f"{num_labels} predicted" + (" by the decoder" if trace.read_at is None else "")
    if trace.predicts_all[0]:
        predictions = "every ordinary token is predicted"
    if ((state == State.AHEAD) & real).any() or _is_shifted(trace):
        predictions += ", each from the position to its left"
    if other_predictions:
        predictions += f"; also predicted: {other_predictions}"
    return "; ".join([*(parts or ["no token is hidden"]), predictions])


def _is_shifted(trace: Trace) -> bool:
    """Whether predictions are made one position to the left of their tokens."""
    if trace.read_at is None:
        return False
    known = (trace.targets[0] >= 0) & (trace.labels[0] != IGNORED)
    origins = trace.origins[0][trace.read_at[0][known]]
    return bool(len(origins)) and bool((origins == trace.targets[0][known] - 1).all())


def demonstration_lines(demonstration: Demonstration, width: int) -> Iterator[Text]:
    """The output of `bench show`."""
    objective, options = demonstration.objective, demonstration.options
    yield Text(f"{objective.name}: {objective.summary} ({objective.source})", style="bold")
    settings = ", ".join(f"{name}={value}" for name, value in as_mapping(objective).items())
    settings = settings or "none"
    yield Text(f"settings: {settings}; seed {options.seed}, progress {options.progress:g}")
    yield from (Text(f"note: {note}") for note in demonstration.notes)
    yield Text("")
    for row, previous in zip(demonstration.rows, [None, *demonstration.rows], strict=False):
        if previous is not None and previous.is_same_as(row):
            yield Text(f"{row.title}: the same as above", style="bold")
        else:
            yield from row_lines(row, demonstration.tokenizer, width, objective.other_predictions)
        yield Text("")
    lines = count_lines(demonstration.statistics, demonstration.sample)
    yield from (Text(line) for line in lines)
