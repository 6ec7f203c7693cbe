"""Dagster's event log on a laptop: SQLite that leaves writing to disk to the operating system.

Dagster commits every event by itself, and a run of all entities has a thousand: waiting for the disk each time takes
longer than the work. What was committed survives a killed process all the same; a power cut costs run history, no data.
"""

import sqlite3
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import event
from sqlalchemy.engine import Engine


class LaptopEventLog(SqliteEventLogStorage):
    """The event log of `dagster.yaml`. Loading it tunes all of the instance's SQLite connections in this process."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        if not event.contains(Engine, "connect", _do_not_wait_for_the_disk):
            event.listen(Engine, "connect", _do_not_wait_for_the_disk)
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "LaptopEventLog":
        """What Dagster calls with the configuration."""
        return cls(inst_data=inst_data, **config_value)


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")
