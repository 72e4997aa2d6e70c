"""The page of a report: one self-contained HTML file, with its figures as files beside it.

The page loads nothing from a network and runs its own script alone, which sorts and filters; a
content security policy in its head forbids all else. Its tables are the blocks that `bench compare`
prints, and its figures show the same tables, so the numbers are the same everywhere. It has no date
and no path of this machine, so the same records give the same bytes. A test of the committed
results relies on that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.reporting.commands import commands
from bench.reporting.conclusions.ladder import ladders_of
from bench.reporting.conclusions.verdict import Verdict, verdict
from bench.reporting.curves import whole_command
from bench.reporting.figures import curves as figures_of_curves
from bench.reporting.figures.forest import FOREST
from bench.reporting.figures.ladder import over_rungs
from bench.reporting.figures.style import Figure
from bench.reporting.figures.workers import MAX_TABLES, ReportFigures
from bench.reporting.formatting import printable
from bench.reporting.page import facts as page_facts
from bench.reporting.rendering.blocks import Block, table_blocks
from bench.reporting.rendering.curve_blocks import curve_blocks
from bench.reporting.rendering.ladder_blocks import ladder_blocks
from bench.storage import write_atomic

if TYPE_CHECKING:
    import jinja2

    from bench.reporting.page.corruption import Corruptions
    from bench.reporting.table import Table
    from bench.reporting.table_set import TableSet

PAGE = "report.html"


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """One table of the comparison, with its figures and facts."""

    table: Table
    key: str
    """Prefix of its anchors."""
    verdict: Verdict
    blocks: list[Block]
    figures: list[Figure]
    corruptions: Corruptions | None
    commands: list[str]
    """Commands that repeat the runs."""

    @property
    def opening(self) -> list[Figure]:
        """The forest plot, which stands above the tables."""
        return [figure for figure in self.figures if figure.name.endswith(FOREST)]

    @property
    def details(self) -> list[Figure]:
        """The other figures, which stand below them."""
        return [figure for figure in self.figures if not figure.name.endswith(FOREST)]


@dataclasses.dataclass(frozen=True, eq=False)
class JointSection:
    """Several tables together: a curve over budgets, or a ladder of sizes."""

    key: str
    title: str
    blocks: list[Block]
    figures: list[Figure]


def write_report(
    table_set: TableSet,
    folder: Path,
    out: str,
    make_corruptions: Callable[[Table], Corruptions] | None = None,
    figures: ReportFigures | None = None,
) -> list[Path]:
    """Write the page and its figures.

    Args:
        table_set: The tables to report.
        folder: Folder of the page; it is created if it does not exist.
        out: Folder of the records, as a user would type it.
        make_corruptions: Makes the examples of corruption; None for a page without them.
        figures: The figures, which may be started already.

    Returns:
        The paths of the files, the page first.

    Raises:
        BenchError: There is nothing to report, or the folder cannot be written.
        FailedError: The disk is full.
    """
    if not table_set.tables:
        raise BenchError(f"no finished runs in {out}/runs to report; make some with bench run")
    sections = make_sections(table_set, out, make_corruptions, figures)
    joint_sections = make_joint_sections(table_set)
    files = {PAGE: render_page(sections, joint_sections, table_set, out).encode()}
    of_tables = [figure for section in sections for figure in section.figures]
    of_joint = [figure for section in joint_sections for figure in section.figures]
    for figure in [*of_tables, *of_joint]:
        files[f"{figure.name}.svg"] = figure.svg.encode()
        files[f"{figure.name}.png"] = figure.png
        files[f"{figure.name}.pdf"] = figure.pdf
        files[f"{figure.name}.csv"] = figure.csv.encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, payload in files.items():
            write_atomic(folder / name, payload)
    except OSError as error:
        raise BenchError(
            f"the report cannot be written to {folder} ({error.strerror}); choose another folder "
            "with --to"
        ) from None
    return [folder / name for name in files]


def make_sections(
    table_set: TableSet,
    out: str,
    make_corruptions: Callable[[Table], Corruptions] | None = None,
    figures: ReportFigures | None = None,
) -> list[Section]:
    """The content of the page for each table. The arguments are those of `write_report`."""
    is_several = len(table_set.tables) > 1
    figures_of_tables = (figures or ReportFigures()).of(table_set.tables)
    sections = []
    for number, (table, own) in enumerate(zip(table_set.tables, figures_of_tables, strict=True), 1):
        whole, flag = whole_command(table_set.curves, table)
        corruptions = None
        if make_corruptions is not None and number <= MAX_TABLES:
            corruptions = make_corruptions(table)
        section = Section(
            table=table,
            key=f"table_{number}" if is_several else "table",
            verdict=verdict(table, out),
            blocks=table_blocks(table),
            corruptions=corruptions,
            commands=[line + flag for line in commands(whole, out)],
            figures=list(own),  # last, because this waits for the drawing processes
        )
        sections.append(section)
    return sections


def make_joint_sections(table_set: TableSet) -> list[JointSection]:
    """The content of the page for each curve over budgets and each ladder of sizes."""
    from bench._startup import without

    sections = []
    with without("torch"):
        curves = table_set.curves[:MAX_TABLES]
        for number, curve in enumerate(curves, 1):
            key = f"budget_{number}" if len(table_set.curves) > 1 else "budget"
            figures = [figure] if (figure := figures_of_curves.over_budget(curve, key)) else []
            blocks = curve_blocks(curve)
            sections.append(JointSection(key, "Score over budget", blocks, figures))
        ladders = ladders_of(table_set.tables)[:MAX_TABLES]
        for number, ladder in enumerate(ladders, 1):
            key = f"ladder_{number}" if len(ladders) > 1 else "ladder"
            figures = [figure] if (figure := over_rungs(ladder, key)) else []
            title = "Does the small ranking hold?"
            sections.append(JointSection(key, title, ladder_blocks(ladder), figures))
    return sections


def render_page(
    sections: list[Section], joint_sections: list[JointSection], table_set: TableSet, out: str
) -> str:
    """The HTML of the page. All texts are escaped."""
    import base64
    import hashlib
    import shlex

    from markupsafe import Markup

    folder, environment = Path(__file__).parent, template_environment()
    script = (folder / "page.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()  # the only script that a browser may run
    baseline = f" --baseline {shlex.quote(table_set.baseline)}" if table_set.baseline else ""
    rows = [row for section in sections for row in section.table.rows]
    variables: dict[str, Any] = {
        "sections": sections,
        "joint_sections": joint_sections,
        "num_runs": len({run.data["id"] for row in rows for run in row.runs}),
        "max_tables": MAX_TABLES,
        "compare_command": f"bench compare --out {shlex.quote(out)}{baseline}",
        "report_command": f"bench report --out {shlex.quote(out)}{baseline}",
        "script": Markup(script),
        "script_hash": f"sha256-{base64.b64encode(digest).decode()}",
        "inline": lambda figure: Markup(figure.inline()),
        "facts": page_facts,
    }
    return environment.get_template("page.html.jinja").render(variables)


def _without_hidden(value: Any) -> Any:
    """A text of a record without characters that could hide or move what the page shows."""
    if type(value) is not str:  # a number, or markup of our own
        return value
    return "\n".join(printable(line) for line in value.split("\n"))


def template_environment() -> jinja2.Environment:
    """The templates of this folder, with the style sheet as `style`; all texts are escaped."""
    import jinja2
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_without_hidden,
    )
    environment.globals["style"] = Markup((folder / "page.css").read_text(encoding="utf-8"))
    return environment
