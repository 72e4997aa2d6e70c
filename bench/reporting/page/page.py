"""The page people pass on: one HTML file with everything in it, and its figures as files beside it.

It asks for nothing over any network and runs no script; a policy in its head forbids both, should
anything slip through. Tables are the blocks that `bench compare` prints, figures are drawn from the
same comparison, so the page cannot say another number. It bears no date and no path of this
machine: the same records give the same bytes, which a test of committed results relies on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.reporting.blocks import Block, table_blocks
from bench.reporting.comparison import Comparison
from bench.reporting.curve_blocks import curve_blocks
from bench.reporting.curves import whole_command
from bench.reporting.figures import curves as figures_curves
from bench.reporting.figures.gallery import MOST_DRAWN, Gallery
from bench.reporting.figures.style import Figure
from bench.reporting.page import facts as page_facts
from bench.storage import write_atomic

if TYPE_CHECKING:
    from bench.reporting.page.corruption import Corruptions
    from bench.reporting.table import Table

PAGE = "report.html"


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """One table of the comparison with all that is told of it."""

    table: Table
    key: str
    """Of its anchors and files."""
    verdict: str
    blocks: list[Block]
    figures: list[Figure]
    corruptions: Corruptions | None
    commands: list[str]


@dataclasses.dataclass(frozen=True, eq=False)
class CurveSection:
    """What the tables of several budgets say together."""

    key: str
    blocks: list[Block]
    figures: list[Figure]


def write_report(
    compared: Comparison,
    folder: Path,
    out: str,
    look: Callable[[Table], Corruptions] | None = None,
    gallery: Gallery | None = None,
) -> list[Path]:
    """Write the page and its figures; return their paths, the page first.

    Args:
        compared: What is reported.
        folder: Where to; made if need be.
        out: The folder of the records, as a reader would type it.
        look: Draws examples of corruption; None: the page goes without.
        gallery: Has the figures, or will.

    Raises:
        BenchError: Nothing to report, or the folder cannot be written.
        FailedError: The disk is full.
    """
    if not compared.tables:
        raise BenchError(f"no finished runs under {out}/runs to report; bench run makes them")
    sections = sections_of(compared, out, look, gallery)
    over = curve_sections_of(compared)
    files = {PAGE: render_page(sections, over, compared, out).encode()}
    drawn = [section.figures for section in sections] + [section.figures for section in over]
    for figure in (figure for some in drawn for figure in some):
        files[f"{figure.name}.svg"] = figure.svg.encode()
        files[f"{figure.name}.png"] = figure.png
        files[f"{figure.name}.csv"] = figure.csv.encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, payload in files.items():
            write_atomic(folder / name, payload)
    except OSError as error:
        raise BenchError(
            f"the report cannot be written to {folder} ({error.strerror}); name another with --to"
        ) from None
    return [folder / name for name in files]


def sections_of(
    compared: Comparison,
    out: str,
    look: Callable[[Table], Corruptions] | None = None,
    gallery: Gallery | None = None,
) -> list[Section]:
    """All that the page says, before it is markup."""
    several = len(compared.tables) > 1
    drawn = (gallery or Gallery()).of(compared.tables)
    sections = []
    for number, (table, own) in enumerate(zip(compared.tables, drawn, strict=True), 1):
        whole, flag = whole_command(compared.curves, table)
        section = Section(
            table=table,
            key=f"table_{number}" if several else "table",
            verdict=page_facts.verdict(table),
            blocks=table_blocks(table),
            corruptions=look(table) if look is not None and number <= MOST_DRAWN else None,
            commands=[line + flag for line in page_facts.commands(whole, out)],
            figures=list(own),  # the last, as others may be drawing them
        )
        sections.append(section)
    return sections


def curve_sections_of(compared: Comparison) -> list[CurveSection]:
    """A section for each set of tables that differ in their budget alone."""
    from bench._startup import without

    found = []
    for number, curve in enumerate(compared.curves[:MOST_DRAWN], 1):
        key = f"budget_{number}" if len(compared.curves) > 1 else "budget"
        with without("torch"):
            figure = figures_curves.over_budget(curve, key)
        found.append(CurveSection(key, curve_blocks(curve), [figure] if figure else []))
    return found


def render_page(
    sections: list[Section], over: list[CurveSection], compared: Comparison, out: str
) -> str:
    """The markup; every text in it comes escaped."""
    import shlex

    import jinja2
    from markupsafe import Markup

    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    baseline = f" --baseline {shlex.quote(compared.baseline)}" if compared.baseline else ""
    runs = {run.data["id"] for section in sections for e in section.table.rows for run in e.runs}
    facts: dict[str, Any] = {
        "sections": sections,
        "over": over,
        "num_runs": len(runs),
        "most_drawn": MOST_DRAWN,
        "compare": f"bench compare --out {shlex.quote(out)}{baseline}",
        "report": f"bench report --out {shlex.quote(out)}{baseline}",
        "style": Markup((here / "page.css").read_text(encoding="utf-8")),
        "inline": lambda figure: Markup(figure.inline()),
        "facts": page_facts,
    }
    return environment.get_template("page.html.jinja").render(facts)
