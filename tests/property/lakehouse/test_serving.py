"""A served table is one published state, whatever happens: never a mixture, never another one than it says.

Random histories change, remove, expire and evolve a table of the lake, roll it back and maintain it, and bring it to a
real PostgreSQL between. A sync dies at any of its exchanges with the server, the server is killed there, or another
sync or a publication comes between. After each step PostgreSQL's rows are those of the state that it names, read by
Iceberg's own extension of DuckDB; after a sync that was left alone, that is the published one.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from contracts import Contract, Field
from contracts.types import DecimalType, StringType
from lakehouse.batch.compaction import compact
from lakehouse.intake.landing import Scope
from lakehouse.maintenance.run import maintain
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.results import StateRetention
from lakehouse.serving import postgres
from lakehouse.serving.sync import sync_served
from lakehouse.serving.wanted import Serving, Target, Wish
from lakehouse.storage.lake import Lake
from tests.support.depth import examples
from tests.support.failing import Crash
from tests.support.lakes import PARCELS, Clock, Landing, change, local_lake
from tests.support.limits import LIMITS, limits
from tests.support.postgres import Server, rows
from tests.support.readers import by_duckdb

STEPS = 14
WIDER = replace(
    PARCELS,
    version="1.1.0",
    fields=(
        *(replace(f, type=DecimalType(18, 2)) if f.name == "price" else f for f in PARCELS.fields),
        Field("colour", 20, StringType()),
    ),
)
Row = dict[str, Any]


class World:
    """A lake, a database that follows it, and what can happen to both."""

    def __init__(self, seed: int, server: Server, folder: Path) -> None:
        self.random = random.Random(seed)
        self.server, self.clock = server, Clock()
        self.lake: Lake = local_lake(folder, self.clock)
        self.contract: Contract = PARCELS
        self.url = server.new_database()
        self.version = 0
        self.landing = Landing(self.lake, WIDER)

    def target(self) -> Target:
        return Serving("shop", {"parcels": Wish(personal=("recipient",))}, "").target(self.contract)

    def land(self) -> None:
        """Some changes in one object: of many keys, so that files are rewritten, or of few, so that rows are marked."""
        count = self.random.choice([1, 2, 3, 40])
        landed = []
        for _ in range(count):
            self.version += 1
            late = self.random.random() < 0.2
            fields: dict[str, str | None] = {
                "price": f"{self.random.randrange(100)}.50",
                "items": json.dumps([{"name": "x", "worth": f"{self.random.randrange(9)}.10"}]),
                "labels": json.dumps({"b": str(self.version), "a": "1"}),
            }
            if self.contract is WIDER:
                fields["colour"] = self.random.choice(["red", None])
            landed.append(
                change(
                    f"p-{self.random.randrange(60):02}",
                    version=max(1, self.version - 60) if late else self.version,
                    op=self.random.choices(["modify", "remove", "expire"], [8, 2, 1])[0],
                    event=f"e-{self.version}",
                    **fields,  # type: ignore[arg-type]
                )
            )
        self.landing.land(landed)
        self.publish()

    def publish(self) -> None:
        compact(self.lake, self.contract, Scope())
        publish(self.lake, self.contract)

    def roll_back(self) -> None:
        with suppress(LookupError):
            rollback(self.lake, self.contract)

    def maintain(self) -> None:
        """Rewrites, purges, and removes the files of earlier states, so that what was shown may be gone."""
        self.clock.forward(days=self.random.choice([0, 1]))
        keep = StateRetention(recent=timedelta(hours=2), days=0, states=2, grace=timedelta(hours=2))
        maintain(self.lake, self.contract, state_retention=keep)
        publish(self.lake, self.contract)

    def evolve(self) -> None:
        self.contract = WIDER
        self.land()

    def sync(self) -> None:
        """Left alone, it shows what is published."""
        done = sync_served(self.lake, self.target(), self.url)
        state = published(self.lake, self.contract)
        assert (done is None) == (state is None)
        if state is not None:
            (said,) = rows(self.url, "SELECT metadata_location, rows, watermark FROM shop.gavel_sync")
            assert (said["metadata_location"], said["watermark"]) == (state.metadata_location, state.watermark)
            assert rows(self.url, "SELECT count(*) AS rows FROM shop.parcels") == [{"rows": said["rows"]}]

    def troubled(self) -> None:
        """A sync to which something happens at one of its exchanges with the server."""
        what = self.random.choice([self.die, self.die, self.kill, self.overtake, self.land, self.roll_back])
        at, after = self.random.randrange(1, 30), self.random.random() < 0.5
        with exchanges(at, after, what), suppress(Crash, psycopg.OperationalError):
            sync_served(self.lake, self.target(), self.url)
        if what == self.kill:
            self.server.start()

    def die(self) -> None:
        raise Crash

    def kill(self) -> None:
        self.server.kill()

    def overtake(self) -> None:
        at_once = mock.patch.dict(postgres.SESSION, lock_timeout="50ms")
        with at_once, suppress(psycopg.errors.LockNotAvailable):  # the other one holds the lock
            sync_served(self.lake, self.target(), self.url)

    def step(self) -> str:
        what = self.random.choices(
            [self.land, self.sync, self.troubled, self.roll_back, self.maintain, self.evolve], [5, 4, 6, 1, 1, 1]
        )[0]
        what()
        self.holds()
        return what.__name__

    def holds(self) -> None:
        """PostgreSQL's rows are those of the state that it names."""
        if not rows(self.url, "SELECT FROM pg_class WHERE relname = 'gavel_sync'"):
            assert rows(self.url, "SELECT FROM pg_class WHERE relname = 'parcels'") == []
            return
        (said,) = rows(self.url, "SELECT metadata_location, definition FROM shop.gavel_sync")
        if Path(said["metadata_location"]).exists():
            names = list(said["definition"]["columns"])
            expected = [_expected(r, names) for r in by_duckdb(said["metadata_location"]) if _visible(r)]
            found = [_found(r) for r in rows(self.url, f"SELECT {', '.join(map(_selected, names))} FROM shop.parcels")]
            assert sorted(found, key=_key) == sorted(expected, key=_key)


