"""Maintenance at random points of random histories: the same rows, each retained state whole, and nothing else kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.table import StaticTable

from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.maintenance import rewriting
from lakehouse.merge import planning
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.results import StateRetention
from lakehouse.storage.lake import Lake
from lakehouse.table import key_index
from lakehouse.table.tables import NO_HORIZON, TableState
from tests.support.ageing import ageing
from tests.support.depth import examples
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_rows
from tests.support.readers import by_duckdb

KEYS = ("a", "b", "c", "d", "e")
MONTHS = ("2026-09-05T00:00:00Z", "2026-10-05T00:00:00Z")
STATE_RETENTION = StateRetention(recent=timedelta(hours=24), days=0, states=1, grace=timedelta(hours=24))

CHANGE = st.tuples(
    st.sampled_from(KEYS), st.integers(0, 600), st.sampled_from(["modify", "modify", "remove", "expire"])
)
STEP = st.one_of(
    st.tuples(st.just("batch"), st.lists(CHANGE, min_size=1, max_size=6)),
    st.tuples(st.just("wait"), st.sampled_from([1, 7, 20, 30])),
    st.tuples(st.just("maintain"), st.none()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("expire landing"), st.sampled_from([0, 24, 240])),
)


@dataclass
class World:
    """A lake, what was accepted, and each published state with the moment it was written and its rows."""

    lake: Lake
    landing: Landing
    clock: Clock
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: list[tuple[str, datetime, list[Any]]] = field(default_factory=list)
    horizon: int = NO_HORIZON
    events: int = 0

    def batch(self, changes: list[tuple[str, int, str]]) -> None:
        rows = []
        for key, age, op in changes:
            self.events += 1
            moment = self.clock() - timedelta(hours=age)
            rows.append(
                change(
                    key,
                    version=int(moment.timestamp()) * 1_000_000 + self.events,
                    op=op,
                    event=f"e{self.events}",
                    price=f"{self.events}.00",
                    sent_at=MONTHS[KEYS.index(key) % 2],
                    _changed_at=f"{moment:%Y-%m-%dT%H:%M:%SZ}",
                )
            )
        self.landing.land(rows, self.clock())
        known = {r["parcel_id"] for r in published_rows(self.lake)}
        counts = compact(self.lake, PARCELS, Scope.everything()).counts
        self._published()
        late = 0
        for key in {r["parcel_id"] for r in rows}:
            mine = [r for r in rows if r["parcel_id"] == key]
            newest = max(mine, key=order)
            if key not in known and int(newest["_version"] or 0) < self.horizon:
                late += len(mine)  # absent, and older than what was purged
            elif key not in self.accepted or order(newest) > order(self.accepted[key]):
                self.accepted[key] = newest
        assert counts.too_late == late

    def maintain(self) -> None:
        before = self.seen
        result = maintain(self.lake, PARCELS, state_retention=STATE_RETENTION)
        assert result.same_rows
        assert result.removal is not None
        assert result.removal.exact
        assert self.horizon <= result.horizon
        self.horizon = result.horizon
        gone = before.keys() - self.seen.keys()
        assert len(gone) == result.purged
        assert all(self.accepted[key]["_op"] == "remove" for key in gone)
        assert self.seen == {key: row for key, row in before.items() if key not in gone}
        if result.metadata_location != self.states[-1][0]:
            self.states.append((result.metadata_location, self.clock(), by_duckdb(result.metadata_location)))
        self.check_files()

    def crash(self) -> None:
        """A batch that ends before it is audited, and one that ends before it is published."""
        self.landing.land([change("x", version=1)], self.clock(), name="crashed.parquet")
        with patch("lakehouse.publish.audit.save", side_effect=KeyboardInterrupt):
            try:
                compact(self.lake, PARCELS, Scope.everything())
            except KeyboardInterrupt:
                self.lake.store.delete([s.key for s in self.lake.store.list("landing/") if "crashed" in s.key])

    def expire_landing(self, hours: int) -> None:
        limit = self.clock() - timedelta(hours=hours)
        self.lake.store.delete([s.key for s in self.lake.store.list("landing/") if s.modified < limit])

    def _published(self) -> None:
        location = publish(self.lake, PARCELS).published.metadata_location
        if not self.states:
            empty = TableState(self.lake, location).metadata.metadata_log[0].metadata_file
            self.states.append((empty, self.clock(), []))
        self.states.append((location, self.clock(), by_duckdb(location)))

    @property
    def seen(self) -> dict[str, tuple[Any, ...]]:
        return {r["parcel_id"]: (*order(r), r["_deleted"], str(r["price"])) for r in published_rows(self.lake)}

    def check_rows(self) -> None:
        """What readers see is the newest of what was accepted; of removed items perhaps not even a tombstone."""
        expected = {k: (*order(r), r["_op"] == "remove", r["price"]) for k, r in self.accepted.items()}
        seen = self.seen
        assert {k: seen[k] for k in seen} == {k: expected[k] for k in seen}
        assert all(expected[k][3] for k in expected.keys() - seen.keys())

    def check_files(self) -> None:
        """Every retained state is whole; and each file that is older than the grace period belongs to one, or to a
        snapshot that readers still see listed."""
        since = self.clock() - STATE_RETENTION.recent
        older = [n for n, (_, written, _) in enumerate(self.states) if written <= since]
        retained = self.states[older[-1] if older else 0 :]
        needed = set()
        for location, _, rows in retained:
            assert sorted(by_duckdb(location), key=str) == sorted(rows, key=str), location
            fresh = local_lake(self.lake.local_root, self.clock)  # type: ignore[arg-type]
            needed |= files_of(location) | files_of(TableState(fresh, location).changes_location)
        needed |= files_of(location, listed=True)
        needed |= files_of(TableState(fresh, location).changes_location, listed=True)
        old = {s.key for s in self.lake.store.list("warehouse/") if s.modified < self.clock() - STATE_RETENTION.grace}
        # A key index belongs to its data file.
        old = {key_index.described_by("warehouse/parcels/", key) or key for key in old}
        assert old - {self.lake.store.key(path) for path in needed} == set()


def order(row: dict[str, Any]) -> tuple[int, str, str]:
    return int(row["_version"]), str(row["_seq"]), str(row["_event_id"])


def files_of(location: str, *, listed: bool = False) -> set[str]:
    """The files that pyiceberg opens to read the table that a metadata file describes, or all snapshots it lists."""
    table = StaticTable.from_metadata(location)
    present = table.metadata.current_snapshot()
    found = {location}
    for snapshot in table.metadata.snapshots if listed else [present] if present else []:
        found |= {snapshot.manifest_list} | {m.manifest_path for m in snapshot.manifests(table.io)}
        for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files():
            found |= {task.file.file_path} | {d.file_path for d in task.delete_files}
    return found


@contextmanager
def world() -> Iterator[World]:
    clock = Clock(NOON)
    marking = {"SMALL_FILE": 0, "TINY_FILE": 0, "GROWTH": 0, "REWRITE_SHARE": 0.9}
    with (
        tempfile.TemporaryDirectory() as folder,
        ageing(clock),
        patch.multiple(planning, **marking),
        patch.object(rewriting, "SEVERAL", 3),
        patch.object(key_index, "FEWEST_ROWS", 1),
    ):
        lake = local_lake(Path(folder), clock)
        yield World(lake, Landing(lake, PARCELS), clock)


@settings(max_examples=examples(8), phases=[Phase.explicit, Phase.reuse, Phase.generate])  # shrinking takes too long
@given(st.lists(STEP, min_size=4, max_size=14))
def test_maintenance_keeps_the_rows_and_what_is_retained_and_nothing_else(steps: list[tuple[str, Any]]) -> None:
    with world() as made:
        made.batch([("a", 0, "modify")])
        for action, value in [*steps, ("maintain", None), ("wait", 30), ("maintain", None)]:
            match action:
                case "batch":
                    made.batch(value)
                case "wait":
                    made.clock.forward(hours=value)
                case "maintain":
                    made.maintain()
                case "crash":
                    made.crash()
                case "expire landing":
                    made.expire_landing(value)
            made.check_rows()
        assert audit_table(made.lake, PARCELS).passed
