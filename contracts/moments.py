"""Moments as people write them, in commands and in the configuration of runs."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """The moment (UTC) that ISO 8601 with an offset says; raises `ValueError`."""
    try:
        value = datetime.fromisoformat(text)
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):  # no moment, or one of no year in UTC
        pass
    raise ValueError(f"expected a moment with offset like 2026-11-21T00:00:00Z, found {text!r}")
