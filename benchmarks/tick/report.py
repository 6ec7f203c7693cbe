"""The part of the docs that shows a micro-batch: seconds and where they go, processor seconds, and requests by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- tick: begin (written by `python -m benchmarks.tick --report`) -->", "<!-- tick: end -->"
_PHASES = ("requested", "run started", "first step", "steps of compacted", "steps of catalog")


def write(results: Mapping[str, Mapping[str, Any]], page: Path = PAGE) -> None:
    """Put what was measured into the page, between its marks. Raises `ValueError` if they are not there."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page}: expected the marks {BEGIN} and {END}, found none; put them where the part belongs")
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(lines(results)) + f"\n{END}{after}", encoding="utf-8")


def lines(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Two tables in Markdown: each measurement's medians, and its requests."""
    yield "| measured | load | seconds | " + " | ".join(_PHASES) + " | processor seconds | requests |"
    yield "|---|--:|--:" + "|--:" * len(_PHASES) + "|--:|--:|"
    for name, found in results.items():
        phases = found["median by sensor"]["landed_objects"]["phases"]
        cells = [name, str(max(r["load"] for r in found["rounds"])), f"{found['median seconds']:.1f}"]
        cells += [f"{phases[phase]:.1f}" if phase in phases else "" for phase in _PHASES]
        requests = found.get("median requests", {})
        cells += [str(found.get("median processor seconds", "")), str(sum(requests.values()) or "")]
        yield f"| {' | '.join(cells)} |"
    counted = {name: found["median requests"] for name, found in results.items() if found.get("median requests")}
    if counted:
        yield ""
        yield "| requests a batch | " + " | ".join(counted) + " |"
        yield "|---" + "|--:" * len(counted) + "|"
        for kind in sorted({kind for requests in counted.values() for kind in requests}):
            yield f"| {kind} | " + " | ".join(str(requests.get(kind, 0)) for requests in counted.values()) + " |"
