"""Run a batch of each shape in a process of its own, with the memory and threads of the default setting, and watch what
it takes: seconds by the clock and of the processor, peak of resident memory, peak of scratch. Write the results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from benchmarks.lakes import lake_in
from benchmarks.processes import machine, megabytes, watched
from benchmarks.shapes.batch import NAME
from benchmarks.shapes.data import MEMORY_MB, SCRATCH_TIMES, SHAPES, Shape

RESULTS = Path(__file__).parents[1] / "results" / "shapes.json"


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__)
    parser.add_argument("--only", choices=sorted(SHAPES), action="append")
    parser.add_argument("--share", type=float, default=1.0, help="of the full size of each shape")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gavel-benchmarks/shapes"))  # noqa: S108
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    found = json.loads(given.results.read_text())["shapes"] if given.only and given.results.exists() else {}
    for name in given.only or SHAPES:
        found[name] = measure(SHAPES[name], given.folder / name, given.share)
        _say(f"{name}: {json.dumps(found[name])}")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    bounds = {
        "peak MB": MEMORY_MB,
        "scratch, times the object (or, if that compresses much, the decompressed)": SCRATCH_TIMES,
    }
    given.results.write_text(json.dumps({"machine": machine(), "bounds": bounds, "shapes": found}, indent=1) + "\n")


def measure(shape: Shape, folder: Path, share: float) -> dict[str, Any]:
    """The shape's batches one after the other, over one table."""
    shutil.rmtree(folder, ignore_errors=True)
    batches = []
    for number in range(1, shape.batches + 1):
        size, decompressed = _land(shape, folder, share, number)
        measured = {
            "object MB": megabytes(size),
            "decompressed MB": megabytes(decompressed),
            **watched(["benchmarks.shapes.batch", shape.contract.name], folder),
        }
        measured["scratch, times the object"] = round(measured["scratch MB"] / measured["object MB"], 2)
        measured["scratch, times the decompressed"] = round(measured["scratch MB"] / measured["decompressed MB"], 2)
        batches.append(measured)
    shutil.rmtree(folder)
    return {"what": shape.what, "share": share, "most seconds": shape.most_seconds, "batches": batches}


def _land(shape: Shape, folder: Path, share: float, number: int) -> tuple[int, int]:
    """Land the objects of a batch; returns their bytes, and those of their rows before they were compressed."""
    path = folder / f"{number}-{shape.name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(folder / "made")}) as duck:
        shape.make(duck, path, share, number)
    lake = lake_in(folder, NAME)
    size = decompressed = 0
    for part in _cut(path, shape.objects) if shape.objects > 1 else [path]:
        below = f"dt=2026-11-21/hh=10/{part.name}" if shape.contract.origin == "stream" else part.name
        lake.store.upload(part, lake.landing_prefix(shape.contract) + below)
        size += part.stat().st_size
        decompressed += _decompressed(part)
        part.unlink()
    return size, decompressed


def _cut(path: Path, count: int) -> Iterator[Path]:
    """A Parquet file in so many, each of which may be removed before the next."""
    rows = pq.read_table(path)
    path.unlink()
    for n in range(count):
        first, end = (len(rows) * edge // count for edge in (n, n + 1))
        part = path.with_name(f"{n:05d}-{path.name}")
        pq.write_table(rows.slice(first, end - first), part, compression="zstd")
        yield part


def _decompressed(path: Path) -> int:
    if path.suffix != ".parquet":
        return path.stat().st_size
    footer = pq.read_metadata(path)
    return sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
