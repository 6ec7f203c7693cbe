"""What became of an import that went through the queue, in the table of requests, for who asks.

One item an import, `import#<id>`: what was known when it was accepted, and a report of each chunk in the attribute
`chunk_<number>`. A chunk that is processed twice reports twice, in the same place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.item import from_attribute, to_attribute
from contracts.validation import format_timestamp
from realtime.api.store import ConditionFailed, Expression, Item, Put, Store, Update, key

KEPT_SECONDS = 30 * 86_400
MAX_REFUSALS = 10  # that a chunk's report tells in full; an item has at most 400 KiB, an import at most 100 chunks
MAX_REASON = 200  # characters
_NAME = re.compile(r"[0-9a-z-]{1,64}")  # of an import; others are of none, and the table might not take them as a key


@dataclass(frozen=True, slots=True)
class Refused:
    """A record of the batch that was not written: which kind of problem, and its text."""

    record: int
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """How many records of a chunk are in the table, and which never will be. `done` when no other is left."""

    applied: int
    refused: Sequence[Refused]
    done: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is known of an import when it is accepted, `at` an aware moment: how many records it has, how many of them
    are in the table already, how many were refused; and the `key` that its chunks are signed with."""

    entity: str
    records: int
    applied: int
    refused: int
    at: datetime
    key: bytes


class Statuses:
    """Statuses of imports in the requests table."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, import_id: str, accepted: Accepted) -> None:
        """Say that an import was accepted."""
        item: Item = {
            **key({"pk": _pk(import_id), "entity": accepted.entity, "accepted_at": format_timestamp(accepted.at)}),
            "records": {"N": str(accepted.records)},
            "applied": {"N": str(accepted.applied)},
            "refused": {"N": str(accepted.refused)},
            "key": {"B": accepted.key},
            "ttl": {"N": str(int(accepted.at.timestamp()) + KEPT_SECONDS)},
        }
        self._store.put(Put(item, "attribute_not_exists(pk)", Expression()))

    def report(self, import_id: str, chunk: int, report: Report) -> bool:
        """Say what became of a chunk; False if that was known already, or the import is forgotten."""
        refusals = [
            {"record": r.record, "kind": r.kind, "detail": r.detail[:MAX_REASON]} for r in report.refused[:MAX_REFUSALS]
        ]
        name = f"chunk_{chunk}"
        content = to_attribute(
            {"done": report.done, "applied": report.applied, "refused": len(report.refused), "refusals": refusals}  # type: ignore[dict-item]
        )
        e = Expression()
        open_ = f"{e.name(name)}.{e.name('done')} = {e.value({'BOOL': False})}"
        condition = f"attribute_exists(pk) AND (attribute_not_exists({e.name(name)}) OR {open_})"
        try:
            self._store.update(Update({"pk": _pk(import_id)}, {name: content}, condition, e))
        except ConditionFailed:
            return False
        return True

    def find(self, import_id: str) -> dict[str, Any] | None:
        """The status as it is answered; None if there is no such import."""
        item = self._item(import_id)
        return None if item is None else _status(import_id, item)

    def key(self, import_id: str) -> bytes | None:
        """The key that the import's chunks are signed with; None if there is no such import, or it has none."""
        item = self._item(import_id) or {}
        found: bytes | None = item.get("key", {}).get("B")
        return found

    def _item(self, import_id: str) -> Item | None:
        return self._store.get({"pk": _pk(import_id)}) if _NAME.fullmatch(import_id) else None


def _pk(import_id: str) -> str:
    return f"import#{import_id}"


def _status(import_id: str, item: Item) -> dict[str, Any]:
    reports: list[Mapping[str, Any]] = [
        from_attribute(attribute)  # type: ignore[misc]
        for name, attribute in item.items()
        if name.startswith("chunk_")
    ]
    records = int(item["records"]["N"])
    applied = int(item["applied"]["N"]) + sum(int(r["applied"]) for r in reports)
    refused = int(item["refused"]["N"]) + sum(int(r["refused"]) for r in reports)
    refusals = [{**r, "record": int(r["record"])} for report in reports for r in report["refusals"]]
    waiting = records - applied - refused
    return {
        "id": import_id,
        "entity": item["entity"]["S"],
        "status": "running" if waiting else "done",
        "accepted_at": item["accepted_at"]["S"],
        "records": records,
        "applied": applied,
        "waiting": waiting,
        "refused": refused,
        "refusals": sorted(refusals, key=lambda r: r["record"]),
    }
