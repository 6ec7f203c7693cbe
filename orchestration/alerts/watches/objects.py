"""Objects that wait for people: what was set aside below a prefix, and landed objects that are held or fail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from assets import keys
from assets.presentation import bucket_link
from assets.run_configuration import Requeue, compaction_config
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import StoredObject
from orchestration.alerts.alert import NAMED, Problem, problem_id
from orchestration.alerts.discretion import discreet
from orchestration.alerts.sensor import Look, Seen, Watch

if TYPE_CHECKING:
    from lakehouse.results import Failing


@dataclass(frozen=True)
class Prefix:
    """A prefix of the data bucket that holds what went wrong, and what an object there means."""

    path: str
    kind: str
    meaning: str


PREFIXES = (
    Prefix("quarantine/", "rows-in-quarantine", "rows or objects broke their contract and were quarantined"),
    Prefix("firehose-errors/", "firehose-errors", "Firehose could not convert or deliver records"),
    Prefix("relay-failures/", "relay-failures", "the relay found stream records that it could not hand over"),
    Prefix("aws/lambda/", "batches-given-up", "a function failed again and again, and its batch was kept whole"),
)
WHOLE = ".object"
"""The end of the key of an unreadable object, which lies beside a note that counts."""


@dataclass
class Waiting:
    """The objects of one folder below a prefix: how many there are, the oldest and the newest."""

    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    last: str = field(default="")

    def add(self, stored: StoredObject) -> None:
        """Count one more."""
        self.count += 1
        self.oldest = min(self.oldest or stored.modified, stored.modified)
        if self.newest is None or stored.modified >= self.newest:
            self.newest, self.last = stored.modified, stored.key


def watch_set_aside() -> Watch:
    """What lies below the prefixes that hold what went wrong, until somebody put it back or removed it."""

    def watch(look: Look, cursor: str | None) -> Seen:
        unlisted: dict[str, Exception] = {}
        unknown: set[str] = set()
        problems: list[Problem] = []
        for prefix in PREFIXES:
            try:
                waiting = by_folder(prefix, look.view.listed(prefix.path))
            except Exception as error:  # noqa: BLE001 - reported by the sensor; the other prefixes are looked at
                unlisted[f"Objects below {prefix.path}"] = error
                unknown.add(prefix.kind)
                continue
            problems += set_aside_problems(prefix, waiting, look.lake.lake)
        count = sum(problem.size for problem in problems)
        text = f"{count} objects are set aside." if count else "Nothing is set aside."
        return Seen("", text, problems, unlisted, unknown)

    return watch


def by_folder(prefix: Prefix, objects: Iterable[StoredObject]) -> dict[str, Waiting]:
    """The objects below a prefix by their first folder: the entity, where there is one."""
    found: dict[str, Waiting] = {}
    for stored in objects:
        if not stored.key.endswith(WHOLE):
            folder = stored.key.removeprefix(prefix.path).split("/", 1)[0]
            found.setdefault(folder, Waiting()).add(stored)
    return found


def set_aside_problems(prefix: Prefix, waiting: dict[str, Waiting], lake: Lake) -> Iterator[Problem]:
    """What is said of what waits below a prefix."""
    link = bucket_link(lake, prefix.path).value or ""
    for folder, some in sorted(waiting.items()):
        why = f"{folder} ({some.count}): {prefix.meaning}; the newest is {discreet(some.last)}"
        yield Problem(prefix.kind, folder, why, some.oldest, link, size=some.count)


def watch_held(ui_url: str) -> Watch:
    """Landed objects that are held or fail again and again, which only the ledger of their table knows."""

    def watch(look: Look, cursor: str | None) -> Seen:
        failing, unread = look.view.failing()  # what is unread the watch of the tables reports
        count = sum(map(len, failing.values()))
        return Seen(
            "",
            (f"{count} objects are held or fail again and again" if count else "No object is held")
            + (f"; {', '.join(sorted(unread))} cannot be read." if unread else "."),
            [held_problem(entity, objects, ui_url) for entity, objects in failing.items() if objects],
            unknown={problem_id("objects-held", entity) for entity in unread},
        )

    return watch


def held_problem(entity: str, objects: Sequence[Failing], ui_url: str) -> Problem:
    """What is said of the held objects of an entity: key, class and reason of each, and how they are put back."""
    named = objects[:NAMED]
    named_with = [
        f"{o.key} ({o.failure.value}; "
        + ("held" if o.held else f"failed in {o.attempts} runs, soon held, and readers wait for it")
        + f"): {discreet(o.reason[:200])}"
        for o in named
    ]
    if left := len(objects) - len(named):
        named_with.append(f"and {left} more: `gavel status`, or the entity's compaction in the UI")
    work = Requeue(objects=[o.key for o in named] if not left else [])
    requested = compaction_config([entity], work).to_config_dict()  # type: ignore[no-untyped-call]
    assets = " and ".join(f"`{key(entity).to_user_string()}`" for key in (keys.compacted, keys.catalog))
    return Problem(
        "objects-held",
        entity,
        f"Correct the cause, then materialize {assets} with {json.dumps({'ops': requested['ops']})}. "
        + "; ".join(named_with),
        link=f"{ui_url}/assets/{'/'.join(keys.compacted(entity).path)}",
        size=len(objects),
    )
