"""What the API function is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `table` is the operational table's name."""

    environment: str
    table: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names the variable which the template should have set."""
        return cls(environment=variables["GAVEL_ENV"], table=variables["GAVEL_TABLE"])
