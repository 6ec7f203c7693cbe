"""What the tracking function reads of its environment."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `table` is the name of the subscriber's own table, `topic` the ARN of
    its FIFO topic; `version` is the function's, which Lambda itself says."""

    environment: str = variable("GAVEL_ENV")
    table: str = variable("GAVEL_TRACKING_TABLE")
    topic: str = variable("GAVEL_TRACKING_TOPIC")
    version: str = variable("AWS_LAMBDA_FUNCTION_VERSION")
