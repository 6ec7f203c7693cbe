"""How long readers saw what was late, from the publication log: what `rpt_freshness_budget` says, up to a moment.

What readers see is late from the moment at which its watermark is older than its target, until the next publication. A
model is late only once there is news of a table that it may lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.publish.publication_log import of_objects

if TYPE_CHECKING:
    from lakehouse.publish.log_tables import Row
    from lakehouse.storage.lake import Lake

What = tuple[str, str]
"""`table` and its entity, or `model` and its name, as the report has them."""
Publications = NDArray[np.float64]
"""Of shape (n, 3): when readers saw it and its watermark, in seconds since the epoch, NaN where there is none; and 1
where rows arrived with it."""
PublicationsOf = Mapping[What, Publications]


@dataclass(frozen=True)
class Lateness:
    """When one table or model was late: `spans` of shape (n, 2), in seconds since the epoch, in order, none of which
    overlap. It was looked at from `since` to `until` (UTC)."""

    since: datetime
    until: datetime
    spans: Publications

    def late(self, window: timedelta) -> timedelta:
        """For how long it was late in the time before `until`."""
        begin, end = (self.until - window).timestamp(), self.until.timestamp()
        inside = np.clip(self.spans, begin, end)
        return timedelta(seconds=float((inside[:, 1] - inside[:, 0]).sum()))

    def observed(self, window: timedelta) -> timedelta:
        """For how long of that time readers saw it."""
        return min(window, self.until - self.since)

    def late_since(self, window: timedelta) -> datetime | None:
        """Since when it was late in the time before `until`; None if it was not."""
        begin = (self.until - window).timestamp()
        ending = self.spans[self.spans[:, 1] > begin]
        return datetime.fromtimestamp(max(float(ending[0, 0]), begin), UTC) if len(ending) else None


@dataclass(frozen=True)
class Followed:
    """All publications of the last days, as they were known at a moment (UTC)."""

    until: datetime
    publications: PublicationsOf

    def lateness(self, what: What, target: timedelta) -> Lateness | None:
        """When something with a target was late; None of what was never published."""
        seen = self.publications.get(what)
        if seen is None:
            return None
        end = self.until.timestamp()
        begins, marks = seen[:, 0], seen[:, 1]
        ends = np.append(begins[1:], end)
        late = np.where(np.isnan(marks), begins, np.maximum(begins, marks + target.total_seconds()))
        if what[0] == "model":
            news = self._news()
            late = np.maximum(late, np.append(news, np.inf)[np.searchsorted(news, begins, side="right")])
        spans = np.column_stack((late, ends))
        return Lateness(datetime.fromtimestamp(float(begins[0]), UTC), self.until, spans[late < ends])

    def _news(self) -> NDArray[np.float64]:
        some = [seen[seen[:, 2] > 0, 0] for seen in self.publications.values()]
        return np.sort(np.concatenate(some)) if some else np.empty(0)


def follow(lake: Lake, days: Iterable[datetime], until: datetime, known: dict[str, dict[str, Any]]) -> Followed:
    """The publications of some days. Whoever looks often keeps what is `known`: by day and key what each object said;
    a day that is over by more than one is not listed again. Raises `Damaged` for an object without rows."""
    found: dict[What, list[Publications]] = {}
    names = [f"{day:%Y-%m-%d}" for day in days]
    for name in known.keys() - set(names):
        del known[name]
    for name in names:
        over = datetime.fromisoformat(name).replace(tzinfo=UTC) + timedelta(days=2) <= until
        if not over or name not in known:
            objects = dict(known.get(name, {}))
            of_objects(lake, name, objects, _publications)
            known[name] = objects
        for some in known[name].values():
            for what, seen in some.items():
                found.setdefault(what, []).append(seen)
    return Followed(until, {what: _in_order(np.concatenate(seen), until) for what, seen in found.items()})


def in_order(publications: Mapping[What, Iterable[tuple[datetime, datetime | None, bool]]]) -> PublicationsOf:
    """Publications as (seen at, watermark, with rows), in the form that `Followed` has."""
    return {
        what: _in_order(np.array([(s.timestamp(), m.timestamp() if m else np.nan, float(n)) for s, m, n in some]))
        for what, some in publications.items()
    }


def _in_order(seen: Publications, until: datetime | None = None) -> Publications:
    ordered = seen[np.lexsort((seen[:, 2], seen[:, 1], seen[:, 0]))]
    as_before = (ordered[1:] == ordered[:-1]) | (np.isnan(ordered[1:]) & np.isnan(ordered[:-1]))
    ordered = ordered[np.append(True, ~as_before.all(axis=1))[: len(ordered)]]
    ended_by_then: Publications = ordered if until is None else ordered[ordered[:, 0] <= until.timestamp()]
    return ended_by_then


def _publications(rows: list[Row]) -> PublicationsOf:
    found: dict[What, list[tuple[datetime, datetime | None, bool]]] = {}
    for row in rows:
        what = ("model", row["model"]) if row.get("model") else ("table", row["entity"])
        seen_at = _moment(row["published_at"]) or _moment(row["ended_at"])
        assert seen_at is not None  # each row has `ended_at`
        news = what[0] == "table" and bool(row.get("rows_read"))
        found.setdefault(what, []).append((seen_at, _moment(row.get("watermark")), news))
    return in_order(found)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
