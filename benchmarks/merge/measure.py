"""Run one engine in a process of its own and measure it from outside: time, CPU, memory of the whole tree, files.

`child` is what that process does; `measure` starts it, watches it and checks its result.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.merge import expected
from benchmarks.merge.data import ChangeSet, Data
from benchmarks.merge.work import THREADS, Engine, Missing, Work

ENGINES = {
    "ours": "ours.OursMerge",
    "ours, whole batch": "ours.OursBatch",
    "copy": "peers.Copy",
    "delta-rs": "peers.Delta",
    "polars": "peers.Polars",
    "duckdb window": "peers.DuckFull",
    "pyiceberg upsert": "peers.Upsert",
    "pandas": "peers.Pandas",
    "spark": "peers.Spark",
}
"""All engines by the name that results carry, and where they are: a process imports only its own."""

_RESULT = "BENCHMARK "
_SAMPLE_SECONDS = 0.02
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Limits:
    """When a run is ended and reported as such: seconds of the measured process, bytes of its tree."""

    seconds: float = 300.0
    bytes: int = 16 << 30


@dataclass(frozen=True)
class Measured:
    """One run of one engine: lists have one value per merge in a row.

    `seconds` and `cpu_seconds` are those of the merges alone (CPU of the whole process tree); `peak_bytes` is the
    resident memory of the tree at its highest, interpreter and packages included; `written_bytes` and `written_files`
    are what the table gained, `disk_bytes` all that was written, scratch included. `failed` says why there is nothing.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    written_bytes: list[int] = field(default_factory=list)
    written_files: list[int] = field(default_factory=list)
    disk_bytes: int = 0
    peak_bytes: int = 0
    rows: int = 0
    wrong_rows: int | None = None
    others_right: bool | None = None
    failed: str = ""


def measure(engine: str, data: Data, sets: Sequence[ChangeSet], folder: Path, limits: Limits) -> Measured:
    """Measure one engine on its own copy of the table; `folder` is emptied before and after."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    request = {
        "engine": engine,
        "data": str(data.root),
        "rows": data.rows,
        "sets": [[s.count, s.spread, s.number] for s in sets],
        "folder": str(folder),
    }
    try:
        prepared, _ = _run("prepare", request, Limits(seconds=900.0))
        if "failed" in prepared:
            return Measured(failed=prepared["failed"])
        os.sync()  # what earlier runs wrote is not written back at this one's expense
        _warm(data, sets)
        found, peak = _run("merge", request, limits)
        if "failed" in found:
            return Measured(peak_bytes=peak, failed=found["failed"])
        source, setup = found.pop("source"), found.pop("setup")
        measured = Measured(peak_bytes=peak, **found)
        if source is None:
            return measured
        verdict = expected.compare(expected.compute(data, sets), source, setup)
        checked = {"rows": verdict.rows, "wrong_rows": verdict.wrong_rows, "others_right": verdict.others_right}
        return Measured(**{**vars(measured), **checked})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _warm(data: Data, sets: Sequence[ChangeSet]) -> None:
    """Read the input once, so that every engine finds it in the page cache."""
    landed = [path for s in sets for path in data.landed(s).glob("*.parquet")]
    for path in (*data.files, *(data.changes(s) for s in sets), *landed):
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def _run(phase: str, request: dict[str, Any], limits: Limits) -> tuple[dict[str, Any], int]:
    """Run a phase in a child; returns what it says and the highest memory of its tree."""
    command = [sys.executable, "-m", "benchmarks.merge", "child", phase, json.dumps(request)]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    log = Path(request["folder"]).with_suffix(".log")
    with log.open("w") as errors:
        process = psutil.Popen(
            command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        started, peak, ended = time.monotonic(), 0, ""
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process))
            if time.monotonic() - started > limits.seconds:
                ended = f"stopped after {limits.seconds:.0f} s"
            elif peak > limits.bytes:
                ended = f"stopped at {peak / (1 << 30):.1f} GB of memory"
            if ended:
                _end(process)
            time.sleep(_SAMPLE_SECONDS)
        assert process.stdout is not None
        output = process.stdout.read().decode()
    lines = [line for line in output.splitlines() if line.startswith(_RESULT)]
    if not lines:
        told = " ".join(log.read_text().split("\n")[-8:]).strip()
        return {"failed": ended or told[-600:] or f"ended with {process.returncode}"}, peak
    said: dict[str, Any] = json.loads(lines[-1].removeprefix(_RESULT))
    return said, max(peak, said.pop("own_peak_bytes", 0))


def _tree_bytes(process: psutil.Process) -> int:
    """Resident memory of the tree. Pages shared between its processes count once for each; only Spark has two, a
    small Python and the JVM."""
    return sum(member.memory_info().rss for member in _tree(process) if _alive(member))


def _tree(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    try:
        yield from process.children(recursive=True)
    except psutil.NoSuchProcess:
        return


def _alive(process: psutil.Process) -> bool:
    try:
        process.memory_info()
    except psutil.NoSuchProcess:
        return False
    return True


def _end(process: psutil.Process) -> None:
    for member in _tree(process):
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def child(phase: str, request: dict[str, Any]) -> None:
    """What the engine's process does; the last line it writes is the result."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    data = Data(Path(request["data"]), request["rows"])
    sets = tuple(ChangeSet(data.rows, count, spread, number) for count, spread, number in request["sets"])
    work = Work(data, sets, expected.compute(data, sets), Path(request["folder"]))
    engine = _engine(request["engine"])
    try:
        said = _prepare(engine, work) if phase == "prepare" else _merge(engine, work)
    except Missing as missing:
        said = {"failed": str(missing)}
    sys.stdout.write(f"\n{_RESULT}{json.dumps(said)}\n")
    sys.stdout.flush()


