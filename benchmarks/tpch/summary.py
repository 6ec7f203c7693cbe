"""What the runs of an engine come to: medians over runs, LST-Bench's degradation rate, and the table of the docs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any


def degradation(seconds: Sequence[float]) -> float:
    """LST-Bench's degradation rate of the same queries one after the other: the mean of how much more each look took
    than the one before it, as a share (0.05 is 5% a look)."""
    return statistics.mean((after - before) / before for before, after in pairwise(seconds))


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The medians of an engine's runs that did not fail, and all that was wrong in any of them."""
    done = [run for run in runs if "failed" not in run]
    if not done:
        return {"runs": 0, "failed": [run["failed"] for run in runs]}
    every = [look for run in done for look in (*run["looks"], run["look after maintenance"]) if look]
    used = [[look["processor seconds"] for look in run["looks"]] for run in done]
    return {
        "runs": len(done),
        "pairs": [_each(pairs) for pairs in zip(*(run["pairs"] for run in done), strict=True)],
        "queries": [_each(looks) for looks in zip(*(run["looks"] for run in done), strict=True)],
        "degradation rate": round(statistics.median(degradation(looks) for looks in used), 4),
        "maintenance": _each([run["maintenance"] for run in done if run["maintenance"]]),
        "queries after maintenance": _each([run["look after maintenance"] for run in done if run["maintenance"]]),
        "processor seconds": statistics.median(run["processor seconds"] for run in done),
        "peak MB": max(run["peak MB"] for run in done),
        "scratch MB": max(run["scratch MB"] for run in done),
        "rows right": all(look["rows right"] for look in every),
        "wrong answers": sorted({number for look in every for number in look["wrong answers"]}),
    }


def _each(steps: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """The median of each measure of the same step in several runs; None without runs."""
    measures = [name for name in ("seconds", "processor seconds", "written MB") if steps and name in steps[0]]
    return {name: statistics.median(step[name] for step in steps) for name in measures} or None


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The results as a table in Markdown, with the machine and its load."""
    machine = document["machine"]
    load = max(run["load"] for runs in document["runs"].values() for run in runs)
    yield (
        f"Scale factor {document['scale']:g}, {machine['cores']} cores, DuckDB {machine['duckdb']}, measured "
        f"{machine['at']}; the load before a run was at most {load}."
    )
    yield ""
    yield "Seconds of the processor, those of the clock in brackets."
    yield ""
    yield (
        "| | a pair | MB written by five | 22 queries: before | after five pairs | degradation rate | maintenance | "
        "queries after it | whole run | peak GB | rows and answers | runs |"
    )
    yield "|---" * 12 + "|"
    for engine, found in document["medians"].items():
        yield "| " + " | ".join(_line(engine, found)) + " |"


def _line(engine: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    if not found["runs"]:
        return (engine, "failed: " + found["failed"][0], *[""] * 10)
    pairs, looks = found["pairs"], found["queries"]
    right = found["rows right"] and not found["wrong answers"]
    return (
        engine,
        _both({name: statistics.mean(pair[name] for pair in pairs) for name in ("seconds", "processor seconds")}),
        f"{sum(pair['written MB'] for pair in pairs):.1f}",
        _both(looks[0]),
        _both(looks[-1]),
        f"{found['degradation rate']:.3f}",
        _both(found["maintenance"]),
        _both(found["queries after maintenance"]),
        f"{found['processor seconds']:.0f}",
        f"{found['peak MB'] * (1 << 20) / 1e9:.2f}",
        "right" if right else f"**wrong**, queries {found['wrong answers']}",
        str(found["runs"]),
    )


def _both(step: Mapping[str, float] | None) -> str:
    return "" if step is None else f"{step['processor seconds']:.2f} ({step['seconds']:.2f})"
