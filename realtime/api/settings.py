"""What the API function reads of its environment."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `version` is the function's, which Lambda itself says; `table`,
    `requests` and `summaries` are the names of the tables of entities, of what is known of requests, and of what the
    pipeline tells of parties; `inbound_queue` is the URL of a queue, `bucket` keeps messages too long for it."""

    environment: str = variable("GAVEL_ENV")
    version: str = variable("AWS_LAMBDA_FUNCTION_VERSION")
    table: str = variable("GAVEL_TABLE")
    requests: str = variable("GAVEL_REQUESTS_TABLE")
    summaries: str = variable("GAVEL_SUMMARIES_TABLE")
    bucket: str = variable("GAVEL_BUCKET")
    inbound_queue: str = variable("GAVEL_INBOUND_QUEUE")
