"""What the tracking function is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`table` is the name of the subscriber's own table, `topic` the ARN of its FIFO topic."""

    table: str
    topic: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names the variable which the template should have set."""
        return cls(table=variables["GAVEL_TRACKING_TABLE"], topic=variables["GAVEL_TRACKING_TOPIC"])
