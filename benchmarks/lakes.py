"""A lake in a folder, as benchmarks use it: with the default memory and threads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from lakehouse.storage.lake import Lake, utc_now


def lake_in(folder: Path, name: str, now: Callable[[], datetime] = utc_now) -> Lake:
    """The lake of a benchmark below `folder/lake`, with its scratch in `folder/scratch`."""
    return Lake(
        bucket="data",
        landing_database=f"gavel_landing_{name}",
        work_database=f"gavel_work_{name}",
        published_database=f"gavel_{name}",
        local_root=folder / "lake",
        scratch=folder / "scratch",
        now=now,
    )
