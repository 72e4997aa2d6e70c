"""Hooks of the site: links that leave docs/, and the API reference.

On the repository page `../objectives/span.py` is a link to a file. The site has no such file beside
its pages, so every file that a page links to is copied into the site under its path in the
repository, and the link is rewritten. A link to a folder becomes plain text. A link to nothing is
left as it is, and the strict build refuses it.

The file reference.md has a table that can be read anywhere; the site adds the docstrings to it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^()#\s]*)(#[^()\s]*)?\)")
DOCUMENTED = re.compile(r"^\| \[?`(bench\.[\w.]+)`", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the files outside docs/ that pages link to, and those that these link to."""
    waiting = [page.src_uri for page in files.documentation_pages()]
    while waiting:
        name = waiting.pop()
        if not name.endswith(".md"):
            continue
        text = (ROOT / in_repository(name)).read_text(encoding="utf-8")
        for _, _, link, _ in LINK.findall(text):
            target = resolved(name, link)
            place = site_path(target)
            if (ROOT / target).is_file() and files.get_file_from_path(place) is None:
                source = str(ROOT / target)
                files.append(File.generated(config, place, abs_src_path=source))
                waiting.append(place)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links that leave docs/, and add the docstrings to the reference."""
    here = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        mark, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        if not link or ":" in link:
            return match[0]
        target = resolved(here, link)
        if (ROOT / target).is_dir():
            return text
        place = posixpath.relpath(site_path(target), posixpath.dirname(here) or ".")
        return f"{mark}[{text}]({place}{anchor})"

    markdown = LINK.sub(rewritten, markdown)
    if here == "reference.md":
        names = dict.fromkeys(DOCUMENTED.findall(markdown))
        markdown += "\n## Docstrings\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"
    return markdown


def in_repository(place: str) -> str:
    """The path in the repository of a file of the site."""
    inside = f"{DOCS}/{place}"
    return inside if (ROOT / inside).exists() else place


def site_path(path: str) -> str:
    """The place on the site of a file of the repository."""
    return path.removeprefix(f"{DOCS}/") if path != "README.md" else "index.md"


def resolved(place: str, link: str) -> str:
    """The path in the repository that a relative link of a page leads to."""
    folder = posixpath.dirname(in_repository(place))
    return posixpath.normpath(posixpath.join(folder, link))
