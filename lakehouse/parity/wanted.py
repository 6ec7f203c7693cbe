"""What a comparison or a sample is to look at, as plain values: who describes it imports nothing heavy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lakehouse.intake.landing import LATEST_DELIVERY

ON_A_LAPTOP = timedelta(minutes=1)
"""How late a change may land on a laptop, where the relay lands each at once."""


@dataclass(frozen=True)
class Request:
    """What is compared: the `export` (an address of its folder, or of what lies above; the newest complete one there
    counts), the entities, and how late a change may arrive in landing. Without an export, only compacted tables are
    compared, with their history."""

    export: str | None = None
    entities: Sequence[str] | None = None
    lateness: timedelta = LATEST_DELIVERY
    repair: bool = False
    dry_run: bool = False
    run_id: str | None = None


@dataclass(frozen=True)
class Sampling:
    """What a sample reads: the table, how many keys of each entity, and how late a change may arrive in landing.
    `dynamodb` is boto3's client, `seed` what the choice depends on."""

    table: str
    dynamodb: Any
    size: int = 50
    lateness: timedelta = LATEST_DELIVERY
    seed: int | None = None
    run_id: str | None = None
    pause: Callable[[float], None] = time.sleep
