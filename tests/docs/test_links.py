from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import LINKED, anchors, links
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        has_anchor = not anchor or target.suffix != ".md" or anchor in anchors(target)
        if not target.exists() or not has_anchor:
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_home_page() -> None:
    home = ROOT / "docs" / "index.md"
    reached, waiting = {home}, [home]
    while waiting:
        page = waiting.pop()
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert {*(ROOT / "docs").glob("*.md")} <= reached


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


PLACE = re.compile(r"(?<![\w.}/])/(?:home|Users|root|tmp|work|mnt|opt|var)/")
"""A path that only one machine has."""


def test_no_page_names_a_place_on_a_machine() -> None:
    for page in [*LINKED, ROOT / "CITATION.cff", *(ROOT / "docs").rglob("*.py")]:
        text = page.read_text(encoding="utf-8")
        assert not PLACE.search(text), page
