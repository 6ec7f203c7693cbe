"""The report page in a real browser, at the widths of a phone and of a desk; skipped where there is no Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from typing import Any

import pytest

from reporting import render
from tests.support.report_warehouse import NOW, OF_ALL, warehouse

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1280)

MEASURE = """
<script>
  const errors = [];
  addEventListener("error", event => errors.push(event.message));
  const wait = setInterval(() => {
    const shown = [...document.querySelectorAll(".plot")].filter(plot => plot.offsetParent);
    if (!shown.length || !shown.every(plot => plot.querySelector("svg"))) return;
    clearInterval(wait);
    parent.postMessage({
      errors,
      width: innerWidth,
      content: document.documentElement.scrollWidth,
      plots: shown.map(plot => [plot.clientWidth, plot.querySelector("svg").clientWidth]),
    }, "*");
  }, 100);
</script>
</body>
"""

HARNESS = """
<!doctype html>
<title>measured</title>
{frames}
<pre id="measured"></pre>
<script>
  addEventListener("message", event => {{
    document.getElementById("measured").textContent += JSON.stringify(event.data) + "\\n";
  }});
</script>
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """By width: what a page with every panel measures of itself once all plots that can be seen are drawn."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("browser")
    page = render(warehouse(folder, OF_ALL), folder / "page.html", NOW)
    page.path.write_text(page.path.read_text("utf-8").replace("</body>", MEASURE), "utf-8")
    frames = "".join(f'<iframe src="page.html" width="{width}" height="800"></iframe>' for width in WIDTHS)
    harness = folder / "harness.html"
    harness.write_text(HARNESS.format(frames=frames), "utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,2000",
         "--virtual-time-budget=60000", "--dump-dom", harness.as_uri()],
        capture_output=True, text=True, timeout=200, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return {one["width"]: one for one in map(json.loads, unescape(found[1]).splitlines())}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_draws_every_plot(measured: dict[int, Any], width: int) -> None:
    """Nothing runs over the side, no plot over its panel, and no script fails."""
    page = measured[width]
    assert page["errors"] == []
    assert page["content"] <= width
    assert len(page["plots"]) > 10
    assert all(0 < drawn <= room for room, drawn in page["plots"])
