"""What the inbound function reads of its environment."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `table` and `requests` name tables, `bucket` keeps long messages,
    `queue` and `dead_letters` are the URLs of queues, `alert_topic` is the ARN of a topic; `version` is the function's,
    which Lambda itself says."""

    environment: str = variable("GAVEL_ENV")
    table: str = variable("GAVEL_TABLE")
    requests: str = variable("GAVEL_REQUESTS_TABLE")
    bucket: str = variable("GAVEL_BUCKET")
    queue: str = variable("GAVEL_INBOUND_QUEUE")
    dead_letters: str = variable("GAVEL_INBOUND_DEAD_LETTERS")
    alert_topic: str = variable("GAVEL_ALERT_TOPIC")
    version: str = variable("AWS_LAMBDA_FUNCTION_VERSION")
