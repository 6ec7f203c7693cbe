"""What the runs of an engine come to: medians over runs, LST-Bench's degradation rate, and the table of the docs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any


def degradation(seconds: Sequence[float]) -> float:
    """LST-Bench's degradation rate of the same queries one after the other: the mean of how much longer each look took
    than the one before it, as a share (0.05 is 5% a look)."""
    return statistics.mean((after - before) / before for before, after in pairwise(seconds))


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The medians of an engine's runs that did not fail, and all that was wrong in any of them."""
    done = [run for run in runs if "failed" not in run]
    if not done:
        return {"runs": 0, "failed": [run["failed"] for run in runs]}
    looks = [[look["seconds"] for look in run["looks"]] for run in done]
    after = [run["look after maintenance"] for run in done if run["look after maintenance"]]
    every = [look for run in done for look in (*run["looks"], run["look after maintenance"]) if look]
    kept = [run["maintenance seconds"] for run in done if run["maintenance seconds"] is not None]
    return {
        "runs": len(done),
        "pair seconds": [statistics.median(p) for p in zip(*_of_pairs(done, "seconds"), strict=True)],
        "written MB": [statistics.median(p) for p in zip(*_of_pairs(done, "written MB"), strict=True)],
        "queries seconds": [statistics.median(look) for look in zip(*looks, strict=True)],
        "degradation rate": round(statistics.median(degradation(look) for look in looks), 4),
        "maintenance seconds": statistics.median(kept) if kept else None,
        "queries after maintenance": statistics.median(look["seconds"] for look in after) if after else None,
        "processor seconds": statistics.median(run["processor seconds"] for run in done),
        "peak MB": max(run["peak MB"] for run in done),
        "scratch MB": max(run["scratch MB"] for run in done),
        "rows right": all(look["rows right"] for look in every),
        "wrong answers": sorted({number for look in every for number in look["wrong answers"]}),
    }


def _of_pairs(runs: Sequence[Mapping[str, Any]], what: str) -> list[list[float]]:
    return [[pair[what] for pair in run["pairs"]] for run in runs]


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The results as a table in Markdown, with the machine and its load."""
    machine = document["machine"]
    load = max(run["load"] for runs in document["runs"].values() for run in runs)
    yield (
        f"Scale factor {document['scale']:g}, {machine['cores']} cores, DuckDB {machine['duckdb']}, measured "
        f"{machine['at']}; the load before a run was at most {load}."
    )
    yield ""
    yield (
        "| | a pair, s | MB written | 22 queries: before, s | after five pairs, s | degradation rate | after "
        "maintenance, s | CPU s | peak GB | rows and answers | runs |"
    )
    yield "|---" * 11 + "|"
    for engine, found in document["medians"].items():
        yield "| " + " | ".join(_line(engine, found)) + " |"


def _line(engine: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    if not found["runs"]:
        return (engine, "failed: " + found["failed"][0], *[""] * 9)
    looks, after = found["queries seconds"], found["queries after maintenance"]
    right = found["rows right"] and not found["wrong answers"]
    return (
        engine,
        f"{statistics.mean(found['pair seconds']):.2f}",
        f"{sum(found['written MB']):.1f}",
        f"{looks[0]:.2f}",
        f"{looks[-1]:.2f}",
        f"{found['degradation rate']:.3f}",
        "" if after is None else f"{after:.2f} (took {found['maintenance seconds']:.1f})",
        f"{found['processor seconds']:.0f}",
        f"{found['peak MB'] / 1000:.2f}",
        "right" if right else f"**wrong**, queries {found['wrong answers']}",
        str(found["runs"]),
    )
