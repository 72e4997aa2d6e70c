"""The report in a browser. The test adds a measuring script to a copy of the page without the
content security policy; the page itself is only loaded. Skipped if Chromium is not installed.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.reporting.page import page
from tests.reporting.figures.test_figures import HOSTILE, compare, make_results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--dump-dom", "--virtual-time-budget=3000",
    "--window-size=1400,900",
]  # fmt: skip
MEASURE = """
<script>
function parse(text) { return (text.match(/[\\d.]+/g) || []).map(Number); }
function light(c) {
  const f = c.slice(0, 3).map(x => x / 255).map(
    x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
}
function ground(node) {
  for (; node; node = node.parentElement) {
    const c = parse(getComputedStyle(node).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return [255, 255, 255];
}
function contrast(node, ink) {
  const pair = [light(parse(ink)), light(ground(node))].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}
const result = {
  width: innerWidth, page: document.documentElement.scrollWidth,
  requests: performance.getEntriesByType('resource').map(item => item.name),
  dark: matchMedia('(prefers-color-scheme: dark)').matches, poor: [],
};
const seen = 'p, li, a, td, th, dd, dt, h1, h2, h3, caption, summary, figcaption, code, pre, span';
for (const node of document.querySelectorAll(seen)) {
  const ratio = contrast(node, getComputedStyle(node).color);
  if (ratio < 4.5) result.poor.push([node.tagName, node.textContent.slice(0, 40), ratio]);
}
for (const node of document.querySelectorAll('svg text')) {
  if (node.closest('[id="heat_map"]')) continue;  // its numbers are on the colours of the cells
  const ratio = contrast(node.closest('svg'), getComputedStyle(node).fill);
  if (ratio < 4.5) result.poor.push(['text', node.textContent.slice(0, 40), ratio]);
}
parent.postMessage(JSON.stringify(result), '*');
</script>
"""
FRAME = """<!DOCTYPE html><title>frame</title><pre id="measured"></pre>
<script>
addEventListener('message', event => {
  document.getElementById('measured').textContent = event.data;
});
</script>
<iframe src="measured.html" width="{width}" height="900" style="border: 0"></iframe>
"""
"""The window of a browser is at least 500 pixels wide; a frame in it can be narrower."""


def visit(path: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """The document after loading, and the lines of the console."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *QUIET, *flags, f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


def measure(path: Path, profile: Path, flag: str, width: int) -> dict[str, Any]:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text())
    copy = path.with_name("measured.html")
    copy.write_text(text.replace("</body>", f"{MEASURE}</body>"))
    frame = path.with_name("frame.html")
    frame.write_text(FRAME.replace("{width}", str(width)))
    document, _ = visit(frame, profile, flag)
    result = re.search(r'<pre id="measured">(.+?)</pre>', document, re.DOTALL)
    assert result is not None, document[-500:]
    return json.loads(html.unescape(result[1]))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = make_results(tmp_path_factory.mktemp("results"), ["token", *HOSTILE], tasks=5)
    return page.write_report(compare(out), out / "report", "results")[0]


def test_the_console_is_silent(report: Path, tmp_path: Path) -> None:
    document, console = visit(report, tmp_path / "profile")
    assert "Pretraining objectives compared" in document
    assert console == []


def test_the_policy_blocks_images_and_scripts(report: Path, tmp_path: Path) -> None:
    bad = report.with_name("bad.html")
    bad.write_text(
        report.read_text().replace(
            "</main>", '<img src="http://127.0.0.1:9/x.png"><script>document.title = "ran"</script>'
        )
    )
    document, console = visit(bad, tmp_path / "profile")
    bad.unlink()
    assert len(console) == 2
    assert all("Content Security Policy" in line for line in console)
    assert "<title>Pretraining" in document


def drive(report: Path, profile: Path, script: str) -> dict[str, Any]:
    """What a script finds in a copy of the page, whose own policy allows its own script only."""
    driver = """<script>
      const first = document.querySelector("table");
      const cells = () => [...first.querySelectorAll("tbody th")];
      const found = {};
      {script}
      const shown = document.createElement("pre");
      [shown.id, shown.textContent] = ["found", JSON.stringify(found)];
      document.body.append(shown);
    </script></body>"""
    text = report.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", text)
    copy = report.with_name(f"{profile.parent.name}.html")
    driven = text.replace("</body>", driver.replace("{script}", script))
    copy.write_text(driven, encoding="utf-8")
    document, console = visit(copy, profile)
    copy.unlink()
    result = re.search(r'<pre id="found">(.+?)</pre>', document, re.DOTALL)
    assert console == []
    assert result is not None, document[-500:]
    return json.loads(html.unescape(result[1]))  # type: ignore[no-any-return]


def test_a_table_can_be_sorted(report: Path, tmp_path: Path) -> None:
    sort = """
      const names = () => cells().map((cell) => cell.textContent);
      const head = first.querySelector("thead th");
      found.before = names();
      head.click();
      [found.up, found.aria] = [names(), head.getAttribute("aria-sort")];
      head.click();
      [found.down, found.other_aria] = [names(), head.getAttribute("aria-sort")];
      head.click();
      [found.after, found.no_aria] = [names(), head.getAttribute("aria-sort")];
    """
    found = drive(report, tmp_path / "profile", sort)
    assert found["up"] == sorted(found["before"]) != found["before"]
    assert found["down"] == found["up"][::-1]
    assert found["after"] == found["before"]
    arias = [found[name] for name in ("aria", "other_aria", "no_aria")]
    assert arias == ["ascending", "descending", None]


@pytest.mark.parametrize(
    ("typed", "wanted"), [("OKEN", "oken"), (" ntrain ", "ntrain"), ("/c calc", "/c calc")]
)
def test_the_filter_hides_the_rows_of_other_names(
    report: Path, tmp_path: Path, typed: str, wanted: str
) -> None:
    filter_rows = """
      const box = document.querySelector("input.filter");
      const visible = () => cells().filter((cell) => cell.getBoundingClientRect().height > 0)
        .map((cell) => cell.textContent);
      const type = (text) => { box.value = text; box.dispatchEvent(new Event("input")); };
      found.all = visible();
      type("TYPED");
      found.left = visible();
      type("no such name");
      found.none = visible();
      type("");
      found.again = visible();
    """.replace("TYPED", typed)
    found = drive(report, tmp_path / "profile", filter_rows)
    assert found["left"] == [name for name in found["all"] if wanted in name.lower()]
    assert 0 < len(found["left"]) < len(found["all"])
    assert found["none"] == []
    assert found["again"] == found["all"]


def test_the_filter_of_a_table_leaves_the_other_tables_alone(report: Path, tmp_path: Path) -> None:
    filter_rows = """
      const others = () => [...document.querySelectorAll("table")].slice(1)
        .map((table) => table.querySelectorAll("tbody tr:not([hidden])").length);
      const box = document.querySelector("input.filter");
      found.before = others();
      box.value = "no such name";
      box.dispatchEvent(new Event("input"));
      found.after = others();
    """
    found = drive(report, tmp_path / "profile", filter_rows)
    assert sum(found["before"]) > 0
    assert found["after"] == found["before"]


def test_only_tables_of_nine_rows_and_more_have_a_filter(report: Path, tmp_path: Path) -> None:
    count_rows = """
      found.tables = [...document.querySelectorAll("table")].map((table) => [
        table.tBodies[0].rows.length,
        table.closest(".scroll").previousElementSibling?.className === "filter"]);
    """
    tables = drive(report, tmp_path / "profile", count_rows)["tables"]
    assert [is_filtered for _, is_filtered in tables] == [rows >= 9 for rows, _ in tables]
    assert {is_filtered for _, is_filtered in tables} == {False, True}


@pytest.mark.parametrize(("scheme", "number"), [("light", 1), ("dark", 0)])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_fits_the_width_and_has_contrast(
    report: Path, tmp_path: Path, scheme: str, number: int, width: int
) -> None:
    flag = f"--blink-settings=preferredColorScheme={number}"
    result = measure(report, tmp_path / "profile", flag, width)
    assert result["width"] == width
    assert result["page"] <= width
    assert result["dark"] is (scheme == "dark")
    assert result["requests"] == []
    assert result["poor"] == []
