"""Alerts to people: what failed, why, when, and where to look, as one SNS message each.

Which event deserves an alert is decided by the sensors. Messages carry no row of data, because rows can be personal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

SUBJECT_LIMIT = 100  # characters, ASCII only: a limit of SNS


@dataclass(frozen=True)
class Alert:
    """What a person needs to act: `what` in one line, `why` as far as known, `when` (UTC), `link` to look."""

    what: str
    why: str
    when: datetime
    link: str

    @property
    def subject(self) -> str:
        """The subject line as SNS accepts it."""
        line = " ".join(self.what.encode("ascii", "replace").decode().split())
        return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3] + "..."

    @property
    def message(self) -> str:
        """The body of the message."""
        when = f"{self.when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"What: {self.what}\nWhy:  {self.why}\nWhen: {when}\nLink: {self.link}\n"


class AlertResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Sends alerts to the topic of this environment. Without a topic they are only logged by the caller."""

    topic: str | None = None
    region: str = "eu-west-1"
    endpoint: str | None = None
    _client: Any = PrivateAttr(default=None)

    def send(self, alert: Alert) -> bool:
        """Publish the alert; False if this environment has no topic. Errors of SNS are raised: the tick then fails
        visibly and, its cursor not moved, tries again."""
        if not self.topic:
            return False
        if self._client is None:
            import boto3

            self._client = boto3.client("sns", region_name=self.region, endpoint_url=self.endpoint)
        self._client.publish(TopicArn=self.topic, Subject=alert.subject, Message=alert.message)
        return True
