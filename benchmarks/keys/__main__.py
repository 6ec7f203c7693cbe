"""Show how the writes of the simulator's busiest lot spread over the operational table.

`python -m benchmarks.keys` prints a table and writes `benchmarks/results/keys.json`. Nothing is timed: the numbers
follow from the simulator's seed and the contracts' keys, and are the same on every machine. What would happen if bids
were kept under their lot, as a single table's textbook has it, is shown beside.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.keys.distribution import KEY_LIMIT, TABLE, Write, busiest_lot, spread, summary, times, writes
from contracts import load_contracts
from local.simulator import generate

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "keys.json"
CHANGES, SEED, END = 20_000, 7, datetime(2026, 11, 21, tzinfo=UTC)
FACTOR = 10_000  # the busiest lot, with so many bids for each of its own
PARTITIONS = 64


def main() -> int:
    """Measure; returns the exit code."""
    contracts = load_contracts()
    requests = generate(seed=SEED, changes=CHANGES, end=END)
    history = list(writes(requests, contracts))
    lot = busiest_lot(history)
    story = [r for r in requests if lot.removeprefix("l-") in str(r.key[0])]
    hot = list(writes(times(story, FACTOR), contracts))
    result = {
        "history": {"changes": len(requests), **_where(history)},
        "busiest_lot": {"bids": sum(r.entity == "bids" and r.method == "PUT" for r in story), "changes": len(story)},
        "busiest_lot_times": {"factor": FACTOR, **_where(hot)},
        "bids_under_their_lot": {"factor": FACTOR, **_where([_under_lot(w) for w in hot])},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    for name in ("history", "busiest_lot_times", "bids_under_their_lot"):
        sys.stdout.write(f"{name}\n")
        for where, counted in result[name].items():
            if isinstance(counted, dict) and counted["writes"] > counted["keys"] + 1:  # not of a few orders
                sys.stdout.write(
                    f"  {where:10} {counted['writes']:9,} writes to {counted['keys']:8,} keys; the hottest, a "
                    f"{counted['hottest']}, takes {counted['hottest_writes']:,} ({counted['hottest_share']:.3%}), "
                    f"full at {counted['limit']:,} writes a second\n"
                )
    return 0


def _where(made: list[Write]) -> dict[str, Any]:
    """The summary, at how many writes a second the hottest key is full, and how even the table's partitions are."""
    result: dict[str, Any] = {
        where: {**counted, "limit": round(KEY_LIMIT * counted["writes"] / counted["hottest_writes"])}
        for where, counted in summary(made).items()
    }
    result[TABLE]["busiest_partition_to_mean"] = round(spread((w.pk for w in made if w.where == TABLE), PARTITIONS), 2)
    return result


def _under_lot(write: Write) -> Write:
    return write if write.entity != "bids" else Write(write.where, f"LOT#{write.lot}", write.entity, write.lot)


if __name__ == "__main__":
    sys.exit(main())
