"""Run one engine in a process of its own and measure it from outside: time, CPU, memory of the whole tree, files.

`measure` starts that process, watches it and checks its result; `child` is what the process itself does.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.merge import expected
from benchmarks.merge.data import ChangeSet, Data
from benchmarks.merge.work import ENGINES, THREADS, Done, Engine, Missing, Work
from benchmarks.processes import allocated

_RESULT = "BENCHMARK "
_SAMPLE_SECONDS = 0.02
_SCRATCH_SECONDS = 0.25
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Limits:
    """When a run is ended and reported as such: seconds of the measured process, bytes of its tree."""

    seconds: float = 300.0
    bytes: int = 16 << 30


@dataclass(frozen=True)
class Lap:
    """One merge: seconds of wall clock and of CPU (of the whole process tree), both without start and preparation;
    bytes and number of the files that the table gained; seconds by step and notes as the engine tells them."""

    seconds: float
    cpu_seconds: float
    written_bytes: int
    written_files: int
    steps: dict[str, float]
    notes: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One run of one engine: its merges in a row, and maintenance after them where that was requested.

    `peak_bytes` is the resident memory of the process tree at its highest, interpreter and packages included;
    `disk_bytes` all that was written to disk, scratch included; `scratch_bytes` the scratch at its fullest, as seen
    every quarter of a second; `files` those that a reader of the result opens; `elsewhere` the cores that other
    processes of the machine took meanwhile (numbers are good where it is near 0), `load` the machine's before the run.
    `wrong_rows` and `others_right` are those of `expected.Comparison`, None if nothing was compared. `failed` says why
    there is no result.
    """

    merges: list[Lap] = field(default_factory=list)
    maintenance: Lap | None = None
    peak_bytes: int = 0
    disk_bytes: int = 0
    scratch_bytes: int | None = None
    files: int = 0
    elsewhere: float = 0.0
    load: float = 0.0
    rows: int | None = None
    wrong_rows: int | None = None
    others_right: bool | None = None
    failed: str = ""


def measure(
    engine: str,
    data: Data,
    sets: Sequence[ChangeSet],
    folder: Path,
    limits: Limits,
    *,
    compare: bool = True,
    maintain: bool = False,
) -> Measured:
    """Measure one engine on its own copy of the table; `folder` is emptied before and after."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    request = {
        "engine": engine,
        "data": [str(data.root), data.rows, data.name],
        "sets": [[s.count, s.spread, s.number] for s in sets],
        "folder": str(folder),
        "maintain": maintain,
    }
    try:
        prepared, _, _ = _run("prepare", request, Limits(seconds=900.0))
        if "failed" in prepared:
            return Measured(failed=prepared["failed"])
        os.sync()  # what earlier runs wrote is not written back at this one's expense
        _warm(data, sets)
        load = round(os.getloadavg()[0], 1)
        said, peak, scratch = _run("merge", request, limits)
        if "failed" in said:
            return Measured(peak_bytes=peak, scratch_bytes=scratch, load=load, failed=said["failed"])
        comparison = None
        if compare and said["source"]:
            comparison = expected.compare(data, expected.compute(data, sets), said["source"], said["setup"])
        return Measured(
            merges=[Lap(**lap) for lap in said["merges"]],
            maintenance=Lap(**said["maintenance"]) if said["maintenance"] else None,
            peak_bytes=peak,
            disk_bytes=said["disk_bytes"],
            scratch_bytes=scratch,
            files=said["files"],
            elsewhere=said["elsewhere"],
            load=load,
            rows=comparison.rows if comparison else None,
            wrong_rows=comparison.wrong_rows if comparison else None,
            others_right=comparison.others_right if comparison else None,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink(missing_ok=True)


def _warm(data: Data, sets: Sequence[ChangeSet]) -> None:
    """Read the input once, so that every engine finds it in the page cache."""
    landed = [path for s in sets for path in data.landed(s).glob("*.parquet")]
    for path in (*data.files, *(data.changes(s) for s in sets), *landed):
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def _run(phase: str, request: dict[str, Any], limits: Limits) -> tuple[dict[str, Any], int, int]:
    """Run a phase in a child; returns what it says, the highest memory of its tree and the most scratch there was."""
    command = [sys.executable, "-m", "benchmarks.merge", "child", phase, json.dumps(request)]
    log = Path(request["folder"]).with_suffix(".log")
    with log.open("w") as errors:
        process = psutil.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        started, peak, scratch, ended, look = time.monotonic(), 0, 0, "", 0.0
        try:
            while process.poll() is None:
                peak = max(peak, _tree_bytes(process))
                if time.monotonic() > look:
                    scratch = max(scratch, allocated(Path(request["folder"]) / "scratch"))
                    look = time.monotonic() + _SCRATCH_SECONDS
                if time.monotonic() - started > limits.seconds:
                    ended = f"stopped after {limits.seconds:.0f} s"
                elif peak > limits.bytes:
                    ended = f"stopped at {peak / 1e9:.1f} GB of memory"
                if ended:
                    _end(process)
                time.sleep(_SAMPLE_SECONDS)
        finally:
            _end(process)
        assert process.stdout is not None
        output = process.stdout.read().decode()
    lines = [line for line in output.splitlines() if line.startswith(_RESULT)]
    if not lines:
        return {"failed": ended or _error(log.read_text()) or f"ended with {process.returncode}"}, peak, scratch
    said: dict[str, Any] = json.loads(lines[-1].removeprefix(_RESULT))
    return said, max(peak, said.pop("own_peak_bytes", 0)), scratch


def _error(log: str) -> str:
    """The error that ended a process, in short, and where it was raised."""
    lines = log.splitlines()
    raised = [n for n, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)]
    if not raised:
        return " ".join(lines[-5:])[-500:]
    frames = [line.strip() for line in lines[: raised[-1]] if line.startswith("  File ")]
    where = " < ".join(re.sub(r'^File ".*/([^/]+)", line (\d+), in (\w+)', r"\1:\2 \3", f) for f in frames[:-4:-1])
    return f"{' '.join(lines[raised[-1] : raised[-1] + 3])[:400]} ({where})"


def _tree(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    try:
        yield from process.children(recursive=True)
    except psutil.NoSuchProcess:
        return


def _summed(process: psutil.Process, value: Callable[[psutil.Process], float]) -> float:
    """The sum over a process tree, of which members may end meanwhile."""
    total = 0.0
    for member in _tree(process):
        try:
            total += value(member)
        except psutil.NoSuchProcess:
            continue
    return total


def _tree_bytes(process: psutil.Process) -> int:
    """Resident memory of the tree. Only Spark has two processes, a small Python and the JVM, which share next to
    nothing: for the others this is what their proportional share would be, at a fraction of the cost of asking."""
    return int(_summed(process, lambda member: member.memory_info().rss))


def _end(process: psutil.Process) -> None:
    for member in list(_tree(process)):
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def child(phase: str, request: dict[str, Any]) -> None:
    """What the engine's process does; the last line it writes is what it has to say."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    root, rows, name = request["data"]
    data = Data(Path(root), rows, name)
    sets = tuple(ChangeSet(data.rows, count, spread, number) for count, spread, number in request["sets"])
    work = Work(data, sets, expected.compute(data, sets), Path(request["folder"]))
    module, _, class_ = ENGINES[request["engine"]].partition(".")
    engine: Engine = getattr(importlib.import_module(f"benchmarks.merge.{module}"), class_)()
    said: dict[str, Any] = {}
    try:
        if phase == "prepare":
            engine.prepare(work)
        else:
            said = _merge(engine, work, request["maintain"])
    except Missing as missing:
        said = {"failed": str(missing)}
    sys.stdout.write(f"\n{_RESULT}{json.dumps(said)}\n")
    sys.stdout.flush()


