"""How far searches go: `GAVEL_DEPTH=deep` (each night) takes the whole budget, otherwise a quarter of it is enough to
notice every deliberate fault of `make mutations`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

DEEP = os.environ.get("GAVEL_DEPTH") == "deep"
_SHARE = 4


def examples(whole: int, least: int = 2) -> int:
    """How many examples a search tries of its `whole` budget; never fewer than `least`."""
    return whole if DEEP else max(min(whole, least), -(-whole // _SHARE))


def seeds(whole: int) -> range:
    """The seeds that a test over random histories goes through: all of the `whole` number, or the first few."""
    return range(examples(whole, least=1))


def sampled(numbers: Sequence[int], kind: Callable[[int], str], every: int = 4) -> list[int]:
    """Where a test strikes, of all `numbers`: the first and the last of each kind, and every so many of the others."""
    if DEEP:
        return list(numbers)
    first = {kind(n): n for n in reversed(numbers)}
    last = {kind(n): n for n in numbers}
    return sorted({*first.values(), *last.values(), *numbers[::every]})
