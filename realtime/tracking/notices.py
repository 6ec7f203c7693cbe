"""From an event of the bus to a tracking notice: plain functions on plain data, no AWS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

STATUSES = ("shipped", "delivered", "returned", "lost")
FIELDS = (
    "order_id",
    "shipment_id",
    "status",
    "carrier",
    "tracking_number",
    "promised_at",
    "shipped_at",
    "delivered_at",
)


class UnusableEvent(ValueError):
    """A message that is no event of a shipment; the reason says what was missing. It goes to the dead letters."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is published of a shipment: the order, the version and its sequence, and the text of the message (JSON)."""

    order: str
    shipment: str
    version: int
    sequence: str
    text: str


def notice_of(event: Mapping[str, Any]) -> Notice | None:
    """The notice that an event asks for, None where it asks for none. Raises `UnusableEvent`."""
    try:
        detail = event["detail"]
        if detail["operation"] not in ("insert", "modify") or "status" not in detail["changed"]:
            return None
        values = detail["values"]
        if values["status"] not in STATUSES:
            return None
        shown = {name: values[name] for name in FIELDS if name in values}
        text = orjson.dumps({"notice": f"parcel {values['status']}", **shown, "version": detail["version"]}).decode()
        sequence = detail.get("sequence", "")  # events from before they had one may still be in the queue
        return Notice(values["order_id"], values["shipment_id"], int(detail["version"]), str(sequence), text)
    except (LookupError, TypeError, ValueError) as error:
        raise UnusableEvent(f"expected an event of a shipment with its values: {error!r}") from error