def _merge(engine: Engine, work: Work, maintain: bool) -> dict[str, Any]:
    engine.start(work)
    disk, cpu, busy, started = _disk_bytes(), _cpu_seconds(), _busy_seconds(), time.perf_counter()
    merges = []
    for changes in work.sets:
        merges.append(_lap(work, lambda changes=changes: engine.merge(work, changes)))  # type: ignore[misc]
    maintenance = _lap(work, lambda: engine.maintain(work)) if maintain else None
    elsewhere = (_busy_seconds() - busy - (_cpu_seconds() - cpu)) / (time.perf_counter() - started)
    said = {
        "elsewhere": round(max(0.0, elsewhere), 2),
        "merges": [asdict(lap) for lap in merges if lap],
        "maintenance": asdict(maintenance) if maintenance else None,
        "disk_bytes": _disk_bytes() - disk,
        "own_peak_bytes": _own_peak_bytes(),
    }
    result = engine.result(work)
    return {**said, "source": result.source, "setup": result.setup, "files": result.files}


def _lap(work: Work, act: Callable[[], Done | None]) -> Lap | None:
    before, cpu, started = _files(work.folder), _cpu_seconds(), time.perf_counter()
    done = act()
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    if done is None:
        return None
    new = [size for path, size in _files(work.folder).items() if path not in before]
    steps = {step: round(value, 3) for step, value in done.steps.items()}
    return Lap(round(seconds, 3), round(cpu, 3), sum(new), len(new), steps, dict(done.notes))


def _files(folder: Path) -> dict[Path, int]:
    """The files that are there, by path, scratch and landing left out: those of tables, ledger and catalog."""
    found = {}
    for path in folder.rglob("*"):
        top = path.relative_to(folder).parts
        if top[0] != "scratch" and "landing" not in top[:2] and path.is_file():
            found[path] = path.stat().st_size
    return found


def _cpu_seconds() -> float:
    return _summed(psutil.Process(), lambda member: member.cpu_times().user + member.cpu_times().system)


def _busy_seconds() -> float:
    """CPU seconds that the machine spent since it started, those that its host took away included."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _disk_bytes() -> int:
    return int(_summed(psutil.Process(), lambda member: member.io_counters().write_bytes))


def _own_peak_bytes() -> int:
    """The highest resident memory of this process as the kernel kept it: exact where sampling may miss a moment."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
