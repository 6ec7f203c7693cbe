"""Measure records a second of one core, ours and the peers in turn, and memory over many batches; write the results.

CPU time of the process counts, not the clock's, and the best round of each batch: other work on the machine takes the
caches, and never makes a round faster. Each round begins with a freshly decoded event, as a function gets it from
Lambda; decoding is not counted, and the same for all. The same batch once more, with every object in the caches, is
shown, too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.processes import processor
from benchmarks.relay.data import records
from benchmarks.relay.ways import Batch, Way, bare, ours, peer
from contracts import load_contracts
from contracts.compact import dump_compact, load_compact

RESULTS = Path(__file__).parents[1] / "results" / "relay.json"
GOAL = 3.5
"""Times the throughput of boto3's deserializer with json."""

PAGE = os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--records", type=int, default=4000, help="changes of the simulated house")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=40, help="of each batch and way; the best one counts")
    parser.add_argument("--memory-batches", type=int, default=1000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    contracts = load_compact(dump_compact(load_contracts()))
    made = records(contracts, given.records)
    batches = [made[i : i + given.batch] for i in range(0, len(made), given.batch)]
    ways = {
        "ours": ours(contracts),
        "boto3 and json, the same job": peer(contracts),
        "boto3 and json, bare": bare(contracts),
    }
    gc.collect()
    gc.freeze()  # as the function does when it begins
    fresh, again = measure(ways, batches, given.rounds)
    rates = {name: round(len(made) / seconds) for name, seconds in fresh.items()}
    found = {
        "machine": _machine(),
        "records": len(made),
        "attributes_per_record": round(sum(len(r["dynamodb"]["NewImage"]) for r in made) / len(made), 1),
        "goal": GOAL,
        "records_per_cpu_second": rates,
        "times_faster": {name: round(s / fresh["ours"], 2) for name, s in fresh.items() if name != "ours"},
        "times_faster_in_the_caches": {
            name: round(s / again["ours"], 2) for name, s in again.items() if name != "ours"
        },
        "memory": memory(ways["ours"], batches, given.memory_batches),
    }
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


def measure(ways: dict[str, Way], batches: Sequence[Batch], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds of each way over all batches, freshly decoded and once more: the best of so many rounds of each, the
    ways taking turns."""
    fresh, again = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for batch in batches:
        event = json.dumps(batch)
        best = {name: [float("inf"), float("inf")] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                decoded = json.loads(event)
                for turn in (0, 1):
                    started = time.process_time()
                    way(decoded)
                    best[name][turn] = min(best[name][turn], time.process_time() - started)
        for name, (first, second) in best.items():
            fresh[name] += first
            again[name] += second
    return fresh, again


def memory(way: Way, batches: Sequence[Batch], count: int) -> dict[str, Any]:
    """Resident bytes of the process after a tenth of the batches, and how many more after all of them."""
    sizes = []
    for number in range(count):
        way(batches[number % len(batches)])
        if (number + 1) % (count // 10) == 0:
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE)
    return {"batches": count, "resident_bytes": sizes[0], "grown_bytes": max(sizes) - sizes[0]}


def _machine() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("boto3", "orjson")},
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
