"""What a run of production left in Dagster's storage: each run, the ticks of each sensor and schedule, and how much
each table of PostgreSQL holds, so that people can look at all of it afterwards, when the database is gone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRecord

_TABLES = "SELECT relname FROM pg_stat_user_tables ORDER BY relname"


def tables(database: str) -> dict[str, tuple[int, int]]:
    """Rows and bytes, indexes among them, of each table of a database. `database`: its address."""
    with psycopg.connect(database) as connection:
        names = [str(name) for (name,) in connection.execute(_TABLES)]
        return {name: _size(connection, name) for name in names}


def _size(connection: psycopg.Connection[Any], name: str) -> tuple[int, int]:
    query = sql.SQL("SELECT count(*), pg_total_relation_size({}) FROM {}")
    row = connection.execute(query.format(sql.Literal(name), sql.Identifier(name))).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def write_runs(records: Sequence[RunRecord], file: Path) -> None:
    """Write each run as a line of JSON, the oldest first."""
    with file.open("w") as output:
        for record in reversed(records):
            run = record.dagster_run
            line = {
                "run": run.run_id,
                "job": run.job_name,
                "status": run.status.value,
                "created": _moment(record.create_timestamp.timestamp()),
                "started": _moment(record.start_time),
                "ended": _moment(record.end_time),
                "continues": run.parent_run_id,
                "tags": {name: value for name, value in run.tags.items() if not name.startswith("ecs/")},
            }
            output.write(json.dumps(line) + "\n")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def ticks(used: DagsterInstance) -> Iterator[tuple[str, dict[str, int]]]:
    """How many ticks of each sensor and schedule ended in which way."""
    for state in sorted(used.all_instigator_state(), key=lambda state: state.name):
        found = used.get_ticks(state.instigator_origin_id, state.selector_id)
        yield state.name, dict(Counter(tick.status.value for tick in found))
