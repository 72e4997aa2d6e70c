"""The pages of the documentation as text: their fenced blocks, commands and links."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

from tests.helpers.paths import ROOT

REFERENCE = ROOT / "results" / "reference" / "README.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Pages whose commands and examples are run."""
LINKED = [*PAGES, ROOT / "CHANGELOG.md", REFERENCE]
"""Pages whose links are checked."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]*)\)")


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """As a test's id: `docs/quickstart.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str, pages: list[Path] = PAGES) -> list[Block]:
    """The fenced blocks of a language, in order."""
    result = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            result.append(Block(page, line, match[1], match[2]))
    return [block for block in result if block.language == language]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a `sh` block; continued lines are joined, comments dropped."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [command for command in words if command]


def links(page: Path) -> list[str]:
    """The targets of the links and images of a page, without those of fenced blocks."""
    return _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings; those that repository page and site spell alike."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    slugs = {re.sub(r"\s", "-", heading.strip()) for heading in plain}
    return {slug for slug in slugs if "--" not in slug}
