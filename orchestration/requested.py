"""What the sensor of the marts remembers: which rows of published tables marts were built from, and what failed.

A table counts as followed only once a run that was requested for it succeeded. A run that failed is requested again,
later each time, because a passing reason passes; what fails on and on waits for news of the table, and was reported.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

FIRST_WAIT = timedelta(minutes=2)
MOST_TRIES = 5
"""In a row, for the same rows of a table: with waits of 2, 4, 8 and 16 minutes they last for half an hour, after which
the hourly build of the reports has its turn."""


@dataclass(frozen=True)
class Requested:
    """`rows`: the version of each table's rows that marts follow. `id`: the run that was requested last, if it has
    not ended, and `of` the versions it is for. `failed`: tables whose run failed: how often, when they are due
    again, and the version that failed."""

    rows: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    of: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, tuple[int, datetime, str]] = field(default_factory=dict)

    def ended(self, success: bool, now: datetime) -> Requested:
        """What to remember after the run that was requested ended."""
        if success:
            failed = {entity: f for entity, f in self.failed.items() if entity not in self.of}
            return replace(self, rows={**self.rows, **self.of}, id="", of={}, failed=failed)
        failed = dict(self.failed)
        for entity, version in self.of.items():
            tries, _, before = self.failed.get(entity, (0, now, version))
            tries = tries + 1 if before == version else 1
            failed[entity] = (tries, now + FIRST_WAIT * 2 ** (tries - 1), version)
        return replace(self, id="", of={}, failed=failed)

    def due(self, rows: Mapping[str, str], now: datetime) -> list[str]:
        """The tables to request marts for: marts follow other rows of them, and they do not wait after a failure."""
        return sorted(
            e for e, version in rows.items() if self.rows.get(e) != version and not self._waits(e, version, now)
        )

    def _waits(self, entity: str, version: str, now: datetime) -> bool:
        tries, due, of = self.failed.get(entity, (0, now, ""))
        return of == version and (now < due or tries >= MOST_TRIES)

    def again(self, entities: Collection[str], rows: Mapping[str, str]) -> Requested:
        """What to remember after a run was requested for these tables; it gets a new id."""
        return replace(self, id=uuid.uuid4().hex, of={entity: rows[entity] for entity in entities})

    def nobody_reads(self, entities: Collection[str], rows: Mapping[str, str]) -> Requested:
        """What to remember where no mart reads these tables."""
        return replace(self, rows={**self.rows, **{entity: rows[entity] for entity in entities}})

    def to_text(self) -> str:
        """This as a cursor; as long as there are tables."""
        failed = {entity: [tries, due.isoformat(), of] for entity, (tries, due, of) in self.failed.items()}
        content = {"rows": dict(self.rows), "id": self.id, "of": dict(self.of), "failed": failed}
        return json.dumps(content, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_text(cls, text: str | None) -> Requested:
        """What is in a cursor; nothing if it is missing or of another form, so that all marts are requested."""
        try:
            content = json.loads(text or "{}")
            failed = {
                e: (int(n), datetime.fromisoformat(due).astimezone(UTC), of)
                for e, (n, due, of) in content["failed"].items()
            }
            return cls(dict(content["rows"]), str(content["id"]), dict(content["of"]), failed)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()
