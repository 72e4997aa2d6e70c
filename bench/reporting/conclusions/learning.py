"""Runs that ended but did not learn: they do not count, and everything says so first.

`bench.records.store` knows the runs whose own losses show it. An objective whose loss has no floor
(replaced tokens, a decoder) is judged by its features: they must be above those of the untrained
encoder on the self-supervised tasks, where these were scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from bench.records.scores import Variant
from bench.records.store import NOT_LEARNED, RunRecord
from bench.reporting.formatting import decimal, listing
from bench.reporting.table import Row, Table

FAR_APART_NATS = 0.5
"""Seeds of one objective whose final losses differ by more have learned different things."""


def judged_by_features(
    runs: Sequence[RunRecord], untrained: Sequence[RunRecord], tasks: Collection[str]
) -> list[RunRecord]:
    """The runs, with those marked whose features are not above the untrained encoder's.

    Args:
        runs: The runs of a table.
        untrained: The untrained encoders to compare with, among `runs` or from another budget.
        tasks: The self-supervised tasks.
    """
    floor: dict[Variant, list[float]] = {}
    for run in [*runs, *untrained]:
        if not run.data["spent"]["tokens"]:
            for task, value in _values(run, tasks).items():
                floor.setdefault(task, []).append(value)
    return [_judged(run, {t: sum(v) / len(v) for t, v in floor.items()}, tasks) for run in runs]


def _judged(run: RunRecord, floor: dict[Variant, float], tasks: Collection[str]) -> RunRecord:
    has_floor = run.data.get("unigram_loss") is not None or not run.data["spent"]["tokens"]
    values = {task: value for task, value in _values(run, tasks).items() if task in floor}
    if has_floor or run.status != "finished" or not values:
        return run
    above = sum(value - floor[task] for task, value in values.items()) / len(values)
    if above > 0:
        return run
    reason = (
        f"its features are {decimal(-above * 100)} points below those of the untrained encoder on "
        f"the self-supervised tasks ({listing(sorted({task for task, *_ in values}))})"
    )
    return dataclasses.replace(run, not_learned=reason)


def _values(run: RunRecord, tasks: Collection[str]) -> dict[Variant, float]:
    """By variant: scores of two versions of a task are not compared."""
    return {
        score.variant: score.data["value"]
        for score in run.scores
        if score.data["task"] in tasks
        and score.data["value"] is not None
        and score.data["attention"] == "native"
    }


def learning_warnings(table: Table) -> list[str]:
    """Facts to know before any score: objectives that did not learn, and seeds far apart."""
    warnings = []
    for row in table.rows:
        if row.attention != "native" or row.kind != "trained":
            continue
        failed = [run for run in row.runs if run.status == NOT_LEARNED]
        if failed:
            seeds = ", ".join(str(run.data["seed"]) for run in failed)
            some = f"seed {seeds}), which is left out of the mean: "
            which = "every seed), which is not ranked: " if not row.is_ranked else some
            warnings.append(
                f"DID NOT LEARN: {row.name} ({which}{failed[0].not_learned}. Raise --budget, or "
                "try other learning rates: --set training.learning_rate="
            )
        warnings += _not_below_checkpoint(row)
        far = _far_apart(row)
        if far is not None:
            warnings.append(
                f"SEEDS FAR APART: {row.name} ended at validation losses of {far}: some seeds have "
                "learned more than others, so its mean says little; raise --budget"
            )
    return warnings


def _not_below_checkpoint(row: Row) -> list[str]:
    """The seeds whose held-out loss is not below that of the checkpoint they continue."""
    pairs = [
        (run.data["init"].get("start_loss"), run.data.get("validation_loss"))
        for run in row.finished
        if run.data.get("init", {}).get("keeps_head")
    ]
    known = [(first, last) for first, last in pairs if first is not None and last is not None]
    worse = [f"{first:.2f} -> {last:.2f}" for first, last in known if last >= first]
    if not worse:
        return []
    advice = "try other learning rates: --set training.learning_rate="
    if any(run.data.get("overfits_from_epoch") is not None for run in row.finished):
        advice = "it overfits, so give it more text or lower --budget"
    return [
        f"NO LOWER LOSS: {row.name} predicts held-out text no better than the checkpoint that it "
        f"continues ({', '.join(worse)} nats); {advice}"
    ]


def _far_apart(row: Row) -> str | None:
    losses = sorted(
        run.data["validation_loss"]
        for run in row.finished
        if run.data.get("validation_loss") is not None and run.data.get("unigram_loss") is not None
    )
    if len(losses) < 2 or losses[-1] - losses[0] <= FAR_APART_NATS:
        return None
    return f"{', '.join(f'{loss:.2f}' for loss in losses)} nats"
