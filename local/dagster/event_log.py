"""Dagster's run history on a laptop: SQLite that waits neither for the disk nor for itself.

A run of all entities has half a thousand events, and Dagster commits each by itself, through a new SQLAlchemy engine
that opens the file and compiles the statement again, then waits for the disk. That takes longer than the work. So
engines are kept, with their connections where nobody watches the file, and the operating system writes to disk when it
likes: what was committed survives a killed process all the same; a power cut costs run history, no data.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import dagster as dg
from sqlalchemy import Connection, Engine, NullPool, Transaction, and_, delete, event, func, select

from local.dagster.private_dagster import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteRunStorage,
    create_engine,
)
from orchestration.forgetting import forget_events
from orchestration.private_storage import SqlEventLogStorageTable

_KEPT = 16  # engines: the index's, the runs', and those of runs that somebody looks at now
_CONNECTING = {"timeout": 60, "check_same_thread": False}  # a pool gives a connection to one thread at a time
_worked_on: set[str] = set()


def work_on(run_id: str) -> None:
    """Say that this process executes a run: it keeps the file of the run's events open until it ends."""
    _worked_on.add(run_id)


class Engines:
    """SQLAlchemy engines by address with their compiled statements; those used last stay."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def engine(self, address: str, stays_open: bool = True) -> Engine:
        """The engine of an address, made on first use; it keeps a connection open, or closes it after each use."""
        with self._lock:
            if address not in self._engines:
                pool: Any = {"pool_size": 1, "max_overflow": -1} if stays_open else {"poolclass": NullPool}
                self._engines[address] = create_engine(address, connect_args=_CONNECTING, **pool)
                while len(self._engines) > _KEPT:
                    self._engines.popitem(last=False)[1].dispose()
            self._engines.move_to_end(address)
            return self._engines[address]

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
        with self._lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


class LaptopEventLog(SqliteEventLogStorage):
    """The event log of `dagster.yaml`. Loading it tunes all of the instance's SQLite connections in this process."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        if not event.contains(Engine, "connect", _do_not_wait_for_the_disk):
            event.listen(Engine, "connect", _do_not_wait_for_the_disk)
        self._engines = Engines()
        self._tables: set[str] = set()
        self._writing = RLock()
        self._transactions: dict[str, tuple[Connection, Transaction]] | None = None
        self._together = ExitStack()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "LaptopEventLog":
        """What Dagster calls with the configuration."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """As in Dagster's class, with an engine that is kept. The UI watches the file of a run, and SQLite writes to it
        when a connection is closed: only the index stays open, and the file of a run that this process works on, which
        is touched instead."""
        with self._writing:
            if self._transactions is not None:
                if shard not in self._transactions:
                    connection = self._together.enter_context(self._engine(shard).connect())
                    self._transactions[shard] = connection, connection.begin()
                yield self._transactions[shard][0]
                return
            with self._engine(shard).begin() as connection:
                yield connection
            if shard in _worked_on:
                os.utime(self.path_for_shard(shard))

    def _engine(self, shard: str) -> Engine:
        stays_open = shard == INDEX_SHARD_NAME or shard in _worked_on
        engine = self._engines.engine(self.conn_string_for_shard(shard), stays_open)
        if shard not in self._initialized_dbs or not Path(self.path_for_shard(shard)).exists():
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return engine

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """What this thread writes meanwhile is one transaction for each file. They are committed in the order in which
        they began: a run's before the index's, as Dagster's class writes them."""
        with self._writing:
            if self._transactions is not None:
                yield
                return
            self._transactions, self._together = {}, ExitStack()
            try:
                with self._together:
                    yield
                    for _, transaction in self._transactions.values():
                        transaction.commit()
                for shard in _worked_on & self._transactions.keys():
                    os.utime(self.path_for_shard(shard))
            finally:
                self._transactions = None

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Keep an event: in its run's file, and where others look for it."""
        with self._at_once():
            super().store_event(event)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Keep events all or none: Dagster stores them one by one if this fails."""
        with self._at_once():
            super().store_event_batch(events)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table. Dagster asks for each asset event, within a transaction; tables stay."""
        if table_name not in self._tables:
            engine = self._engines.engine(self.conn_string_for_shard(INDEX_SHARD_NAME))
            with engine.connect() as connection:
                if engine.dialect.has_table(connection, table_name):
                    self._tables.add(table_name)
        return table_name in self._tables

    def delete_events(self, run_id: str) -> None:
        """Remove what a run recorded, and its file, which Dagster's class empties and leaves behind. The file goes
        last: as long as it is there, somebody sees that the rest may be, too."""
        if not run_id:
            raise ValueError("expected the id of a run, found none: events without a run are no run's")
        with self.index_connection() as connection:
            self.delete_events_for_run(connection, run_id)
        self.free_concurrency_slots_for_run(run_id)
        self._initialized_dbs.discard(run_id)
        for ending in ("-wal", "-shm", ""):
            Path(self.path_for_shard(run_id) + ending).unlink(missing_ok=True)

    def forget(self, before: datetime, partitions_before: datetime, runs: Collection[str]) -> int:
        """Remove results of checks and events of assets that are older than a moment and belong to none of these runs,
        as `orchestration.run_history` says. Also removes what is that old from the file of events without a run, which
        repeats them. Returns how many there were."""
        found = forget_events(self, before, partitions_before, runs)
        if Path(self.path_for_shard("")).exists():
            old, events = before.astimezone(UTC).replace(tzinfo=None), SqlEventLogStorageTable.c
            with self.run_connection("") as connection:
                last = select(func.max(events.id)).scalar_subquery()
                connection.execute(
                    delete(SqlEventLogStorageTable).where(and_(events.timestamp < old, events.id < last))
                )
        return found

    def wipe(self) -> None:
        """Remove all files, none of which may be open."""
        self._engines.close()
        super().wipe()

    def dispose(self) -> None:
        """Let go of everything when the instance ends."""
        super().dispose()
        self._engines.close()


class LaptopRuns(SqliteRunStorage):
    """The run storage of `dagster.yaml`."""

    def __init__(self, conn_string: str, inst_data: Any = None) -> None:
        self._engines = Engines()
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "LaptopRuns":
        """What Dagster calls with the configuration."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """As in Dagster's class, with an engine that is kept."""
        with self._engines.engine(self._conn_string).begin() as connection:
            yield connection

    @property
    def path(self) -> str:
        """The file of all runs."""
        return str(self._engines.engine(self._conn_string).url.database)

    def dispose(self) -> None:
        """Let go of everything when the instance ends."""
        super().dispose()
        self._engines.close()
