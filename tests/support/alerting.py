"""A topic that takes messages or not, and a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

from orchestration.alerts.alert import Alert, Part

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Log:
    """A tick's log."""

    lines: list[str] = field(default_factory=list)

    def warning(self, msg: str) -> None:
        self.lines.append(msg)

    def error(self, msg: str) -> None:
        self.lines.append(msg)


class Topic:
    """Takes messages or not, as the answers say in their order; when they are used up it takes all."""

    def __init__(self, answers: Iterable[bool]) -> None:
        self.answers, self.sent = chain(answers, repeat(True)), list[Alert]()

    def send(self, alert: Alert) -> None:
        if not next(self.answers):
            raise OSError("Throttling: rate exceeded")
        self.sent.append(alert)

    @property
    def by_name(self) -> Mapping[str, Any]:
        """The topic as the one channel of an environment."""
        return {"SNS": self.send}

    @property
    def whats(self) -> list[str]:
        """What was sent, in one line each."""
        return [alert.what for alert in self.sent]

    def parts(self, state: str = "raised") -> list[Part]:
        """The parts of all that was sent of a state."""
        return [part for alert in self.sent if alert.state == state for part in alert.parts]
