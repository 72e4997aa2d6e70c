from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.reporting.commands import commands
from bench.reporting.page import facts as page_facts
from bench.reporting.page import page
from bench.reporting.page.corruption import Corruptions, corruptions
from bench.reporting.rendering.blocks import table_blocks
from bench.reporting.table_set import TableSet
from bench.settings import code_sha256
from tests.helpers.registry import REGISTRY
from tests.records.test_store import make_run, make_score
from tests.reporting.figures.test_figures import HOSTILE, compare, make_results

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(HTMLParser):
    """The content of a page: tags with attributes, tables as text, headings in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.headings: list[int] = []
        self.open: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self._cell = True
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("th", "td"):
            self._cell = False

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def table_set(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    return compare(make_results(tmp_path_factory.mktemp("results"), ["token", *HOSTILE[:3]]))


@pytest.fixture(scope="module")
def written(table_set: TableSet, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return page.write_report(table_set, tmp_path_factory.mktemp("to") / "new folder", "results")


@pytest.fixture(scope="module")
def read(written: list[Path]) -> Reader:
    return Reader(written[0].read_text(encoding="utf-8"))


def test_the_page_shows_the_numbers_of_compare(table_set: TableSet, read: Reader) -> None:
    (table,) = table_set.tables
    for block, shown in zip(table_blocks(table), read.tables, strict=True):
        assert shown == [block.header, *block.rows]


def test_it_is_well_formed_and_accessible(read: Reader) -> None:
    assert not read.open
    assert read.headings[0] == 1
    assert read.headings.count(1) == 1
    steps = zip(read.headings, read.headings[1:], strict=False)
    assert all(after - before <= 1 for before, after in steps)
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in read.tags:
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
        if tag == "svg":
            assert attrs["role"] == "img"
            assert len(attrs["aria-label"] or "") > 40
        if tag == "a":
            assert (attrs["href"] or "")[1:] in ids
    assert [tag for tag, _ in read.tags].count("caption") == len(read.tables)
    assert [tag for tag, _ in read.tags].count("svg") == 6


def test_it_loads_nothing_and_runs_its_own_script_only(written: list[Path], read: Reader) -> None:
    text = written[0].read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|https?:", script[1])
    for tag, attrs in read.tags:
        assert tag not in ("iframe", "object", "embed", "img")
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "data", "action"):
                assert (value or "").startswith(("#", "data:"))
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_hostile_names_are_only_shown(written: list[Path]) -> None:
    text = written[0].read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in text
    assert "$\\frac{x" in text
    scores = next(path for path in written if path.name == "scores.csv")
    with scores.open(encoding="utf-8", newline="") as file:
        names = {row["display_name"] for row in csv.DictReader(file)}
    assert f"'{HOSTILE[1]}" in names
    assert not any(name.startswith(("=", "+", "@")) for name in names)


def test_hidden_characters_do_not_reach_the_page(tmp_path: Path) -> None:
    name = "x\x1b[2Jy\u202ez"
    make_score(make_run(tmp_path, display_name=name, corpus=name), details={"data_notes": [name]})
    written = page.write_report(compare(tmp_path, None), tmp_path / "report", "results")
    text = written[0].read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e"} & set(text)
    assert "x?[2Jy?z" in text


def test_figures_are_files_beside_the_page(written: list[Path]) -> None:
    names = {path.name for path in written}
    for name in ("cost", "scores", "heat_map", "layers", "curves"):
        assert {f"{name}.svg", f"{name}.png", f"{name}.csv"} <= names
    assert {path.name for path in written[0].parent.iterdir()} == names


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(table_set: TableSet, written: list[Path]) -> None:
    sections = page.make_sections(table_set, "results")
    assert page.render_page(sections, [], table_set, "results").encode() == written[0].read_bytes()


def test_errors_of_writing(table_set: TableSet, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no finished runs in results/runs to report"):
        page.write_report(TableSet([], None), tmp_path, "results")
    (tmp_path / "file").write_text("")
    rows = table_set.tables[0].rows[-2:]  # the untrained encoder and a baseline: no figures
    bare = dataclasses.replace(table_set.tables[0], columns=[], rows=rows)
    with pytest.raises(BenchError, match="--to"):
        page.write_report(TableSet([bare], None), tmp_path / "file", "results")


def test_a_store_without_tasks_or_curves_has_a_page(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--out", str(tmp_path)])
    assert isinstance(result.exception, BenchError)
    make_run(tmp_path, "token")
    result = CliRunner().invoke(app, ["report", "--out", str(tmp_path), "--no-examples"])
    assert result.exit_code == 0, result.exception
    text = (tmp_path / "report" / page.PAGE).read_text(encoding="utf-8")
    assert "No task was scored" in text
    assert "<svg" not in text


def test_commands_have_all_that_distinguishes_runs(tmp_path: Path) -> None:
    for seed in range(2):
        for objective, settings in (("token", {}), ("span", {"mean_length": 4, "rate": 0.15})):
            name = "span[mean_length=4]" if settings else objective
            folder = make_run(tmp_path, objective, seed, name, settings, learning_rate=1e-3)
            make_score(folder, "sense", probe_settings={"limit": 50, "probe": "knn"})
    folder = make_run(tmp_path, "span", 5, learning_rate=1e-3, corpus="my texts; rm -rf .")
    (table,) = compare(tmp_path, None).tables
    first, second = commands(table, "my results")
    assert first == (
        "bench run --objective 'span(mean_length=4)' --objective token --corpus micro "
        "--tasks sense --size tiny --budget 2000000 --probe knn --limit 50 "
        "--set training.learning_rate=0.001 --seeds 0,1 --out 'my results'"
    )
    assert "--objective span --corpus micro" in second
    assert "--seeds 5" in second


def test_all_differing_facts_are_in_the_provenance(tmp_path: Path) -> None:
    make_run(tmp_path, "token", 0, git_commit="a" * 40, hardware="not a mapping")
    make_run(tmp_path, "token", 1, git_commit="b" * 40, versions={"torch": "2\n<b>"})
    facts = dict(page_facts.provenance(compare(tmp_path, None).tables[0]))
    assert facts["git commit"] == ["a" * 40, "b" * 40]
    assert facts["hardware"] == ["not a mapping", "unknown"]
    assert facts["versions"] == ["unknown", "torch 2?<b>"]


def test_missing_examples_have_a_reason(tmp_path: Path) -> None:
    make_run(tmp_path, "token")
    (table,) = compare(tmp_path, None).tables
    result = corruptions(table, REGISTRY, lambda objective: "")
    assert result.examples == []
    assert "not in the cache" in result.missing[0]


def test_examples_come_from_the_corpus_of_the_runs(
    tmp_path: Path, make_spec: Any, corpus: Any
) -> None:
    for name in ("token", "causal", "t5_infilling"):
        spec, objective = make_spec(name)
        keys = {"corpus_sha256": corpus.corpus_sha256, "tokenizer_sha256": corpus.tokenizer_sha256}
        code = code_sha256([type(objective)])
        identity = spec.identity() | {"objective_code": code}
        make_run(tmp_path, name, 0, name, dict(spec.settings), spec=identity, **keys)
    make_run(tmp_path, "gone", spec=identity, **keys)
    (table,) = compare(tmp_path, None).tables
    result = corruptions(table, REGISTRY, lambda objective: code_sha256([type(objective)]))
    shown = {example.display_name: example for example in result.examples}
    assert set(shown) == {"token", "causal", "t5_infilling"}
    assert "There is no example of gone" in " ".join(result.missing)
    assert "[MASK]" in {piece.text.strip() for piece in shown["token"].inputs}
    assert {piece.kind for piece in shown["causal"].inputs} == {"plain"}
    assert "".join(piece.text for piece in shown["causal"].inputs).strip() == result.text
    assert shown["causal"].predicted == "every token, from the tokens to its left"
    assert "(15.0%)" in shown["token"].statistics["predicted"]
    other = corruptions(table, REGISTRY, lambda objective: "another code")
    assert other.examples == []
    assert isinstance(other, Corruptions)
