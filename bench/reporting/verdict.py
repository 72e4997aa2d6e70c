"""The verdict: sentences that say what a table supports.

The sentences are built from the annotations of the table alone, so they never claim more than the
table shows.
"""

from __future__ import annotations

from bench.reporting.formatting import listing, quoted
from bench.reporting.table import Row, Table


def verdict(table: Table) -> str:
    """The main conclusion of a table: over all tasks together if possible, else by task."""
    trained = _trained(table)
    if not table.aggregates or len({row.runs for row in trained}) < 2:
        return _by_task(table)
    overall = table.aggregates[0]
    if max(overall.seeds) < 2:
        return _by_task(table)
    rivals = [name for name in overall.rows if name in {row.name for row in trained}]
    best = max(rivals, key=lambda name: overall.of(name)[0].mean)
    equal = [
        name
        for name in rivals
        if name != best and {*overall.letters[best]} & {*overall.letters[name]}
    ]
    scope = f"over {len(overall.tasks)} tasks together"
    count = len({row.runs for row in trained if row.name in rivals})
    if not equal:
        return (
            f"{quoted(best)} is the best of {count} objectives {scope}: it is significantly "
            "different from each of the others."
        )
    return (
        f"No objective is significantly the best {scope}: {quoted(best)} has the highest mean of "
        f"{count} objectives, but is not distinguishable from {listing(equal)}."
    )


def support(table: Table) -> list[str]:
    """Further sentences: the conclusions by task, and the comparison with the untrained encoder."""
    sentences = [_by_task(table), _above_untrained(table)]
    return [sentence for sentence in sentences if sentence and sentence != verdict(table)]


def _trained(table: Table) -> list[Row]:
    return [row for row in table.rows if row.is_ranked]


def _by_task(table: Table) -> str:
    """The conclusions task by task."""
    trained = _trained(table)
    columns = [column.name for column in table.columns]
    if not trained:
        return "No pretrained objective finished, so there is nothing to compare."
    if not columns:
        return "No task was scored, so the objectives cannot be compared."
    total, any_of = _total(table)
    if max(len(row.finished) for row in trained) == 1:
        return (
            f"With one seed, no difference between objectives is significant on {any_of}; another "
            "seed may reverse every difference."
        )
    runs = {row.runs for row in trained}
    if len(runs) == 1:
        return _against_untrained(table, trained[0])
    wins: dict[str, list[str]] = {}
    for column, winner in table.best.items():
        wins.setdefault(winner, []).append(column)
    if not wins:
        return (
            f"None of the {len(runs)} objectives is significantly better than all others on "
            f"{any_of}."
        )
    text = "; ".join(
        f"{quoted(winner)} is significantly better than all others on {_part(table, won, total)}"
        for winner, won in wins.items()
    )
    rest = len(columns) - len(table.best)
    return text + (f"; on the other {rest}, no objective is." if rest else ".")


def _total(table: Table) -> tuple[str, str]:
    """All columns of a table in words: `7 tasks`, and `any of the 7 tasks`."""
    count = len(table.columns)
    is_by_task = len({column.task for column in table.columns}) == count
    noun = "task" if is_by_task else "task metric"
    if count == 1:
        return f"the one {noun}", f"the one {noun}"
    return f"{count} {noun}s", f"any of the {count} {noun}s"


def _part(table: Table, names: list[str], total: str) -> str:
    """Some columns of a table in words: `2 of 7 tasks (sense and agreement)`."""
    if len(names) < len(table.columns):
        return f"{len(names)} of {total} ({listing(names)})"
    return total if len(names) == 1 else f"all {total}"


def _against_untrained(table: Table, row: Row) -> str:
    """The sentence for a single objective: the comparison with the untrained encoder."""
    (total, any_of), name = _total(table), quoted(row.name)
    untrained = next((other for other in table.rows if other.kind == "untrained"), None)
    if untrained is None:
        return f"{name} is the only objective, and there is no untrained encoder beside it."
    names = [column.name for column in table.columns]
    differences = {n: table.difference(row.name, untrained.name, n) for n in names}
    significant = {
        column: difference.mean > 0
        for column, difference in differences.items()
        if difference and difference.is_significant
    }
    if not significant:
        return f"{name} is not distinguishable from {untrained.name} on {any_of}."
    parts = [
        f"significantly {word} {untrained.name} on {_part(table, part, total)}"
        for word, is_above in (("above", True), ("below", False))
        if (part := [column for column, above in significant.items() if above is is_above])
    ]
    rest = len(differences) - len(significant)
    tail = f"; on the other {rest} the two are not distinguishable" if rest else ""
    return f"{name} is {' and '.join(parts)}{tail}."


def _above_untrained(table: Table) -> str | None:
    """On how many columns each objective is above the untrained encoder; None if unknown."""
    untrained = next((row.name for row in table.rows if row.kind == "untrained"), None)
    trained = _trained(table)
    if untrained is None or not table.columns or len({row.runs for row in trained}) < 2:
        return None
    counts = []
    for row in trained:
        pairs = (table.difference(row.name, untrained, column.name) for column in table.columns)
        known = [difference for difference in pairs if difference is not None]
        above = sum(difference.is_significant and difference.mean > 0 for difference in known)
        counts.append((above, f"{quoted(row.name)} on {above} of {len(known)}"))
    counts.sort(key=lambda pair: -pair[0])
    return f"Significantly above {untrained}: {listing([text for _, text in counts], 8)}."
