"""What the relay function reads of its environment."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `bucket` keeps failures; `alert_topic` is the ARN of a topic;
    `version` is the function's, which Lambda itself says."""

    environment: str = variable("GAVEL_ENV")
    bucket: str = variable("GAVEL_BUCKET")
    alert_topic: str = variable("GAVEL_ALERT_TOPIC")
    version: str = variable("AWS_LAMBDA_FUNCTION_VERSION")