def _engine(name: str) -> Engine:
    module, _, class_ = ENGINES[name].partition(".")
    engine: Engine = getattr(importlib.import_module(f"benchmarks.merge.{module}"), class_)()
    return engine


def _prepare(engine: Engine, work: Work) -> dict[str, Any]:
    engine.prepare(work)
    return {}


def _merge(engine: Engine, work: Work) -> dict[str, Any]:
    engine.start(work)
    before = _files(work.folder)
    said: dict[str, Any] = {
        name: [] for name in ("seconds", "cpu_seconds", "steps", "notes", "written_bytes", "written_files")
    }
    disk = _disk_bytes()
    for changes in work.sets:
        cpu, started = _cpu_seconds(), time.perf_counter()
        done = engine.merge(work, changes)
        said["seconds"].append(round(time.perf_counter() - started, 3))
        said["cpu_seconds"].append(round(_cpu_seconds() - cpu, 3))
        said["steps"].append({step: round(seconds, 3) for step, seconds in done.steps.items()})
        said["notes"].append(dict(done.notes))
        after = _files(work.folder)
        new = [size for path, size in after.items() if path not in before]
        said["written_bytes"].append(sum(new))
        said["written_files"].append(len(new))
        before = after
    said["disk_bytes"] = _disk_bytes() - disk
    result = engine.result(work)
    said["source"], said["setup"] = (result.source, result.setup) if result else (None, "")
    said["own_peak_bytes"] = _own_peak_bytes()
    return said


def _files(folder: Path) -> dict[Path, int]:
    """The files that are there, by path, scratch and landing left out: those of tables, ledger and catalog."""
    found = {}
    for path in folder.rglob("*"):
        top = path.relative_to(folder).parts
        if path.is_file() and top[0] != "scratch" and "landing" not in top[:2]:
            found[path] = path.stat().st_size
    return found


def _cpu_seconds() -> float:
    total = 0.0
    for member in _tree(psutil.Process()):
        times = member.cpu_times()
        total += times.user + times.system
    return total


def _disk_bytes() -> int:
    return sum(member.io_counters().write_bytes for member in _tree(psutil.Process()))


def _own_peak_bytes() -> int:
    """The highest resident memory of this process as the kernel kept it: exact where sampling may miss a moment."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
