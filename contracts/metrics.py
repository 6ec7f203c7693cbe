"""Metrics in CloudWatch that say how far the analytics path is.

The pipeline publishes them, the functions and the alarms read them. For functions they are moments, in seconds since
1970 UTC: a moment stays true when it is read late, an age would not.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACE = "Gavel"  # of all metrics of the product, those of the functions included

WATERMARK = "Watermark"
"""Of a published table: the arrival time up to which all objects are ingested. Dimensions: environment, entity."""

DATA_TIME = "DataTime"
"""What the reports are true for: the oldest of their data times. Dimension: environment."""

DATA_AGE = "DataAge"
"""How old the reports' data is when it is published, in seconds: for the alarm. Dimension: environment."""


def dimensions(environment: str, entity: str | None = None) -> Mapping[str, str]:
    """The dimensions of `WATERMARK` (with an entity), `DATA_TIME` and `DATA_AGE` (without)."""
    return {"environment": environment} | ({"entity": entity} if entity else {})
