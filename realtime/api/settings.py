"""What the API function is told by its environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `table` and `requests` are the names of the tables of entities and of
    what is known of requests; `inbound_queue` is the URL of a queue, `bucket` keeps messages too long for it."""

    environment: str
    table: str
    requests: str
    bucket: str
    inbound_queue: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises `KeyError` that names the variable which the template should have set."""
        return cls(
            environment=variables["GAVEL_ENV"],
            table=variables["GAVEL_TABLE"],
            requests=variables["GAVEL_REQUESTS_TABLE"],
            bucket=variables["GAVEL_BUCKET"],
            inbound_queue=variables["GAVEL_INBOUND_QUEUE"],
        )
