"""What is known of landed objects that broke a run, kept between runs: what fails again and again is held, a passing
fault is not.

One small file per entity below `attempts/`, which has one writer. Before a chunk is ingested, its objects are written
down as in hand; when the run goes on or ends by itself, they are struck out. What the next run still finds there was
in hand when a process died (or when the machine's memory ran out): a kill by a deployment, once, or the object itself,
again and again. Nobody is blamed for a death in company: the next chunks are smaller, until one object is alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from lakehouse.storage.failures import ATTEMPTS, of_the_lake
from lakehouse.storage.store import ObjectMissing

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.intake.landing import LandedObject
    from lakehouse.storage.lake import Lake

_FORMAT = 2
_FORGOTTEN = timedelta(days=90)  # an object that did not fail for so long is gone, or was ingested
_SMALLER = 16  # in how many parts those are ingested that were in hand together
_DIED = "the process died, or the machine's memory ran out, while it was ingested"


@dataclass(frozen=True)
class Tries:
    """What one version of an object has behind it: the runs in which it failed alone (`attempts`), how often a process
    died with it in hand (`deaths`) and in how many objects' company the last time, and when."""

    etag: str
    attempts: int
    last: str
    reason: str
    deaths: int = 0
    company: int = 0

    @property
    def together(self) -> int | None:
        """With how many objects of its kind it may be ingested; None: with any."""
        return max(1, self.company // _SMALLER) if self.deaths else None


class Attempts:
    """The objects of one entity that broke a run; `died` are those that were in hand when the last one died."""

    def __init__(self, lake: Lake, contract: Contract, known: bool = True) -> None:
        """What is kept is read only if something is to be `known`: a run without landed objects has no need of it."""
        self._lake, self._key = lake, f"attempts/{contract.name}.json"
        document = self._read() if known else None
        self._stored = document is not None
        self._in_hand: list[tuple[str, str]] = []
        kept = document or {"format": _FORMAT}
        found = kept.get("objects", {}) if "format" in kept else kept  # the first form had nothing else
        tries_of = {key: Tries(**tries) for key, tries in found.items()}
        forgotten = lake.now() - _FORGOTTEN
        self._known = {key: tries for key, tries in tries_of.items() if datetime.fromisoformat(tries.last) > forgotten}
        died = [(key, etag) for key, etag in kept.get("in_hand", ())] if "format" in kept else []
        self.died = frozenset(died)
        for key, etag in died:
            self._count_death(key, etag, len(died))

    def of(self, landed: LandedObject) -> Tries | None:
        """What is known of this version of the object."""
        tries = self._known.get(landed.key)
        return tries if tries is not None and tries.etag == landed.etag else None

    def is_given_up(self, landed: LandedObject) -> bool:
        """Whether it failed alone in so many runs that it is to be held."""
        tries = self.of(landed)
        return tries is not None and tries.attempts >= ATTEMPTS

    def begin(self, objects: Sequence[LandedObject]) -> None:
        """Write down that these are in hand now, and no others. Nothing of what was counted is lost with the process
        from here on."""
        self._in_hand = list(dict.fromkeys((o.key, o.etag) for o in objects))
        self._write()

    def fail(self, landed: LandedObject, reason: str) -> int:
        """Note that the object failed by itself in one more run; returns in how many it did."""
        before = self.of(landed) or Tries(landed.etag, 0, "", "")
        now = self._lake.now().isoformat()
        self._known[landed.key] = replace(before, attempts=before.attempts + 1, last=now, reason=reason)
        return before.attempts + 1

    def forget(self, objects: Iterable[LandedObject]) -> None:
        """These were ingested."""
        for landed in objects:
            self._known.pop(landed.key, None)

    def end(self) -> None:
        """Write down that nothing is in hand any more."""
        self._in_hand = []
        if self._known:
            self._write()
        elif self._stored:
            self._lake.store.delete([self._key])
            self._stored = False

    def _count_death(self, key: str, etag: str, company: int) -> None:
        before = self._known.get(key)
        if before is None or before.etag != etag:
            before = Tries(etag, 0, "", "")
        alone = company == 1
        self._known[key] = replace(
            before,
            attempts=before.attempts + alone,
            last=self._lake.now().isoformat(),
            reason=_DIED if alone else before.reason,
            deaths=before.deaths + 1,
            company=company,
        )

    def _write(self) -> None:
        document = {
            "format": _FORMAT,
            "in_hand": self._in_hand,
            "objects": {key: asdict(tries) for key, tries in self._known.items()},
        }
        self._lake.store.write(self._key, orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
        self._stored = True

    def _read(self) -> dict[str, Any] | None:
        try:
            content = self._lake.store.read(self._key)
        except ObjectMissing:
            return None
        with of_the_lake(self._key):
            return dict(orjson.loads(content))


def known_tries(lake: Lake, contract: Contract) -> dict[str, Tries]:
    """What is known of the entity's objects that failed and were not ingested since, by landing key, as the last run
    wrote it down. For people who look; nothing is counted."""
    try:
        kept = orjson.loads(lake.store.read(f"attempts/{contract.name}.json"))
    except ObjectMissing:
        return {}
    found = kept.get("objects", {}) if "format" in kept else kept
    return {key: Tries(**tries) for key, tries in found.items()}
