"""Columns of a table: one metric of one task, under one probe."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from bench.records.scores import ScoreRecord, Variant
from bench.records.store import RunRecord

MARGIN = "margin"
"""A further metric of tasks whose other metrics are policies: log-likelihood margins in nats."""
IN_NATS = (MARGIN, "nats_per_token")
"""Metrics in nats, which are never shown x 100."""


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One metric of one task."""

    name: str
    task: str
    metric_key: str | None
    """Key of the metric in the records; None if a score has one value only."""
    metric: str
    chance: float | None
    variant: Variant
    is_headline: bool = True
    """Whether it is the first metric of a task that is ranked."""
    family: str = ""
    limit: int | None = None
    """The number of examples at most (`--limit`)."""
    is_own: bool = False
    """Whether the labels are the user's own (`--task KIND:FILE`)."""
    is_diagnostic: bool = False
    """Whether neither end of the scale is better: no objective is best, and nothing is ranked."""

    @property
    def policy(self) -> str | None:
        """The policy of the metric, if a task has several: `word_l2r`, `cosine`."""
        return None if self.metric_key == self.metric else self.metric_key


def columns_of(runs: list[RunRecord], order: Sequence[str]) -> list[Column]:
    """The columns of a table: each metric of each scored task.

    Args:
        runs: The runs of the table.
        order: The tasks that get columns, in this order; empty: all, in order of appearance.
    """
    by_variant: dict[Variant, list[ScoreRecord]] = {}
    for run in runs:
        for score in run.scores:
            if not order or score.data["task"] in order:
                by_variant.setdefault(score.variant, []).append(score)
    rank = {task: index for index, task in enumerate(order)}
    columns = []
    for variant in sorted(by_variant, key=lambda variant: rank.get(variant[0], 0)):
        siblings = [other for other in by_variant if other[0] == variant[0]]
        name = variant[0] + _suffix(variant, siblings)
        columns += _columns_of_task(name, variant, by_variant[variant])
    return columns


def _columns_of_task(name: str, variant: Variant, scores: list[ScoreRecord]) -> list[Column]:
    metrics = list(dict.fromkeys(metric for score in scores for metric in score.data["metrics"]))
    data = scores[0].data
    columns = []
    for metric_key in metrics or [None]:
        # The keys are policies of one metric, or the task's metric and further metrics by name.
        is_further = metric_key == MARGIN or (
            metric_key is not None and data["metric"] == metrics[0] != metric_key
        )
        columns.append(
            Column(
                name=f"{name} {metric_key}" if len(metrics) > 1 else name,
                task=variant[0],
                metric_key=metric_key,
                metric=metric_key if is_further else data["metric"],
                chance=None if is_further else data["chance"],
                variant=variant,
                is_headline=metric_key in (None, metrics[0] if metrics else None)
                and not data.get("is_diagnostic", False),
                family=data["family"],
                limit=data["probe_settings"].get("limit"),
                is_own=bool(data.get("is_own", False)),
                is_diagnostic=bool(data.get("is_diagnostic", False)),
            )
        )
    return columns


def _suffix(variant: Variant, siblings: list[Variant]) -> str:
    """The difference to other columns of the same task: ` (limit=100, data 1a2b3c4d)`."""
    probes = [json.loads(sibling[2]) for sibling in siblings]
    probe = json.loads(variant[2])
    peers = [other for other in probes if other.get("probe") == probe.get("probe")]
    parts = [
        f"{key}={probe[key]}"
        for key in probe
        if any(other.get(key) != probe[key] for other in (probes if key == "probe" else peers))
        or (key == "limit" and probe[key] is not None)
        or (key == "probe" and probe[key] != "linear")
    ]
    for index, name in ((1, "data"), (3, "code")):
        if any(sibling[index] != variant[index] for sibling in siblings):
            parts.append(f"{name} {variant[index][:8]}")
    return f" ({', '.join(parts)})" if parts else ""


def baselines_of(column: Column, baselines: Sequence[ScoreRecord]) -> dict[str, ScoreRecord]:
    """Baseline -> its score in a column.

    A baseline with the same data, probe and code is preferred to one with the same data only.
    """
    matching: dict[str, ScoreRecord] = {}
    for score in baselines:
        variant, name = score.variant, name_of_baseline(score)
        if variant == column.variant:
            matching[name] = score
        elif variant[:2] == column.variant[:2] and not is_public(score):
            matching.setdefault(name, score)
    return matching


def is_of_corpus(score: ScoreRecord, run: RunRecord) -> bool:
    """Whether a baseline may stand beside a run: a public encoder may have had a stage on a corpus.

    Other baselines, and public encoders as they are, do not depend on the corpus.
    """
    if not is_public(score) or score.data["probe_settings"].get("probe") != "contrastive":
        return True
    stage = score.data["encoder"].get("stage")
    return bool(stage == {key: run.data[key] for key in ("corpus_sha256", "tokenizer_sha256")})


def is_public(score: ScoreRecord) -> bool:
    """Whether a score is that of a public encoder (`--encoder`), which has probes as runs have."""
    return "encoder" in score.data


def name_of_baseline(score: ScoreRecord) -> str:
    """The name of a baseline's row: that of a public encoder ends with a part of its sha256.

    One that predicts the next token, as a run of bench may, says so too.
    """
    encoder = score.data.get("encoder")
    if encoder is None:
        return str(score.data["baseline"])
    scoring = f", {encoder['scoring']}" if "scoring" in encoder else ""
    return f"{encoder['name']} ({encoder['sha256'][:4]}{scoring})"
