"""How long an invocation may go on: until then it begins requests, afterwards it only answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deadline:
    """`seconds_left` says how many seconds are left, now; none or fewer when the deadline has passed."""

    seconds_left: Callable[[], float]

    @classmethod
    def of(cls, context: Any, reserve: float) -> Deadline:
        """The deadline of an invocation (`context` is Lambda's), `reserve` seconds before Lambda ends it."""
        return cls(lambda: float(context.get_remaining_time_in_millis()) / 1000 - reserve)

    @property
    def has_passed(self) -> bool:
        return self.seconds_left() <= 0

    def sooner(self, seconds: float) -> Deadline:
        """The deadline so many seconds before this one."""
        return Deadline(lambda: self.seconds_left() - seconds)
