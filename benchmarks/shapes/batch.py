"""What is measured, in a process of its own: one batch of a shape, and its publication."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.lakes import lake_in
from benchmarks.shapes.data import SHAPES
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish

NAME = "shapes"


def main(entity: str, folder: str, said: str) -> None:
    """Ingest what landed; say in the file `said` what became of it."""
    contract = SHAPES[entity].contract
    lake = lake_in(Path(folder), NAME)
    result = compact(lake, contract, Scope.everything(), progress=_say)
    publish(lake, contract)
    counts = result.counts
    measured = {
        "rows read": counts.read,
        "applied": counts.applied,
        "quarantined": counts.quarantined,
        "held": [h.reason for h in (*result.held, *result.failing)],
        "steps": {step: round(seconds, 1) for step, seconds in result.seconds.items()},
    }
    Path(said).write_text(json.dumps(measured))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
