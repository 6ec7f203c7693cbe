"""Makes the lakes, takes every measure, and writes the results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assets.resources import LakeResource
from benchmarks.ledger import year as data
from benchmarks.ledger.measures import PASSES, TICK_MEASURES, Measured, in_own_process
from lakehouse.intake.landing import LATEST_DELIVERY

S3_LANDED = LATEST_DELIVERY + timedelta(hours=1)
"""As far back as a tick looks; each object costs the emulator some milliseconds."""
RESULTS = Path(__file__).parents[1] / "results" / "ledger.json"


def run(config: dict[str, Any], year: data.Year, progress: Callable[[str], None]) -> Measured:
    """Make the lake, then take every measure of it."""
    started = time.perf_counter()
    objects = data.make(LakeResource(**config).lake, year)
    made = time.perf_counter() - started
    progress(f"  {objects:,} objects in the ledgers, made in {made:.0f} s")
    measures = dict(TICK_MEASURES)
    if config.get("local_root"):
        measures |= PASSES
    results = {}
    for name, measure in measures.items():
        results[name] = result = in_own_process(measure, config, year)
        seconds, processor = result["median seconds"], result["median processor seconds"]
        progress(f"  {name}: {seconds} s ({processor} s of processor), peak {result['peak MB']} MB")
    tick = [results[name]["median seconds"] for name in ("sensor tick", "discovery of a tick")]
    ledger = sum(o.size for o in LakeResource(**config).lake.store.list("ledger/"))
    return {"objects": objects, "ledger MB": round(ledger / 1e6), "tick seconds": round(sum(tick), 3), **results}


@contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """An emulator of its own; yields its endpoint."""
    from local.emulator import halt, start
    from local.home import Home

    home = Home(folder)
    stack = start(home).stack
    try:
        yield stack.endpoint
    finally:
        halt(home, clean=False)


def main(arguments: list[str]) -> None:
    """Measure on a lake in a folder with a listing that is made up, and on the emulator."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=sys.modules[__name__].__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gavel-benchmarks/ledger"))  # noqa: S108
    parser.add_argument("--only", choices=["folder", "s3"])
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    def progress(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    end = datetime.now(UTC).replace(second=0, microsecond=0)
    results: Measured = {
        "at": f"{end:%Y-%m-%d}",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)},
        "entities": len(data.streams()),
        "days": options.days,
        "buffer seconds": data.BUFFER.seconds,
    }
    if options.only != "s3":
        progress("a lake in a folder, its listing made up")
        config = data.folder_lake(data.clear(options.folder / "lake"))
        results["folder"] = run(config, data.year_until(end, options.days, data.S3_ETAG, timedelta(0)), progress)
    if options.only != "folder":
        progress("the emulator's S3 and Glue")
        with emulator(data.clear(options.folder / "stack")) as endpoint:
            config = data.stack_lake(endpoint)
            lake = LakeResource(**config).lake
            lake.client("s3").create_bucket(
                Bucket=lake.bucket, CreateBucketConfiguration={"LocationConstraint": lake.region}
            )
            results["s3"] = run(config, data.year_until(end, options.days, data.S3_ETAG, S3_LANDED), progress)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    progress(f"written to {options.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
