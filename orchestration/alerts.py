"""Alerts to people: what failed, why, when, and where to look, as one SNS message each.

Which event deserves an alert is decided by the sensors. Messages carry no row of data, because rows can be personal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

SUBJECT_LIMIT = 100  # characters, ASCII only: a limit of SNS
WHAT_LIMIT, WHY_LIMIT, LINK_LIMIT = 500, 4000, 500  # characters: owed alerts are kept, so they are bounded


@dataclass(frozen=True)
class Alert:
    """What a person needs to act: `what` in one line, `why` as far as known, `when` (UTC), `link` to look."""

    what: str
    why: str
    when: datetime
    link: str

    def bounded(self) -> Alert:
        """The alert with what is too long cut off."""
        return replace(
            self, what=_cut(self.what, WHAT_LIMIT), why=_cut(self.why, WHY_LIMIT), link=_cut(self.link, LINK_LIMIT)
        )

    @property
    def subject(self) -> str:
        """The subject line as SNS accepts it: ASCII that can be printed."""
        text = "".join(c if c.isprintable() or c.isspace() else "?" for c in self.what)
        line = " ".join(text.encode("ascii", "replace").decode().split())
        return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3] + "..."

    @property
    def message(self) -> str:
        """The body of the message."""
        when = f"{self.when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"What: {self.what}\nWhy:  {self.why}\nWhen: {when}\nLink: {self.link}\n"


def _cut(text: str, limit: int) -> str:
    """A text of so many characters at most, all of which can be sent."""
    sendable = text.encode("utf-8", "replace").decode()
    return sendable if len(sendable) <= limit else sendable[: limit - 3] + "..."


class AlertResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Sends alerts to the topic of this environment. Without a topic they are only logged by the caller."""

    topic: str | None = None
    region: str = "eu-west-1"
    endpoint: str | None = None
    _client: Any = PrivateAttr(default=None)

    def send(self, alert: Alert) -> bool:
        """Publish the alert; False if this environment has no topic. Errors of SNS are raised, within seconds:
        `orchestration.outbox` keeps the alert."""
        if not self.topic:
            return False
        if self._client is None:
            import boto3
            from botocore.config import Config

            patience = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
            self._client = boto3.client("sns", region_name=self.region, endpoint_url=self.endpoint, config=patience)
        self._client.publish(TopicArn=self.topic, Subject=alert.subject, Message=alert.message)
        return True
