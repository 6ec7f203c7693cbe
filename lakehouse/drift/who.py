"""Who changed something, and when, as CloudTrail remembers it for 90 days.

Of an event only the principal and the moment are kept. What a stack, the pipeline's own roles, or a service did by
itself is no change by hand and passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from lakehouse.drift.findings import Drifted, Report, Trace, Unread, reason

WHO = "who"
"""The part of a report that says that CloudTrail could not be read."""
PAGES = 4
"""Of 50 events each, the newest first: CloudTrail answers two requests a second."""
MOST = 25
"""Differences of which CloudTrail is searched for the author; of more, the rest is said without one."""
_EVERYWHERE = "us-east-1"
"""Where CloudTrail keeps the events of services that are one for all regions, such as IAM."""
_BY_ITSELF = ("cloudformation.amazonaws.com", "glue.amazonaws.com")


@dataclass(frozen=True)
class Trail:
    """CloudTrail by region (empty: that of the environment), and the pipeline's own `roles`, by their names."""

    client: Callable[[str], Any]
    roles: Sequence[str] = ()
    found: dict[Trace, tuple[str, datetime] | None] = field(default_factory=dict, compare=False)
    read: dict[tuple[str, str, bool], list[dict[str, Any]]] = field(default_factory=dict, compare=False)

    def last(self, trace: Trace) -> tuple[str, datetime] | None:
        """Principal and moment (UTC) of the last change by hand, None where it is not known."""
        if trace not in self.found:
            self.found[trace] = next(self._changes(trace), None)
        return self.found[trace]

    def _changes(self, trace: Trace) -> Iterator[tuple[str, datetime]]:
        searches = [("ResourceName", name) for name in trace.resources] + [("EventName", e) for e in trace.events]
        for attribute, value in searches:
            for event in self._events(attribute, value, trace.everywhere):
                record = json.loads(event.get("CloudTrailEvent") or "{}")
                if attribute == "EventName" and not _is_about(record, trace.words):
                    continue
                if (who := self._by_hand(event, record)) is not None:
                    yield who, event["EventTime"].astimezone(UTC)

    def _events(self, attribute: str, value: str, everywhere: bool) -> list[dict[str, Any]]:
        search = (attribute, value, everywhere)
        if search not in self.read:
            paginator = self.client(_EVERYWHERE if everywhere else "").get_paginator("lookup_events")
            pages = paginator.paginate(
                LookupAttributes=[{"AttributeKey": attribute, "AttributeValue": value}],
                PaginationConfig={"MaxItems": 50 * PAGES, "PageSize": 50},
            )
            self.read[search] = [event for page in pages for event in page["Events"]]
        return self.read[search]

    def _by_hand(self, event: dict[str, Any], record: dict[str, Any]) -> str | None:
        identity = record.get("userIdentity") or {}
        if event.get("ReadOnly") == "true" or record.get("readOnly") is True or record.get("errorCode"):
            return None
        if identity.get("invokedBy") in _BY_ITSELF or identity.get("type") == "AWSService":
            return None
        principal = str(identity.get("arn") or event.get("Username") or identity.get("type") or "")
        if any(f":assumed-role/{role}/" in principal for role in self.roles):
            return None
        return principal or None


def _is_about(record: dict[str, Any], words: Sequence[str]) -> bool:
    """Whether a request names all of these, as whole values."""

    def values(of: Any) -> Iterator[Any]:
        for one in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
            yield one
            yield from values(one)

    return set(words) <= {one for one in values(record.get("requestParameters")) if isinstance(one, str)}


def with_authors(report: Report, trail: Trail | None) -> Report:
    """The report with who changed what, as far as it can be known. CloudTrail that cannot be read takes no difference
    away: the report says so."""
    if trail is None:
        return report
    drifted: list[Drifted] = []
    unread: Unread | None = None
    for number, one in enumerate(report.drifted):
        known = None
        if one.trace is not None and not one.who and unread is None and number < MOST:
            try:
                known = trail.last(one.trace)
            except Exception as error:  # noqa: BLE001 - what differs is worth more than who did it
                unread = Unread(WHO, "CloudTrail", reason(error))
        drifted.append(replace(one, who=known[0], since=known[1]) if known else one)
    found = (*report.unread, *([unread] if unread else []))
    return replace(report, parts=(*report.parts, WHO), drifted=tuple(drifted), unread=found)
