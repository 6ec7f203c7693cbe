"""Logs beside the tables: rows of JSON in small objects by day, how values are written, and the Glue tables over them.

Athena finds the days by projection, without a crawler. Which rows there are belongs to each log. Marts read all of
them, so their tables are there together, from an environment's first publication on, whether they have rows or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from contracts.glue import MAX_COMMENT, glue_type
from contracts.logs import LOGS, Log
from contracts.types import DecimalType, TimestampType
from lakehouse.table.glue_tables import sync_table

if TYPE_CHECKING:
    from lakehouse.results import Drift
    from lakehouse.storage.lake import Lake

Row = dict[str, Any]
RETENTION_DAYS = 400
"""A year to compare with, and a month to do it in."""
JOINED_DAYS = 7
"""How many days back rows are joined, and removed behind the retention: what a week without that left."""


def prefix_of(log: Log, entity: str, day: datetime) -> str:
    """What the keys of an entity's day in a log begin with. A partition has no folders: not every engine looks into
    them."""
    return f"{log.name}/{log.day}={day:%Y-%m-%d}/{entity}."


def row_of(log: Log, known: Row) -> Row:
    """One row, as JSON has it: every column of the log, times as text that Hive's readers take."""
    return {column.name: _value(known.get(column.name), column.type) for column in log.columns}


def _value(value: Any, type_: object) -> Any:
    match type_:
        case TimestampType() if value is not None:
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        case DecimalType(_, scale) if value is not None:
            return float(round(Decimal(value), scale))
        case _:
            return value


def lines(rows: Iterable[Row]) -> bytes:
    """Rows as lines of JSON."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def refresh(lake: Lake) -> tuple[Drift, ...]:
    """Bring the Glue tables over all logs to what they must be; returns what was changed in them by hand."""
    return tuple(drift for table in table_inputs(lake) for drift in sync_table(lake, lake.published_database, table))


def table_inputs(lake: Lake) -> list[dict[str, Any]]:
    """The Glue TableInput of each log's table."""
    return [_table_input(lake, log) for log in LOGS]


def _table_input(lake: Lake, log: Log) -> dict[str, Any]:
    root = lake.store.uri(f"{log.name}/")
    return {
        "Name": log.name,
        "Description": log.description,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": log.day, "Type": "string", "Comment": log.day_description}],
        "StorageDescriptor": {
            "Columns": [
                {"Name": c.name, "Type": glue_type(c.type), "Comment": c.description[:MAX_COMMENT]} for c in log.columns
            ],
            "Location": root,
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe",
                "Parameters": {"serialization.format": "1"},
            },
        },
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "json",
            "projection.enabled": "true",
            f"projection.{log.day}.type": "date",
            f"projection.{log.day}.format": "yyyy-MM-dd",
            f"projection.{log.day}.range": f"NOW-{RETENTION_DAYS + JOINED_DAYS}DAYS,NOW+1DAYS",
            "storage.location.template": f"{root}{log.day}=${{{log.day}}}/",
        },
    }
