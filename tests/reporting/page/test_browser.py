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


def test_a_table_can_be_sorted_and_filtered(report: Path, tmp_path: Path) -> None:
    """The page's own policy allows its own script only, so a copy without it drives the page."""
    driver = """<script>
      const head = document.querySelector("thead th");
      head.click();
      const cells = [...head.closest("table").querySelectorAll("tbody th")];
      const names = cells.map((x) => x.textContent);
      const box = document.querySelector("input.filter");
      if (box) { box.value = "untrained"; box.dispatchEvent(new Event("input")); }
      const left = document.querySelectorAll("tbody tr:not([hidden])").length;
      const sorted = [...names].sort((a, b) => (a < b ? -1 : 1));
      document.body.insertAdjacentHTML("beforeend", `<pre id="found">${
        JSON.stringify({ isSorted: JSON.stringify(names) === JSON.stringify(sorted),
          aria: head.getAttribute("aria-sort"), hasBox: Boolean(box), left })}</pre>`);
    </script></body>"""
    text = report.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", text)
    copy = report.with_name("driven.html")
    copy.write_text(text.replace("</body>", driver), encoding="utf-8")
    document, console = visit(copy, tmp_path / "profile")
    copy.unlink()
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.+?)</pre>', document)[1]))  # type: ignore[index]
    assert console == []
    assert found["aria"] == "ascending"
    assert found["isSorted"]
    assert found["left"] > 0


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
