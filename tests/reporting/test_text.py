"""Comparisons as text, in all formats.

The golden files are the output of `bench compare` for one small set of records, in each format.
After an intended change, `BENCH_REGENERATE_GOLDEN=1 pytest tests/reporting/test_text.py` writes
them again; read the difference before committing it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.records.scores import read_baselines
from bench.records.store import read_runs
from bench.reporting.formatting import big_number
from bench.reporting.long_form import long_form
from bench.reporting.rendering.terminal import pages
from bench.reporting.table_set import TableSet
from bench.reporting.text import Format, render
from tests.helpers.paths import GOLDEN
from tests.records.test_store import make_run, make_score

FORMATS: dict[Format, str] = {
    "table": "txt",
    "markdown": "md",
    "latex": "tex",
    "csv": "csv",
    "json": "json",
}


def answers(share: float, task: str, who: str, seed: int, count: int = 200) -> list[float]:
    """Correct on about a share of the examples; examples are easy or hard for all objectives."""

    def draw(*parts: object) -> float:
        return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32

    return [
        float(0.6 * draw(task, i) + 0.3 * draw(task, who, i) + 0.1 * draw(task, who, seed, i)
              < 0.15 + 0.7 * share) for i in range(count)
    ]  # fmt: skip


def compare(out: Path, baseline: str | None = None, **keys: Any) -> TableSet:
    return TableSet.from_records(read_runs(out), read_baselines(out), baseline, **keys)


def small(out: Path, levels: dict[str, float], seeds: int = 3, task: str = "sense") -> Path:
    """Objectives that are correct on these shares of one task."""
    for objective, level in levels.items():
        for seed in range(seeds):
            folder = make_run(out, objective, seed, tokens=0 if objective == "untrained" else 1000)
            make_score(folder, task, answers(level, task, objective, seed))
    return out


def row_of(compared: TableSet, name: str, column: str = "sense") -> dict[str, Any]:
    (row,) = [r for r in long_form(compared) if (r["display_name"], r["column"]) == (name, column)]
    return row


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    """Five objectives, three seeds, three tasks, baselines, a diverged run, a second attention."""
    out = tmp_path_factory.mktemp("results")
    levels = {"token": 0.62, "span": 0.8, "causal": 0.5, "rtd": 0.64, "untrained": 0.48}
    for objective, level in levels.items():
        for seed in range(3):
            settings = {"mean_length": 4} if objective == "span" else {}
            name = "span[mean_length=4]" if settings else objective
            failed = (objective, seed) == ("rtd", 1)
            folder = make_run(
                out, objective, seed, name, settings,
                tokens=0 if objective == "untrained" else 2_000_000,
                scoring="causal" if objective == "causal" else "masked",
                status="diverged" if failed else "finished",
            )  # fmt: skip
            if failed:
                continue
            for attention in ("native", "bidirectional")[: 1 + (objective == "causal")]:
                who = objective + attention
                chosen = answers(level, "sense", who, seed)
                details = {"selectivity": 0.2 + level / 10}
                make_score(folder, "sense", chosen, attention=attention, details=details)
                spans = answers(level - 0.1, "entities", who, seed)
                make_score(folder, "entities", spans, attention=attention, metric="f1", chance=None)
            pairs = None if objective == "rtd" else answers(0.7, "agreement", objective, seed)
            second = None if pairs is None else answers(0.6, "agreement", objective, seed)
            make_score(folder, "agreement", pairs, second=second, family="minimal pairs")
    for task in ("sense", "entities"):
        for baseline, level in (("majority", 0.3), ("bag_of_words", 0.5)):
            make_score(out, task, answers(level, task, baseline, 0), baseline=baseline)
    make_score(out, "entities", answers(0.6, "entities", "window", 0), baseline="window_of_words")
    make_score(out, "agreement", [0.5] * 200, baseline="majority")
    return compare(out, "token", tasks=["sense", "agreement", "entities"])


@pytest.mark.parametrize("format", FORMATS)
def test_golden(full: TableSet, format: Format) -> None:
    path = GOLDEN / f"compare.{FORMATS[format]}"
    text = render(full, format)
    if os.environ.get("BENCH_REGENERATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_runs_is_an_empty_table() -> None:
    assert render(TableSet.from_records([])) == "no finished runs to compare\n"
    assert render(TableSet.from_records([]), "json") == "[]\n"
    assert render(TableSet.from_records([]), "csv") == ""


def test_unknown_names_are_errors(full: TableSet, tmp_path: Path) -> None:
    small(tmp_path, {"token": 0.5})
    with pytest.raises(BenchError, match="did you mean 'token'"):
        compare(tmp_path, "tokens")
    with pytest.raises(BenchError, match="no format named 'tabel'; did you mean 'table'"):
        render(full, "tabel")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(full: TableSet, width: int) -> None:
    lines = render(full, width=width).splitlines()
    assert max(len(line) for line in lines if not line.startswith("  bench ")) <= width
    assert any(line.startswith("objective") and "entities" in line for line in lines)
    assert "\x1b" not in "".join(lines)
    assert "\x1b[1m" in render(full, color=True)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=20), st.integers(10, 120))
def test_pages_hold_every_column_once(sizes: list[int], width: int) -> None:
    split = pages(sizes, 1, width)
    assert [index for page in split for index in page[1:]] == list(range(1, len(sizes)))
    for page in split:
        assert page[0] == 0
        assert len(page) <= 2 or sum(sizes[index] for index in page) <= width


HOSTILE = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "-1+cmd",
    "@sum",
    "a|b",
    "a\nb",
    "[red]x[/red]",
    "[x](javascript:1)",
    "\\input{/etc/passwd}",
    "{}%&$#_^~",
    "\x1b[31mx",
    "\u202eabc",
]


def hostile(out: Path, name: str) -> TableSet:
    make_score(make_run(out, display_name=name, corpus=name, settings={"knob": name}))
    return compare(out)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(name=st.text(max_size=30))
def test_any_name_renders(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    if name.encode("utf-8", "replace").decode() != name:
        return
    compared = hostile(tmp_path_factory.mktemp("any"), name)
    for format in FORMATS:
        render(compared, format).encode()
    assert len(list(csv.reader(io.StringIO(render(compared, "csv"))))) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.0k"), (300_000, "300k"), (2e6, "2.0M"), (99_949, "99.9k"),
     (99_950, "100k"), (999_499, "999k"), (999_500, "1.0M"), (1.44e9, "1.4G"), (3e12, "3.0T")],
)  # fmt: skip
def test_big_numbers(value: float, text: str) -> None:
    assert big_number(value) == text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
def test_latex_compiles_in_a_bare_article_and_fits_a_page(full: TableSet, tmp_path: Path) -> None:
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    text = head + render(full, "latex") + "\\end{document}\n"
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    widths = re.findall(r"Overfull .hbox .([\d.]+)pt too wide", done.stdout)
    assert all(float(width) < 12 for width in widths), done.stdout[-2000:]


def test_one_grid_alone_and_transposed(full: TableSet) -> None:
    text = render(full, only=["cost"])
    assert "cost of one pretraining" in text
    assert "scores" not in text
    rows = [line for line in render(full, only=["scores"], transpose=True).splitlines() if line]
    assert any(line.startswith("entities") for line in rows)
    assert rows[2].startswith("task")
    with pytest.raises(BenchError, match="scores"):
        render(full, only=["scoers"])
