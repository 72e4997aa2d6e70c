"""A look at an objective as lines for a terminal: readable with colours and without.

Where the order of the text is kept, a token, what the encoder sees in its place and what is asked
there stand in one column; where tokens moved, text and input follow each other as paragraphs. Marks
say what colours say, for whoever has none; what a token holds is escaped, because a corpus is a
stranger's text and a terminal obeys control characters.
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
    from bench.showing.examples import Shown, ShownRow

CONTINUES = "\u00b7"
"""Stands before a token that continues a word."""
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


def row_lines(row: ShownRow, tokenizer: TextTokenizer, width: int) -> Iterator[Text]:
    """One row: title, its tokens in blocks, and a legend of what happened."""
    shown = row.trace
    yield Text(f"{row.title} ({_about(shown)})", style="bold")
    writer = _Writer(shown, row.filled, tokenizer)
    if shown.moved.any():
        for name, cells in (("text", writer.text()), ("input", writer.inputs())):
            yield from _paragraph(name, cells, width)
    else:
        yield from _blocks(writer.columns(), width)
    if shown.read_at is None:
        yield from _paragraph("target", writer.sequence(), width)
    yield Text(_legend(shown), style="dim")
    if row.filled is not None:
        yield Text(
            "filled: what reaches the encoder once the objective's own head, untrained here, has "
            "filled it in",
            style="dim",
        )


class _Writer:
    """Turns a trace of one row into cells."""

    def __init__(self, trace: Trace, filled: Trace | None, tokenizer: TextTokenizer) -> None:
        self._trace, self._filled, self._tokenizer = trace, filled, tokenizer
        self._continues = (trace.real & ~trace.word_start)[0]
        targets, labels = trace.targets[0], trace.labels[0]
        self._asked = [
            (int(i), int(labels[i]), int(targets[i])) for i in np.flatnonzero(labels != IGNORED)
        ]

    def spell(self, token: int, position: int = -1) -> str:
        """A token; `position` is its place in the text, if it has one."""
        size = self._tokenizer.vocabulary.size
        if token >= size:
            return f"<extra_id_{token - size}>"
        spelt = printable(self._tokenizer.token(token))
        return f"{CONTINUES}{spelt}" if position >= 0 and self._continues[position] else spelt

    def text_cell(self, position: int) -> Cell:
        moved = self._trace.moved[0, position]
        style = MOVED if moved else self._style(self._trace, position)
        return self.spell(self._trace.tokens[0, position], position), style

    def input_cell(self, at: int, trace: Trace | None = None) -> Cell:
        trace = trace or self._trace
        token, origin = int(trace.inputs[0, at]), int(trace.origins[0, at])
        if origin < 0:
            is_own = token >= self._tokenizer.vocabulary.size
            return self.spell(token) if is_own else f"+{self.spell(token)}", INSERTED
        state = State(trace.state[0, origin])
        is_same = token == trace.tokens[0, origin]
        mark = "" if state == State.KEPT and trace.asks_all[0] else MARKS.get(state, "")
        moved = trace.moved[0, origin] and state != State.HIDDEN
        spelt = self.spell(token, origin if is_same else -1)
        style = MOVED if moved and is_same else self._style(trace, origin)
        return f"{'~' if moved else ''}{mark}{spelt}", style

    def text(self) -> list[Cell]:
        return [self.text_cell(int(o)) for o in np.flatnonzero(self._trace.attention_mask[0])]

    def inputs(self) -> list[Cell]:
        return [
            self.input_cell(int(i)) for i in np.flatnonzero(self._trace.inputs_attention_mask[0])
        ]

    def sequence(self) -> list[Cell]:
        """The labels as a decoder writes them."""
        if self._trace.asks_all[0] and not self._trace.state[0].any():
            return [("the whole text", "")]
        return [
            (self.spell(label, of), self._style(self._trace, of)) for _, label, of in self._asked
        ]

    def columns(self) -> list[list[Cell]]:
        """(text, input, filled, target) cells of each column; the order of the text is kept."""
        asked = {}
        if (read_at := self._trace.read_at) is not None:
            for slot, label, of in self._asked:
                asked[int(read_at[0, slot])] = self._label_cell(label, of)
        found = []
        for position, at in _aligned(self._trace):
            above = ("", "") if position is None else self.text_cell(position)
            below = ("-", STYLES[State.REMOVED]) if at is None else self.input_cell(at)
            filled = ("", "")
            if self._filled is not None and at is not None:
                filled = self.input_cell(at, self._filled)
            found.append([above, below, filled, asked.get(-1 if at is None else at, ("", ""))])
        return found

    def _label_cell(self, label: int, of: int) -> Cell:
        return self.spell(label, of), self._style(self._trace, of)

    def _style(self, trace: Trace, position: int) -> str:
        state = State(trace.state[0, position]) if position >= 0 else State.PLAIN
        return "" if state == State.KEPT and trace.asks_all[0] else STYLES[state]


def _aligned(trace: Trace) -> Iterator[tuple[int | None, int | None]]:
    """Pairs of a position of the text and one of the input, either of them None at times.

    What was inserted stands below what was removed there: a sentinel below its span.
    """
    attention_mask = np.flatnonzero(trace.attention_mask[0]).tolist()
    inserted: list[int] = []
    done = 0
    for at in np.flatnonzero(trace.inputs_attention_mask[0]).tolist():
        origin = int(trace.origins[0, at])
        if origin < 0:
            inserted.append(at)
            continue
        where = attention_mask.index(origin, done)
        yield from itertools.zip_longest(attention_mask[done:where], inserted)
        yield origin, at
        done, inserted = where + 1, []
    yield from itertools.zip_longest(attention_mask[done:], inserted)


def printable(spelt: str) -> str:
    """A token without its blanks around; what would move the cursor is escaped."""
    bare = spelt.strip() or spelt
    if not bare or bare.isspace():
        return repr(bare)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in bare)


def _blocks(columns: Sequence[Sequence[Cell]], width: int) -> Iterator[Text]:
    """Columns side by side, wrapped, a line for each of their cells; empty lines are left out."""
    names = ("text", "input", "filled", "target")
    for block in _wrapped([max(cell_len(c[0]) for c in column) for column in columns], width):
        for line, name in enumerate(names):
            if any(columns[at][line][0] for at, _ in block):
                out = Text.assemble((name.ljust(_GUTTER), "dim"))
                for at, size in block:
                    spelt, style = columns[at][line]
                    out.append(spelt, style)
                    out.append(" " * (size - cell_len(spelt) + 1))
                out.rstrip()
                yield out
        yield Text("")


def _paragraph(name: str, cells: Sequence[Cell], width: int) -> Iterator[Text]:
    for number, block in enumerate(_wrapped([cell_len(spelt) for spelt, _ in cells], width)):
        out = Text.assemble((("" if number else name).ljust(_GUTTER), "dim"))
        for at, _ in block:
            out.append(*cells[at]).append(" ")
        out.rstrip()
        yield out
    yield Text("")


def _wrapped(sizes: Iterable[int], width: int) -> list[list[tuple[int, int]]]:
    """Indices and sizes, a list for each line of cells that fit into the width."""
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
    """Size and attention of a row."""
    pattern, prefix = trace.attention.pattern, trace.attention.prefix_lengths
    num_seen = 0 if prefix is None else int(prefix[0])
    if pattern == "full" or num_seen >= trace.inputs_attention_mask[0].sum():
        seen = "all see all"
    elif num_seen > 1:
        seen = f"the first {num_seen} are seen by all, then each sees what is to its left"
    else:
        seen = "each sees what is to its left"
    return f"{int(trace.real[0].sum())} ordinary tokens; {seen}"


def _legend(trace: Trace) -> str:
    """What happened, counted, with the marks that say so."""
    state, real = trace.state[0], trace.real[0]
    kept = 0 if trace.asks_all[0] else int(((state == State.KEPT) & real).sum())
    own = trace.inserted[0]
    parts = [
        (int(((state == State.HIDDEN) & real).sum()), "hidden"),
        (int(((state == State.REPLACED) & real).sum()), "replaced (*)"),
        (kept, "predicted though shown (=)"),
        (int(((state == State.REMOVED) & real).sum()), "removed (-)"),
        (int(own.sum()), "inserted (+)"),
        (int((trace.moved[0] & real).sum()), "moved (~)"),
    ]
    said = [f"{count} {what}" for count, what in parts if count]
    if not said and not (trace.labels[0] != IGNORED).any():
        return "nothing is hidden and nothing asked for: of this row it learns nothing"
    num_labels = int((trace.labels[0] != IGNORED).sum())
    asked = f"{num_labels} {'to be written' if trace.read_at is None else 'asked for'}"
    if trace.asks_all[0]:
        asked = "every ordinary token is asked for"
    if ((state == State.AHEAD) & real).any() or _is_shifted(trace):
        asked += ", each one position to the left of where it stands"
    return "; ".join([*(said or ["nothing is hidden"]), asked])


def _is_shifted(trace: Trace) -> bool:
    """Whether labels are read to the left of the tokens they ask for."""
    if trace.read_at is None:
        return False
    known = (trace.targets[0] >= 0) & (trace.labels[0] != IGNORED)
    read = trace.origins[0][trace.read_at[0][known]]
    return bool(len(read)) and bool((read == trace.targets[0][known] - 1).all())


def shown_lines(shown: Shown, width: int) -> Iterator[Text]:
    """Everything `bench show` prints."""
    objective = shown.objective
    yield Text(f"{objective.name}: {objective.summary} ({objective.source})", style="bold")
    settings = ", ".join(f"{name}={value}" for name, value in as_mapping(objective).items())
    look = shown.look
    yield Text(f"settings: {settings or 'none'}; seed {look.seed}, progress {look.progress:g}")
    yield from (Text(f"note: {note}") for note in shown.notes)
    yield Text("")
    for row, before in zip(shown.rows, [None, *shown.rows], strict=False):
        if before is not None and before.is_like(row):
            yield Text(f"{row.title}: the same", style="bold")
        else:
            yield from row_lines(row, shown.tokenizer, width)
        yield Text("")
    yield from (Text(line) for line in count_lines(shown.figures, shown.sample))
