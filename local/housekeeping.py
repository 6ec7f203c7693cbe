"""What keeps files of the stack from growing for ever, its logs and the bundles of functions.

A log is copied and cut where it is: the process that writes it appends, and need not know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

LOG_BYTES = 10 * 2**20
"""How large a log may become. What was in it until then stays beside it as `.log.1`, once."""
SCRATCH_SECONDS = 6 * 3600.0
"""How long what a batch writes for itself is left alone: no batch of a laptop takes as long."""
BUNDLES = 24
"""Bundles that are kept: six functions, and what they were at the last few changes of the code."""


def bound_logs(folder: Path, most: int = LOG_BYTES) -> list[Path]:
    """Cut every log of the folder that is larger than `most` bytes; returns which. All writers must append.

    Lines that are written between copy and cut are lost. Where there is no space for the copy, all of it is: a full
    disk stops the stack, a short log does not.
    """
    cut = []
    for log in sorted(folder.glob("*.log")):
        with suppress(FileNotFoundError):
            if log.stat().st_size <= most:
                continue
            older = log.with_name(f"{log.name}.1")
            try:
                with log.open("rb") as source:
                    source.seek(-most, os.SEEK_END)
                    older.write_bytes(source.read(most))
            except OSError:
                older.unlink(missing_ok=True)
            os.truncate(log, 0)
            cut.append(log)
    return cut


def bound_scratch(folder: Path, now: float, seconds: float = SCRATCH_SECONDS) -> None:
    """Remove what was last written so long ago that whoever left it was killed. `now`: seconds since 1970."""
    for entry in folder.glob("*"):
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime <= now - seconds:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def bound_bundles(folder: Path, used: Collection[Path], most: int = BUNDLES) -> None:
    """Remove the bundles that were built longest ago and are not `used`, down to `most`."""
    others = sorted(set(folder.glob("*.zip")) - set(used), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in others[max(0, most - len(used)) :]:
        old.unlink(missing_ok=True)
