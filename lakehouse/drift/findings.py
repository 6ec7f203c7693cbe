"""What a look at an environment for drift finds, and the report of a look, as an object in the data bucket keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from lakehouse.drift.back import Back

FOLDER = "drift/"
NIGHTLY, OUTSIDE = "nightly", "outside"
"""The reports: that of the nightly run, and that of whoever looks from outside of the pipeline's network."""
LONGEST = 300
"""Characters of an expected or found value."""


@dataclass(frozen=True)
class Trace:
    """What CloudTrail is searched for: events of resources of these names. Where its events name no resource, those of
    the names `events` whose request has all of `words`. `everywhere`: the service is one of all regions."""

    resources: tuple[str, ...]
    events: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    everywhere: bool = False


@dataclass(frozen=True)
class Drifted:
    """One difference: `part` is the kind of thing, `unit` what was looked at as a whole, `name` of what, `what` of it
    differs, and what to `do`. `since` (UTC) and `who` are what CloudTrail says of the last change, None and empty where
    it says nothing. `back` takes it back; no report keeps it, since it holds for what was just looked at."""

    part: str
    unit: str
    name: str
    what: str
    expected: str
    found: str
    do: str
    since: datetime | None = None
    who: str = ""
    trace: Trace | None = field(default=None, compare=False, repr=False)
    back: Back | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        by = f" ({self.by})" if self.by else ""
        return f"{self.name}, {self.what}: expected {self.expected}, found {self.found}{by}. {self.do}"

    @property
    def by(self) -> str:
        """Who changed it, and when, as far as it is known."""
        at = f"{self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return ", ".join(text for text in (self.who and f"by {self.who}", at) if text)


@dataclass(frozen=True)
class Unread:
    """A unit that could not be looked at, or not all of it."""

    part: str
    unit: str
    why: str


@dataclass(frozen=True)
class Unit:
    """What is looked at as a whole: if it fails, others are still looked at."""

    part: str
    name: str
    look: Callable[[], Iterable[Drifted | Unread]]


@dataclass(frozen=True)
class Report:
    """What a look found. `at` (UTC) is its end, `parts` what it was about. A unit that was `unread` keeps what was
    found in it before: that nobody could look is no end of a drift."""

    at: datetime
    parts: tuple[str, ...]
    drifted: tuple[Drifted, ...] = ()
    unread: tuple[Unread, ...] = ()

    def after(self, before: Report | None) -> Report:
        """The report with what an earlier one found in units that are unread now."""
        closed = {(one.part, one.unit) for one in self.unread}
        known = {(d.part, d.unit, d.name, d.what) for d in self.drifted}
        kept = [
            d
            for d in (before.drifted if before else ())
            if (d.part, d.unit) in closed and (d.part, d.unit, d.name, d.what) not in known
        ]
        return replace(self, drifted=(*self.drifted, *kept))

    def to_document(self) -> dict[str, Any]:
        """The report as JSON can have it."""
        return {
            "at": self.at.isoformat(),
            "parts": list(self.parts),
            "drifted": [document(one) for one in self.drifted],
            "unread": [{"part": one.part, "unit": one.unit, "why": one.why} for one in self.unread],
        }

    @classmethod
    def of_document(cls, found: Any) -> Report:
        """The report that a document holds; raises `KeyError`, `TypeError` or `ValueError` for any other."""
        return cls(
            _moment(found["at"]),
            tuple(found["parts"]),
            tuple(Drifted(**{**d, "since": _moment(d["since"]) if d["since"] else None}) for d in found["drifted"]),
            tuple(Unread(**one) for one in found["unread"]),
        )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def document(one: Drifted) -> dict[str, str | None]:
    """A difference as JSON can have it."""
    names = ("part", "unit", "name", "what", "expected", "found", "do", "who")
    return {name: getattr(one, name) for name in names} | {"since": one.since.isoformat() if one.since else None}


def read(content: bytes) -> Report:
    """The report that an object holds; raises as `Report.of_document`."""
    return Report.of_document(json.loads(content))


def written(report: Report) -> bytes:
    """A report as an object holds it."""
    return json.dumps(report.to_document()).encode()


def key_of(report: str) -> str:
    """Where a report is in the data bucket."""
    return f"{FOLDER}{report}.json"


def look_at(units: Iterable[Unit], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Report:
    """Look at every unit, each by itself: one that cannot be read is said to be so, and hides no other."""
    units = list(units)
    drifted: list[Drifted] = []
    unread: list[Unread] = []
    for unit in units:
        try:
            for one in unit.look():
                (drifted if isinstance(one, Drifted) else unread).append(one)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no end of a drift, and hides no other
            unread.append(Unread(unit.part, unit.name, reason(error)))
    return Report(now(), tuple(dict.fromkeys(unit.part for unit in units)), tuple(drifted), tuple(unread))


def reason(error: Exception) -> str:
    """Why something could not be read, in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]


class Make(Protocol):
    """Makes a difference: of what, what of it, expected, found, and what takes it back."""

    def __call__(self, name: str, what: str, expected: object, found: object, back: Back | None = None, /) -> Drifted:
        """The difference, with values as a message has them."""


def differences(part: str, unit: str, trace: Trace | None, do: str) -> Make:
    """Makes differences of one unit."""

    def make(name: str, what: str, expected: object, found: object, back: Back | None = None, /) -> Drifted:
        return Drifted(part, unit, name, what, shortened(expected), shortened(found), do, trace=trace, back=back)

    return make


def shortened(value: object) -> str:
    """A value as a message has it."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def by_unit(drifted: Iterable[Drifted]) -> Iterator[tuple[tuple[str, str], list[Drifted]]]:
    """Differences by part and unit, in their order."""
    found: dict[tuple[str, str], list[Drifted]] = {}
    for one in drifted:
        found.setdefault((one.part, one.unit), []).append(one)
    yield from found.items()


def current(reports: Iterable[Report]) -> tuple[list[Drifted], list[Unread]]:
    """What drifted, and what cannot be read, by several reports: of each part the newest one counts, and of units that
    it could not read the newest that could."""
    newest = sorted(reports, key=lambda report: report.at, reverse=True)
    drifted: list[Drifted] = []
    unread: list[Unread] = []
    for part in dict.fromkeys(part for report in newest for part in report.parts):
        first, *older = [report for report in newest if part in report.parts]
        found = [one for one in first.drifted if one.part == part]
        for unit, closed in _closed(first, part).items():
            readable = next((report for report in older if unit not in _closed(report, part)), None)
            if readable is None:
                unread += closed
            else:
                found += [one for one in readable.drifted if (one.part, one.unit) == (part, unit)]
        drifted += {(one.unit, one.name, one.what): one for one in reversed(found)}.values()
    return drifted, unread


def _closed(report: Report, part: str) -> dict[str, list[Unread]]:
    units: dict[str, list[Unread]] = {}
    for one in report.unread:
        if one.part == part:
            units.setdefault(one.unit, []).append(one)
    return units
