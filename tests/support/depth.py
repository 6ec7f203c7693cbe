"""How far searches go: `GAVEL_DEPTH=deep` (each night) takes the whole budget, otherwise a quarter of it is enough to
notice every deliberate fault of `make mutations`."""

from __future__ import annotations

import os

DEEP = os.environ.get("GAVEL_DEPTH") == "deep"
_SHARE = 4


def examples(whole: int, least: int = 2) -> int:
    """How many examples a search tries of its `whole` budget; never fewer than `least`."""
    return whole if DEEP else max(min(whole, least), -(-whole // _SHARE))


def seeds(whole: int) -> range:
    """The seeds that a test over random histories goes through: all of the `whole` number, or the first few."""
    return range(examples(whole, least=1))
