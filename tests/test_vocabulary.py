"""One word for one thing: the glossary's retired words are found nowhere but in the changelog."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

from tests.helpers.paths import ROOT

RETIRED = {
    r"\breadings?\b": "probe, attention, metric or policy",
    r"way of reading|ways of reading": "probe",
    r"[\"'.]modes?\b(?![=(])[\"']?(?! =)": "probe",
    r"\bvalidation_nats\b": "validation_loss",
    r"\bnum_micros\b": "gradient_accumulation_steps",
    r"\bwritten_before\b": "shift_right",
    r"\bmingled?\b": "merge_rows",
    r"\bbeyond\(": "exceeding",
    r"\bthin\b": "generator_shape",
    r"\bmined\b|\.mine\(|def mine\b": "collect_statistics, statistics",
    r"\.present\b|\bpresent=": "attention_mask",
    r"\bstandings?\b": "aggregates",
    r"\bverdicts\b": "annotations",
    r"reporting[./]phrases|import phrases": "formatting",
    r"smallest[ _]gap": "minimum detectable difference",
    r"\b(in)?separabl[ey]\b": "not distinguishable, significantly different",
    r"\btold from\b": "not distinguishable",
    r"\bthrown away\b": "discarded after pretraining",
    r"class _?(Request|Outcome|Look|Key)\b": "RunSpec, RunRecord",
    r"\bquestions of (one's|your) own\b": "self-supervised tasks",
    r"\bone's own\b": "your own, the user's",
}
"""Patterns of what is not said any more, and what is."""


def lines() -> list[tuple[str, int, str]]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split("\n")  # fmt: skip
    suffixes = (".py", ".md", ".toml", ".jinja", ".template", ".ipynb", ".yml", ".txt", "Makefile")
    skipped = ("CHANGELOG.md", "constraints.txt", "tests/test_vocabulary.py")
    return [
        (name, number, line)
        for name in listed
        if name.endswith(suffixes) and name not in skipped and (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
    ]


def test_retired_words_are_found_nowhere() -> None:
    known = lines()
    if not known:
        pytest.skip("not a git checkout")
    hits = [
        f"{name}:{number}: {line.strip()[:90]}  (say: {instead})"
        for pattern, instead in RETIRED.items()
        for name, number, line in known
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert not hits, "\n".join(hits)


PARTICIPLES = {"found", "told", "said", "asked", "kept"}
"""A name says what a value is, not what happened to it."""


def test_names_and_docstrings_are_nouns() -> None:
    hits = []
    for folder in ("bench", "objectives", "tasks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)):
                is_stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                name = node.id if is_stored else node.arg if isinstance(node, ast.arg) else ""
                if name in PARTICIPLES:
                    hits.append(f"{path}:{node.lineno}: the name {name}")
            hits += [f"{path}: a docstring that begins with What"] * text.count('"""What ')
    assert not hits, "\n".join(hits)


def test_the_table_of_a_report_has_rows() -> None:
    """`entries` was the word for the rows of a table; other tables of the machine may have some."""
    hits = [
        f"{name}:{number}: {line.strip()}"
        for name, number, line in lines()
        if name.startswith(("bench/reporting", "bench/statistics", "tests/reporting"))
        and re.search(r"\bentr(y|ies)\b", line)
        and "entry point" not in line
    ]
    assert not hits, "\n".join(hits)
