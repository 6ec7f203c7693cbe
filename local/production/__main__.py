"""`make production`: python -m local.production --seed 7 --minutes 10

Exit code 1 if anything is lost, doubled or wrong, if a slot of a pool or a run is stuck, if the upgrade did not come
about, if a planned fault did not happen, or if anything failed that no injected fault explains. `report.json` below
`build/production/SEED/` has all of it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from local.chaos.__main__ import judged, table
from local.chaos.plan import write_plan
from local.home import REPOSITORY, Home
from local.production.plan import make_loss, make_plan
from local.production.run import ProductionResult, ProductionRun


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make production", description=__doc__)
    parser.add_argument("--seed", type=int, help="what the plan follows from; without it, a new one")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / "build" / "production", help="for all that it writes"
    )
    parser.add_argument(
        "--lose-database", action="store_true", help="the drill: PostgreSQL is lost with all that it holds, and no more"
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    folder: Path = options.folder.absolute() / str(seed)
    plan = make_loss(options.minutes) if options.lose_database else make_plan(seed, options.minutes)
    print(f"production: seed {seed}, {options.minutes:g} minutes, {len(plan)} faults; the same seed plans the same")
    for fault in plan:
        print(fault)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all that was started ends
    shutil.rmtree(folder, ignore_errors=True)
    write_plan(plan, folder / "plan.json", seed, options.minutes)
    return judged(ProductionRun(Home(folder / "home"), plan, seed, folder, _say), folder, lines)


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def lines(result: ProductionResult) -> list[str]:
    """What a run came to, as lines of text."""
    return [
        *table(result),
        f"runs: {', '.join(f'{count} {status}' for status, count in sorted(result.runs.items()))}; "
        f"{result.retried} of them continue another; workers from {result.workers}; "
        f"{result.forgotten} forgotten afterwards",
        *(result.recovery.lines() if result.recovery is not None else ()),
    ]


if __name__ == "__main__":
    sys.exit(main())
