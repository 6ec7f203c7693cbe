"""What the relay function is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `bucket` keeps failures; `alert_topic` is the ARN of a topic."""

    environment: str
    bucket: str
    alert_topic: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names the variable which the template should have set."""
        return cls(
            environment=variables["GAVEL_ENV"],
            bucket=variables["GAVEL_BUCKET"],
            alert_topic=variables["GAVEL_ALERT_TOPIC"],
        )
