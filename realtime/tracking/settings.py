"""What the tracking function reads of its environment."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable


@dataclass(frozen=True, slots=True)
class Settings:
    """`table` is the name of the subscriber's own table, `topic` the ARN of its FIFO topic."""

    table: str = variable("GAVEL_TRACKING_TABLE")
    topic: str = variable("GAVEL_TRACKING_TOPIC")
