"""The committed results, rendered again from their records: `make reference`.

    python -m tests.helpers.reference                      render every store, and what README shows of them
    python -m tests.helpers.reference pack NAME FOLDER     first take over the records of a results folder

A store's records lie in one archive, without weights and tokenizers: what tables rest on is a tenth
of the whole. `test_reference.py` renders them too and compares, byte for byte.
"""

from __future__ import annotations

import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from bench import api
from bench.experiment import UNTRAINED, Request, own_classes, resolve
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
"""Stores whose corpus is generated: examples of corruption can be drawn from it anywhere."""
HEAT_MAP = "results/reference/{}/report/heat_map.svg"
LEFT_OUT = {"encoder.safetensors", "head.safetensors", "tokenizer.json"}
BUILT_ON = (1980, 1, 1, 0, 0, 0)  # the first date an archive can bear: none is told


def stores() -> list[str]:
    """The names of the committed stores."""
    return sorted(path.parent.name for path in REFERENCE.glob(f"*/{ARCHIVE}"))


def pack(name: str, records: Path) -> None:
    """Take over the records of a results folder."""
    folder = REFERENCE / name
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(_records(records)):
            entry = zipfile.ZipInfo(path.relative_to(records).as_posix(), BUILT_ON)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def _records(folder: Path) -> Iterator[Path]:
    for pattern in ("runs/[!.]*/*", "runs/[!.]*/scores/*", "controls/*"):
        for path in folder.glob(pattern):
            if path.is_file() and path.name not in LEFT_OUT and not path.name.startswith("."):
                yield path


def compared(name: str, into: Path) -> Comparison:
    """The comparison of a store's records, which are unpacked into an empty folder."""
    with zipfile.ZipFile(REFERENCE / name / ARCHIVE) as archive:
        archive.extractall(into)
    return api.compare(out=into, baseline=UNTRAINED)


def tables(name: str, found: Comparison) -> dict[str, bytes]:
    """File -> contents: the tables, and what published directions come to."""
    formats: dict[str, Format] = {
        "tables.md": "markdown",
        "tables.csv": "csv",
        "tables.tex": "latex",
    }
    texts = {file: render(found, format, 100, False) for file, format in formats.items()}
    held = directions.verified(found, directions.read_directions())
    texts["directions.txt"] = directions.render(held, f"results/reference/{name}")
    return {file: text.encode() for file, text in texts.items()}


def page(name: str, found: Comparison, into: Path) -> dict[str, bytes]:
    """File -> contents of the report; without the figures' second copies as PNG."""
    registry = Registry()

    def look(table: Table) -> Corruptions:
        return corruptions(table, registry, lambda asked: code_sha256(own_classes(asked)))

    if name in GENERATED:
        api.prepare(resolve(Request([UNTRAINED]), registry))
    shown = look if name in GENERATED else None
    written = write_report(found, into, f"results/reference/{name}", shown)
    return {f"report/{path.name}": path.read_bytes() for path in written if path.suffix != ".png"}


def with_results(readme: str, texts: dict[str, str]) -> str:
    """README with each store's heat map, first table and legend between the store's marks."""
    for name, text in texts.items():
        title = re.search(r"^### (.*)$", text, re.MULTILINE)
        table, legend = text.split("**scores**")[1].strip().split("\n\n")[:2]
        shown = (
            f"![difference to untrained, objectives by tasks]({HEAT_MAP.format(name)})\n\n"
            f"{title[1] if title else name}:\n\n{upright(table)}\n\n{legend}"
        )
        readme = re.sub(
            rf"(<!-- {name}: made by `make reference` -->\n).*?(\n<!-- end of {name} -->)",
            lambda marks, shown=shown: f"{marks[1]}\n{shown}\n{marks[2]}",
            readme,
            flags=re.DOTALL,
        )
    return readme


def upright(table: str) -> str:
    """A Markdown table that is wider than long, turned: tasks as rows."""
    head, _, *rows = (
        [cell.strip() for cell in line[1:-1].split("|")] for line in table.split("\n")
    )
    if len(head) <= len(rows):
        return table
    turned = [list(column) for column in zip(head, *rows, strict=True)]
    turned.insert(1, ["---", *["---:"] * len(rows)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in turned)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["pack"] and len(arguments) == 3:
        pack(arguments[1], Path(arguments[2]))
    elif arguments:
        print(__doc__, file=sys.stderr)
        return 2
    shown = {}
    for name in stores():
        with tempfile.TemporaryDirectory() as unpacked, tempfile.TemporaryDirectory() as report:
            found = compared(name, Path(unpacked))
            files = tables(name, found) | page(name, found, Path(report))
        for file in (REFERENCE / name / "report").glob("*"):
            file.unlink()
        for file, payload in files.items():
            path = REFERENCE / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(payload)
        shown[name] = files["tables.md"].decode()
    readme = ROOT / "README.md"
    text = with_results(readme.read_text(encoding="utf-8"), shown)
    readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
