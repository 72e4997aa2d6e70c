"""The committed results, rendered again from their records: `make reference`.

    python -m tests.helpers.reference                    render every store, and its part of README
    python -m tests.helpers.reference pack NAME FOLDER   first import the records of FOLDER

The records of a store are in one archive, without weights and tokenizers, which are nine tenths of
the bytes. `test_reference.py` renders them, too, and compares the results byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import api
from bench.engines.execution import prepare
from bench.experiment import UNTRAINED, own_classes, resolve
from bench.records.store import read_runs
from bench.registry import Registry
from bench.reporting import directions
from bench.reporting.comparison import Comparison
from bench.reporting.page.corruption import Corruptions, corruptions
from bench.reporting.page.page import write_report
from bench.reporting.table import Table
from bench.reporting.text import Format, render
from bench.settings import code_sha256
from tests.helpers.paths import ROOT

REFERENCE = ROOT / "results" / "reference"
ARCHIVE = "records.zip"
GENERATED = {"micro", "curves"}
"""Stores whose corpus is generated, so examples of corruption can be made on any machine."""
FRONT = "real"
"""The store whose forest plot and verdict stand at the top of README."""
HEAT_MAP = "{}/report/heat_map.svg"
SPEED = REFERENCE / "speed.json"
"""What `tests/benchmarks` measured (see `tests.benchmarks.figures`)."""
LEFT_OUT = {"encoder.safetensors", "head.safetensors", "tokenizer.json"}
BUILT_ON = (1980, 1, 1, 0, 0, 0)  # the earliest date of an archive; no real date is stored


def stores() -> list[str]:
    """The names of the committed stores."""
    return sorted(path.parent.name for path in REFERENCE.glob(f"*/{ARCHIVE}"))


def pack(name: str, records: Path) -> None:
    """Import the records of a results folder."""
    folder = REFERENCE / name
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(_records(records)):
            member = zipfile.ZipInfo(path.relative_to(records).as_posix(), BUILT_ON)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, path.read_bytes())


def _records(folder: Path) -> Iterator[Path]:
    for pattern in ("runs/[!.]*/*", "runs/[!.]*/scores/*", "baselines/*"):
        for path in folder.glob(pattern):
            if path.is_file() and path.name not in LEFT_OUT and not path.name.startswith("."):
                yield path


def compared(name: str, into: Path) -> Comparison:
    """The comparison of a store's records, which are extracted into an empty folder."""
    with zipfile.ZipFile(REFERENCE / name / ARCHIVE) as archive:
        archive.extractall(into)
    found = api.compare(out=into, baseline=UNTRAINED)
    return dataclasses.replace(found, out=f"results/reference/{name}")


def tables(name: str, comparison: Comparison) -> dict[str, bytes]:
    """File -> contents: the tables, and the results of published directions."""
    formats: dict[str, Format] = {
        "tables.md": "markdown",
        "tables.csv": "csv",
        "tables.tex": "latex",
    }
    texts = {file: render(comparison, format, 100, False) for file, format in formats.items()}
    verified = directions.verify(comparison, directions.read_directions())
    texts["directions.txt"] = directions.render(verified, f"results/reference/{name}")
    return {file: text.encode() for file, text in texts.items()}


def page(name: str, comparison: Comparison, into: Path) -> dict[str, bytes]:
    """File -> contents of the report, without the PNG copies of the figures."""
    registry = Registry()

    def make_corruptions(table: Table) -> Corruptions:
        return corruptions(table, registry, lambda objective: code_sha256(own_classes(objective)))

    if name in GENERATED:
        prepare(resolve(UNTRAINED, registry))
    with_examples = make_corruptions if name in GENERATED else None
    files = write_report(comparison, into, f"results/reference/{name}", with_examples)
    return {
        f"report/{path.name}": path.read_bytes()
        for path in files
        if path.suffix not in (".png", ".pdf")
    }


def provenance(records: Path) -> str:
    """The cost of a store's records, and the code and machines that they were made with."""
    runs = read_runs(records)
    trained = [run for run in runs if run.data["objective"] != UNTRAINED]
    scores = [score for run in runs for score in run.scores]
    pretraining = sum(run.data["spent"]["seconds"] for run in trained)
    scoring = sum(score.data["seconds"] for score in scores)

    def distinct(values: Iterator[Any]) -> str:
        return " and ".join(sorted({str(value) for value in values}))

    recipes = distinct(run.data["spec"]["recipe"] for run in runs)
    commits = distinct(run.data["git_commit"][:7] for run in runs)
    hardware = [run.data["hardware"] for run in runs]
    machines = distinct(f"{one['cores']} cores of {one['cpu']}" for one in hardware)
    torch = distinct(run.data["versions"]["torch"].split("+")[0] for run in runs)
    return (
        f"{len(trained)} pretrainings took {pretraining / 3600:.1f} hours of one core, the "
        f"{len(scores):,} scores of these and of the untrained encoders {scoring / 3600:.1f}. "
        f"Recipe {recipes}, commit{'s' * (' ' in commits)} {commits}, {machines}, torch {torch}."
    )


