"""The file of results: what was measured, on which machine, with which versions. Written after each measurement."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.merge.cases import Case, Measurement
from benchmarks.merge.measure import Lap, Measured
from benchmarks.processes import processor

_PACKAGES = ("deltalake", "duckdb", "pandas", "polars", "pyarrow", "pyiceberg", "pyspark")


@dataclass(frozen=True)
class Run:
    """One measurement and what came of it."""

    measurement: Measurement
    measured: Measured


@dataclass(frozen=True)
class Median:
    """An engine on a case over its repetitions: medians of `n` runs (of the first merge in a row; the highest peaks).

    `elsewhere` is the most that other processes took meanwhile, in cores.
    """

    case: Case
    engine: str
    n: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    scratch_bytes: int | None
    written_bytes: int
    written_files: int
    elsewhere: float
    wrong_rows: int | None
    others_right: bool | None
    failed: str


@dataclass
class Results:
    """All runs so far. `machine` and `versions` are those they were made on and with."""

    machine: dict[str, Any]
    versions: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    def has(self, measurement: Measurement) -> bool:
        """Whether this was measured already."""
        return any(run.measurement == measurement for run in self.runs)

    def of(self, case: Case, engine: str) -> list[Measured]:
        """The runs of an engine on a case."""
        return [r.measured for r in self.runs if (r.measurement.case, r.measurement.engine) == (case, engine)]

    def median(self, case: Case, engine: str) -> Median | None:
        """An engine's medians on a case, or None where it was not measured."""
        runs = self.of(case, engine)
        if not runs:
            return None
        done = [run for run in runs if not run.failed]
        first = [run.merges[0] for run in done]
        compared = [run for run in done if run.wrong_rows is not None]
        return Median(
            case=case,
            engine=engine,
            n=len(done),
            seconds=_median(lap.seconds for lap in first),
            cpu_seconds=_median(lap.cpu_seconds for lap in first),
            peak_bytes=max(run.peak_bytes for run in runs),
            scratch_bytes=max((r.scratch_bytes for r in runs if r.scratch_bytes is not None), default=None),
            written_bytes=round(_median(lap.written_bytes for lap in first)),
            written_files=round(_median(lap.written_files for lap in first)),
            elsewhere=max((run.elsewhere for run in done), default=0.0),
            wrong_rows=max((run.wrong_rows or 0 for run in compared), default=None),
            others_right=all(run.others_right for run in compared) if compared else None,
            failed=next((run.failed for run in runs if run.failed), "") if not done else "",
        )

    def medians(self) -> list[Median]:
        """All medians, in the order of measuring."""
        pairs = dict.fromkeys((run.measurement.case, run.measurement.engine) for run in self.runs)
        found = (self.median(case, engine) for case, engine in pairs)
        return [median for median in found if median is not None]


def _median(values: Iterable[float]) -> float:
    known = list(values)
    return statistics.median(known) if known else 0.0


def new() -> Results:
    """No results yet, on this machine."""
    return Results(machine=_machine(), versions=_versions())


def going_on(path: Path) -> Results:
    """The results in a file, or none yet, to add to. Raises `ValueError` if they are of another machine: seconds of two
    machines say nothing side by side."""
    here, found = new(), load(path)
    if found is None:
        return here
    this, other = (f"{r.machine['cores']} cores of {r.machine['processor']}" for r in (here, found))
    if this != other:
        raise ValueError(f"{path}: expected results of {this}, found some of {other}; name another file by --results")
    return found


def load(path: Path) -> Results | None:
    """The results in a file, or None if there is none."""
    if not path.exists():
        return None
    document = json.loads(path.read_text())
    runs = [
        Run(
            Measurement(Case(**run["case"]), run["engine"], run["repeat"]),
            Measured(
                **{
                    **run["measured"],
                    "merges": [Lap(**lap) for lap in run["measured"]["merges"]],
                    "maintenance": Lap(**run["measured"]["maintenance"]) if run["measured"]["maintenance"] else None,
                }
            ),
        )
        for run in document["runs"]
    ]
    return Results(document["machine"], document["versions"], runs)


def save(results: Results, path: Path) -> None:
    """Write all results: medians first, every run behind them."""
    document = {
        "machine": results.machine,
        "versions": results.versions,
        "medians": [asdict(median) for median in results.medians()],
        "runs": [
            {
                "case": asdict(run.measurement.case),
                "engine": run.measurement.engine,
                "repeat": run.measurement.repeat,
                "measured": asdict(run.measured),
            }
            for run in results.runs
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new_file = path.with_suffix(".new")
    new_file.write_text(json.dumps(document, indent=1) + "\n")
    new_file.rename(path)


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    return {package: metadata.version(package) for package in _PACKAGES}
