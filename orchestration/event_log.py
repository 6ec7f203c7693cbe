"""Dagster's run history on a laptop: SQLite that waits neither for the disk nor for itself.

A run of all entities has half a thousand events, and Dagster commits each by itself: waiting for the disk each time,
and making a new SQLAlchemy engine that compiles the same statement again, takes longer than the work. So the operating
system writes to disk when it likes (what was committed survives a killed process all the same; a power cut costs run
history, no data), and engines are kept.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sql import create_engine
from sqlalchemy import Connection, Engine, NullPool, event

_KEPT = 16  # engines: the index's, the runs', and those of runs that somebody looks at now
_BUSY_SECONDS = 60


class Engines:
    """SQLAlchemy engines by address, with their compiled statements; those used last are kept. No connection stays
    open, so that a run's file can be removed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def engine(self, address: str) -> Engine:
        """The engine of an address, made on first use."""
        with self._lock:
            if address not in self._engines:
                kept = create_engine(address, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
                self._engines[address] = kept
                while len(self._engines) > _KEPT:
                    self._engines.popitem(last=False)
            self._engines.move_to_end(address)
            return self._engines[address]


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


class LaptopEventLog(SqliteEventLogStorage):
    """The event log of `dagster.yaml`. Loading it tunes all of the instance's SQLite connections in this process."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        if not event.contains(Engine, "connect", _do_not_wait_for_the_disk):
            event.listen(Engine, "connect", _do_not_wait_for_the_disk)
        self._engines = Engines()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "LaptopEventLog":
        """What Dagster calls with the configuration."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """As in Dagster's class, with an engine that is kept."""
        with self._db_lock:
            engine = self._engines.engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection


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
