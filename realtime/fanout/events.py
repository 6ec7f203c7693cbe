"""From a stream record to an event of the bus: plain functions on plain data, no AWS.

An event says what changed of which item, in the values of the change record; see `docs/realtime.md` for its form. The
bus is read by services that nobody knows yet, so personal data is not on it, and neither is what the contract does not
know: whoever may see that asks the API for the item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from contracts.change import change_from_record
from contracts.model import Contracts
from realtime.resending import requests_of

SOURCE = "gavel.changes"
MAX_ENTRY_BYTES = 250 * 1024  # EventBridge takes 256 KiB, names and times included; and as much in one request
MAX_REQUEST_ENTRIES = 10

# UnmappableRecord (a ValueError) says what was wrong; the others mean that a record is not even of a stream's form.
_UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)


@dataclass(frozen=True, slots=True)
class Event:
    """The position of a stream record in its batch, the entity, and the event's detail as JSON."""

    position: int
    entity: str
    detail: bytes


@dataclass
class Events:
    """The events of a batch, and the reasons of the records that gave none, by position."""

    events: list[Event] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)


def events_of(records: Sequence[Mapping[str, Any]], contracts: Contracts) -> Events:
    """An event for every record that says something new; what cannot be one is rejected, and the rest goes on."""
    result = Events()
    for position, record in enumerate(records):
        try:
            event = _event(position, record, contracts)
        except _UNUSABLE as error:
            result.rejected[position] = f"{type(error).__name__}: {error}"
            continue
        if event is not None:
            result.events.append(event)
    return result


def requests(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Events as few requests within the limits of PutEvents, order kept."""
    return requests_of(events, _size, max_entries=MAX_REQUEST_ENTRIES, max_bytes=MAX_ENTRY_BYTES)


def _size(event: Event) -> int:
    return len(event.detail)


def _event(position: int, record: Mapping[str, Any], contracts: Contracts) -> Event | None:
    change = change_from_record(record, contracts)
    if change is None:
        return None
    entity, row = change
    images = record["dynamodb"]
    if record["eventName"] == "REMOVE" and row["_op"] == "remove" and "_deleted" in images["OldImage"]:
        return None  # the end of an item whose deletion was published when it was marked
    contract = contracts[entity]
    new, old = images.get("NewImage") or {}, images.get("OldImage") or {}
    detail: dict[str, Any] = {
        "event_id": row["_event_id"],
        "entity": entity,
        "operation": row["_op"],
        "key": {name: row[name] for name in contract.primary_key},
        "version": row["_version"],
        "sequence": row["_seq"],
        "changed_at": row["_changed_at"],
        "contract": row["_contract"],
        "changed": [name for name in contract.field_names if new.get(name) != old.get(name)],
    }
    hidden = frozenset(contract.personal)
    values = {name: row[name] for name in contract.field_names if row[name] is not None and name not in hidden}
    text = orjson.dumps({**detail, "values": values})
    if len(text) > MAX_ENTRY_BYTES:
        text = orjson.dumps(detail)  # without values: the API has them
    return Event(position, entity, text)
