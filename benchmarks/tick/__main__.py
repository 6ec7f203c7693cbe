"""Starts the stack, lands micro-batches one after the other, and writes what each took, by phase and by step."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.tick import report
from benchmarks.tick.changes import MicroBatch, land
from benchmarks.tick.running import (
    PATIENCE,
    Tick,
    dagster_running,
    processor_seconds,
    quiet,
    requesting,
    ticks_since,
    variables,
)
from benchmarks.tick.slow_store import slow_store
from contracts import Contracts, load_contracts
from lakehouse.publish.published import published
from lakehouse.storage.lake import Lake
from local import stack as laptop_stack
from local.aws import Aws
from local.home import REPOSITORY, Home

RESULTS = Path(__file__).parents[1] / "results" / "tick.json"
CHANGES = 1_000
ROWS = 5_000
"""Items of each entity before the first tick (at most as many as it has keys)."""
MOST = {"countries": 676}
NEW = 0.2
"""The share of changes that are new items."""


def micro_batch(entity: str, number: int, changes: int, rows: int) -> MicroBatch:
    """Updates scattered over the items of the entity, and new items, which the next batches may change, too."""
    rows = min(rows, MOST.get(entity, rows))
    new = 0 if entity in MOST else int(changes * NEW)
    updated = [(number * 7919 + n * 104_729) % rows for n in range(changes - new)]
    return MicroBatch(
        number, 10 + number, list(dict.fromkeys([*updated, *range(rows + number * new, rows + (number + 1) * new)]))
    )


@dataclass(frozen=True)
class Plan:
    """How much is measured, of which checkout's code, how long each request of the store waits (seconds), and whether
    requests are counted: the proxy that does takes some of the machine's processor time."""

    repeats: int = 5
    rows: int = ROWS
    repository: Path = REPOSITORY
    delay: float = 0.0
    counted: bool = False


def measure(home: Home, contracts: Contracts, plan: Plan, progress: Any) -> dict[str, Any]:
    """Land and wait `repeats` times on a stack of its own; the first tick, which ingests the base, is left out."""
    stack, rows = laptop_stack.up(home, contracts).stack, plan.rows
    try:
        with (
            slow_store(stack.port or 0, plan.delay) if plan.counted else nullcontext() as store,
            variables(replace(stack, front=store.url) if store else stack, home),
            dagster_running(home, stack, plan.repository) as daemon,
        ):
            client, bucket = Aws(stack.endpoint).client("s3"), stack.outputs["DataBucketName"]
            with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
                base = [(e, MicroBatch(0, 1, range(min(rows, MOST.get(e, rows))))) for e in contracts]
                lake = Lake.of_environment("local", bucket, "eu-west-1", stack.endpoint)
                published_at_last(lake, contracts, land(client, bucket, contracts, base))
                progress(f"{rows:,} items of each entity are published")
                rounds: list[dict[str, Any]] = []
                for number in itertools.count(1):
                    quiet(instance)
                    counts = store.counts if store else Counter[str]()
                    counts.clear()
                    of = {"processor seconds": daemon, "emulator": stack.emulator.pid if stack.emulator else 0}
                    used = {name: processor_seconds(process) for name, process in of.items()}
                    if (done := one_round(instance, client, bucket, contracts, lake, number, rows)) is None:
                        progress(f"round {number}: a look saw a part of what landed; it does not count")
                        continue
                    done |= {
                        **{name: round(processor_seconds(process) - used[name], 1) for name, process in of.items()},
                        "requests": dict(sorted(counts.items())),
                    }
                    rounds.append(done)
                    progress(f"round {number}: {done['seconds']} s, {sum(counts.values()) or 'uncounted'} requests")
                    if len(rounds) == plan.repeats:
                        break
                return summary(rounds)
    finally:
        laptop_stack.down(home)


def one_round(
    instance: dg.DagsterInstance, client: Any, bucket: str, contracts: Contracts, lake: Lake, number: int, rows: int
) -> dict[str, Any] | None:
    """Land one micro-batch and wait until all of it is published. None if a tick had begun that saw a part of it, so
    that one more run had to follow."""
    share = CHANGES // len(contracts)
    extra = CHANGES - share * len(contracts)
    batches = [(e, micro_batch(e, number, share + (n < extra), rows)) for n, e in enumerate(contracts)]
    before = changes_published(lake, contracts)
    known = requesting(instance)
    changes = land(client, bucket, contracts, batches)
    ticks = ticks_since(instance, known)
    found = changes_published(lake, contracts) - before
    if found < changes:
        published_at_last(lake, contracts, before + changes)
        return None
    if found > changes:
        raise RuntimeError(f"expected {changes} more published changes after the round, found {found}")
    return {
        "changes": changes,
        "seconds": round(max(t.seconds for t in ticks.values()), 3),
        "load": round(os.getloadavg()[0], 1),
        "ticks": {name: described(tick) for name, tick in ticks.items()},
    }


def published_at_last(lake: Lake, contracts: Contracts, changes: int) -> None:
    """Wait until readers see so many changes."""
    deadline = time.monotonic() + PATIENCE
    while (found := changes_published(lake, contracts)) < changes:
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {changes} published changes within {PATIENCE} s, found {found}")
        time.sleep(0.5)


def changes_published(lake: Lake, contracts: Contracts) -> int:
    """The changes of all entities that readers see now."""
    states = [published(lake, contract) for contract in contracts.values()]
    return sum(state.changes for state in states if state is not None)


def described(tick: Tick) -> dict[str, Any]:
    """A tick's result: seconds by phase, and of each step."""
    return {
        "seconds": round(tick.seconds, 3),
        "phases": {name: round(seconds, 3) for name, seconds in tick.phases().items()},
        "steps": {key: round(seconds, 3) for key, seconds in tick.steps.items()},
    }


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, and the rounds."""
    by_sensor: dict[str, list[dict[str, Any]]] = {}
    for one in rounds:
        for name, tick in one["ticks"].items():
            by_sensor.setdefault(name, []).append(tick)
    return {
        "median seconds": round(statistics.median(r["seconds"] for r in rounds), 3),
        "median processor seconds": round(statistics.median(r["processor seconds"] for r in rounds), 1),
        "median requests": {
            kind: round(statistics.median(r["requests"].get(kind, 0) for r in rounds))
            for kind in sorted({kind for r in rounds for kind in r["requests"]})
        },
        "median by sensor": {
            name: {
                "seconds": round(statistics.median(t["seconds"] for t in ticks), 3),
                "phases": {
                    phase: round(statistics.median(t["phases"][phase] for t in ticks), 3)
                    for phase in ticks[0]["phases"]
                },
            }
            for name, ticks in by_sensor.items()
        },
        "rounds": rounds,
    }


def main(arguments: list[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tick", description=sys.modules[__name__].__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--label", default="now", help="the name of this measurement in the results")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="another checkout whose code is measured")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long each request of S3 and Glue waits")
    parser.add_argument("--count", action="store_true", help="count requests, as is done wherever they wait")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only show in the docs what was measured")
    options = parser.parse_args(arguments)
    if options.report:
        report.write(json.loads(options.output.read_text(encoding="utf-8")))
        return

    def progress(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="gavel-tick-") as folder:
        delay = options.delay_ms / 1000
        plan = Plan(options.repeats, options.rows, options.repository, delay, counted=options.count or delay > 0)
        result = measure(Home(Path(folder) / "home"), load_contracts(), plan, progress)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    results[options.label] = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "changes": CHANGES,
        "items of each entity": options.rows,
        "ms for each request": options.delay_ms,
        **result,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    progress(f"median {result['median seconds']} s; written to {options.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