@contextmanager
def exchanges(at: int, after: bool, what: Callable[[], None]) -> Iterator[None]:
    """Let something happen at the exchange with a server of that number, `after` it or instead of it."""
    inner = psycopg.Connection.wait
    count = 0

    def wait(connection: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count != at:
            return inner(connection, *arguments, **named)
        if not after:
            what()
        result = inner(connection, *arguments, **named)
        if after:
            what()
        return result

    with mock.patch.object(psycopg.Connection, "wait", wait):
        yield


def _visible(row: Row) -> bool:
    return not row["_deleted"] and not row["_expired"]


def _expected(row: Row, names: list[str]) -> Row:
    expected = {name: row.get(name) for name in names}
    expected["sent_at"] = expected["sent_at"].replace(tzinfo=UTC)
    if expected["labels"] is not None:
        expected["labels"] = dict(expected["labels"])
    return expected


def _selected(name: str) -> str:
    return f"{name}::text" if name in ("items", "labels") else name


def _found(row: Row) -> Row:
    nested = {n: json.loads(row[n], parse_float=Decimal) for n in ("items", "labels") if row[n] is not None}
    return {**row, **nested}


def _key(row: Row) -> tuple[str, int]:
    return row["parcel_id"], row["part"]


@pytest.mark.parametrize("seed", range(examples(24, least=6)))
def test_a_served_table_is_the_state_that_it_names(seed: int, postgres_server: Server) -> None:
    with tempfile.TemporaryDirectory() as folder, limits(list(LIMITS)[seed % len(LIMITS)]):
        world = World(seed, postgres_server, Path(folder))
        world.land()
        for _ in range(STEPS):
            world.step()
        world.land()
        world.sync()
        world.holds()
