"""What is found of an item on its way, as plain data; nothing here reads anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Place = Literal["stream", "landing", "held", "quarantine", "relay-failures", "aws/lambda", "dead letters"]
"""Where a change that is not published can be: between table and landing, in a landed object that was not ingested or
is held, or set aside."""
Stands = Literal["through", "waits", "set aside", "unknown", "erased"]
SECOND = 1_000_000  # versions are microseconds
_TIMES = (946_684_800 * SECOND, 4_102_444_800 * SECOND)  # of 2000 and 2100: other versions are no times


def moment_of(version: int) -> datetime | None:
    """The moment that a version of the API says; None where it can be none, since a writer around the API put something
    else: a counter, or a time in other units."""
    return datetime.fromtimestamp(version / SECOND, UTC) if _TIMES[0] <= version < _TIMES[1] else None


@dataclass(frozen=True, slots=True)
class Logged:
    """A request, or a message of the inbound queue, as its log line says it. `wrote` are the versions that it gave to
    the item that is followed."""

    function: str
    at: datetime
    id: str
    status: int | None
    method: str | None
    route: str | None
    by: str | None
    ms: float | None
    trace: str | None
    import_id: str | None
    repeats: str | None
    wrote: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """The item in the operational table. `place` is (pk, sk)."""

    version: int
    by: str | None
    deleted: bool
    place: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """The publication that made a batch visible; None where the log does not say it (any more)."""

    batch: int
    published_at: datetime | None = None
    run_id: str | None = None
    snapshot: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change in the history. `version` is the item's, None where nobody knows which of its writes this was."""

    op: str
    changed_at: datetime
    sequence: str
    event_id: str
    by: str | None
    object: str | None
    landed_at: datetime | None
    published: Published
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where a change is that is not published, why, since when, and what to do. `proven` is false where nothing was
    found anywhere, so that it can only be in the stream, with the relay or in a Firehose."""

    place: Place
    where: str
    reason: str
    since: datetime | None
    to_do: str
    proven: bool = True


@dataclass(frozen=True, slots=True)
class Build:
    """The first build of a model that could read the newest change, and how many rows of the key the model has now."""

    model: str
    built_at: datetime | None
    data_time: datetime | None
    run_id: str | None
    rows: int | None = None


@dataclass
class Followed:
    """Everything that was found. `key` is as people may read it. `row` has the fields of the compacted row, personal
    ones hidden unless they were wanted. `earlier` counts older changes that are not listed."""

    entity: str
    key: str
    stands: Stands = "unknown"
    to_do: str = ""
    item: Item | None = None
    requests: Sequence[Logged] = ()
    changes: Sequence[Change] = ()
    earlier: int = 0
    waiting: Sequence[Waiting] = ()
    builds: Sequence[Build] = ()
    row: Mapping[str, Any] = field(default_factory=dict)
    trail: str = ""
    """How log lines name the item."""
    erased_by: str | None = None
    """The request by which the person of the key was erased."""
    notes: list[str] = field(default_factory=list)
    files_read: int = 0
    files: int = 0
    bytes_read: int = 0
