"""What the fan-out function is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`bus` is the name of the event bus, `dead_letters` the URL of a queue."""

    bus: str
    dead_letters: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names the variable which the template should have set."""
        return cls(bus=variables["GAVEL_EVENT_BUS"], dead_letters=variables["GAVEL_FANOUT_DEAD_LETTERS"])
