"""What the fan-out function reads of its environment."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.environment import variable


@dataclass(frozen=True, slots=True)
class Settings:
    """`environment` is local, dev, test or prod; `bus` is the name of the event bus, `dead_letters` the URL of a queue;
    `version` is the function's, which Lambda itself says."""

    environment: str = variable("GAVEL_ENV")
    bus: str = variable("GAVEL_EVENT_BUS")
    dead_letters: str = variable("GAVEL_FANOUT_DEAD_LETTERS")
    version: str = variable("AWS_LAMBDA_FUNCTION_VERSION")
