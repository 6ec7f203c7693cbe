"""What the inbound function is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `table` and `requests` name tables, `bucket` keeps long messages,
    `queue` and `dead_letters` are the URLs of queues, `alert_topic` is the ARN of a topic."""

    environment: str
    table: str
    requests: str
    bucket: str
    queue: str
    dead_letters: str
    alert_topic: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names the variable which the template should have set."""
        return cls(
            environment=variables["GAVEL_ENV"],
            table=variables["GAVEL_TABLE"],
            requests=variables["GAVEL_REQUESTS_TABLE"],
            bucket=variables["GAVEL_BUCKET"],
            queue=variables["GAVEL_INBOUND_QUEUE"],
            dead_letters=variables["GAVEL_INBOUND_DEAD_LETTERS"],
            alert_topic=variables["GAVEL_ALERT_TOPIC"],
        )
