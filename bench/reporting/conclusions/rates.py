"""Objectives that asked for another share of the tokens than their settings say."""

from __future__ import annotations

from bench.pretraining.corruption.realised import RealisedRate
from bench.reporting.table import Table


def rate_warnings(table: Table) -> list[str]:
    """The warnings that the runs had before training, each once."""
    warnings = [
        f"ASKED FOR SOMETHING ELSE: {warning}"
        for row in table.rows
        if row.attention == "native"
        for run in row.runs
        for rate in run.data.get("realised_rates", [])
        for warning in RealisedRate(**rate).warnings()
    ]
    return list(dict.fromkeys(warnings))
