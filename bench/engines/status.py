"""`bench status`: the jobs of a folder of records as a table, whatever engine runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engines.job_files import LOST_SECONDS, JobProgress

_WIDTH = 100


def render(jobs: Sequence[JobProgress], out: Path) -> str:
    """A line for each job that is not finished, and the counts."""
    if not jobs:
        return f"no jobs in {out}/jobs; `bench run` and `bench prepare` write them"
    counts = Counter(job.status for job in jobs)
    lines = [", ".join(f"{count} {status}" for status, count in sorted(counts.items()))]
    unfinished = [job for job in jobs if job.status != "finished"]
    width = max((len(job.title) for job in unfinished), default=0)
    for job in unfinished:
        share = "" if job.share is None else f"{job.share:4.0%}"
        rate = (
            "" if job.tokens_per_second is None else f"{job.tokens_per_second / 1e3:.1f}k tokens/s"
        )
        facts = (job.host if job.status in ("running", "lost") else "", rate, job.detail)
        line = f"  {job.title:{width}}  {job.status:8} {share:4}  " + "  ".join(filter(None, facts))
        lines.append(line.rstrip()[:_WIDTH] if job.status != "failed" else line.rstrip())
    if counts["lost"]:
        lines.append(
            f"lost: no sign of the process for {LOST_SECONDS:.0f} seconds; the same command, or "
            "`bench work JOB.json`, resumes the run"
        )
    return "\n".join(lines)


def to_json(jobs: Sequence[JobProgress]) -> list[dict[str, Any]]:
    """The same as plain values."""
    names = ("id", "title", "status", "share", "tokens_per_second", "host", "run_id", "exit_code")
    return [
        {**{name: getattr(job, name) for name in names}, "detail": job.detail or None}
        for job in jobs
    ]