def with_results(readme: str, texts: dict[str, str], made: dict[str, str]) -> str:
    """README with provenance, verdict, heat map, first table and legend of each store."""
    for name, text in texts.items():
        table, legend = text.split("**scores**")[1].strip().split("\n\n")[:2]
        shown = (
            f"{verdict(text)}\n\n{made[name]}\n\n"
            f"![difference to untrained, objectives by tasks]({HEAT_MAP.format(name)})\n\n"
            f"{upright(table)}\n\n{legend}"
        )
        readme = between(readme, name, shown)
    return readme


def verdict(text: str) -> str:
    """The title of the first table of `tables.md`, and the sentences below it."""
    title, sentences = (part.strip("# ") for part in text.split("\n\n")[:2])
    return f"*{title[0].upper()}{title[1:]}.* {sentences}"


def upright(table: str) -> str:
    """A Markdown table that is wider than long, transposed: tasks as rows."""
    head, _, *rows = (
        [cell.strip() for cell in line[1:-1].split("|")] for line in table.split("\n")
    )
    if len(head) <= len(rows):
        return table
    transposed = [list(column) for column in zip(head, *rows, strict=True)]
    transposed.insert(1, ["---", *["---:"] * len(rows)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in transposed)


def with_verdict(readme: str, text: str) -> str:
    """README with the forest plot and the verdict of the store on real text."""
    figure = f"results/reference/{FRONT}/report/forest.svg"
    shown = (
        "![Difference of each objective to the untrained encoder on the tasks that tell objectives "
        f"apart, with intervals]({figure})\n\n{verdict(text)}"
    )
    return between(readme, FRONT, shown)


def between(readme: str, name: str, text: str) -> str:
    """README with other text between the markers of a part."""
    pattern = rf"(<!-- {name}: made by `make reference` -->\n).*?(\n<!-- end of {name} -->)"
    return re.sub(pattern, lambda found: f"{found[1]}\n{text}\n{found[2]}", readme, flags=re.DOTALL)


def with_speed(readme: str) -> str:
    """README with the measured figures between its markers."""
    kept = json.loads(SPEED.read_text(encoding="utf-8"))
    step, seconds = kept["step"], kept["commands"]["cpu seconds"]
    small, large = (step["corruption"][size]["ratio"] for size in ("32x512", "256x512"))
    rows = [
        ("whole training step, `token`, tokens per second",
         f"{step['ratio_to_bert']['token']} x transformers' BERT, "
         f"{step['ratio_to_modernbert']['token']} x its ModernBERT"),
        ("the same, `causal`",
         f"{step['ratio_to_bert']['causal']} x BERT, "
         f"{step['ratio_to_modernbert']['causal']} x ModernBERT"),
        ("corruption of 32 x 512 and 256 x 512 tokens, `token`",
         f"{small['token']} x and {large['token']} x transformers' collator"),
        ("the same, `whole_word`",
         f"{small['whole_word']} x and {large['whole_word']} x its whole-word collator"),
    ]  # fmt: skip
    for model, name in (("bert", "BERT"), ("modernbert", "ModernBERT")):
        peer = kept["trainer"][model]
        sooner = peer["times_sooner"]
        rows.append(
            (f"`Trainer` with {name}, to its final held-out loss of {peer['nats']:.2f} nats",
             "not reached" if sooner is None else f"{sooner} x sooner")
        )  # fmt: skip
    rows.append(
        ("CPU seconds of commands that only read",
         ", ".join(f"`{name}` {value}" for name, value in seconds.items()))
    )  # fmt: skip
    default, probing = kept["answer"]["default run"], kept["answer"]["probing"]
    rows += [
        ("`bench run --objective span` with nothing cached: three seeds, two workers",
         f"{default['seconds']} s; significantly above untrained on "
         f"{len(default['above untrained'])} of {default['columns']} columns"),
        (f"probing {probing['tasks']} tasks beside pretraining `token`, {probing['budget']} tokens",
         f"{probing['share']} x the time of pretraining"),
    ]  # fmt: skip
    lines = ["| what | bench |", "| --- | --- |", *(f"| {what} | {is_} |" for what, is_ in rows)]
    text = "\n".join([*lines, "", f"Measured on {kept['machine']}."])
    return between(readme, "speed", text)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["pack"] and len(arguments) == 3:
        pack(arguments[1], Path(arguments[2]))
    elif arguments:
        print(__doc__, file=sys.stderr)
        return 2
    shown, made = {}, {}
    for name in stores():
        with tempfile.TemporaryDirectory() as records, tempfile.TemporaryDirectory() as report:
            comparison = compared(name, Path(records))
            files = tables(name, comparison) | page(name, comparison, Path(report))
            made[name] = provenance(Path(records))
        for file in (REFERENCE / name / "report").glob("*"):
            file.unlink()
        for file, payload in files.items():
            path = REFERENCE / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(payload)
        shown[name] = files["tables.md"].decode()
    readme = REFERENCE / "README.md"
    text = with_results(readme.read_text(encoding="utf-8"), shown, made)
    readme.write_text(text, encoding="utf-8")
    front = ROOT / "README.md"
    text = with_verdict(with_speed(front.read_text(encoding="utf-8")), shown[FRONT])
    front.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
