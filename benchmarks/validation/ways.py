"""Ways to decode and check a data set: ours, and what a user could pick instead. Each is a function of a data set that
returns how many rows it read and how many it refused (None where it only casts)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.validation.data import DataSet
from contracts.types import BooleanType, DecimalType, Field, IntegerType, ListType, MapType, StructType, TimestampType

SLOW_ROWS = 100_000
"""How many rows are given to the ways that look at one row after the other."""
_AT_ONCE = 1 << 40
"""Bytes of rows that are read at once: all, where a batch would cut them into commits."""


@dataclass(frozen=True)
class Done:
    """Rows read and rows refused; `steps` are seconds of CPU by step."""

    rows: int
    refused: int | None
    steps: dict[str, float]


def ours(data: DataSet, memory_limit: str) -> Done:
    """Reading and validating as a batch does it, single-threaded: typed rows and rejected ones are in tables."""
    import pandas  # noqa: F401 (as in a process that has run a batch before: DuckDB and pyarrow import it)
    import pyarrow.csv  # noqa: F401

    from lakehouse.intake import reading, validation
    from lakehouse.intake.landing import LandedObject
    from lakehouse.storage.duck import connect
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import LocalStore

    class Linked(LocalStore):
        """A store whose objects are at hand: fetching them is no part of the measurement."""

        def download(self, key: str, path: Path, etag: str) -> None:
            os.link(self._root / key, path)

    with tempfile.TemporaryDirectory(dir=data.folder.parent) as folder:
        root = Path(folder)
        lake = Lake(
            bucket="data",
            landing_database="landing",
            work_database="work",
            published_database="published",
            local_root=root,
            scratch=root / "scratch",
            threads=1,
            memory_limit=memory_limit,
        )
        lake.__dict__["store"] = Linked(root / "data")
        prefix = lake.landing_prefix(data.contract)
        (root / "data" / prefix).mkdir(parents=True)
        moment = datetime(2026, 11, 21, tzinfo=UTC)
        objects = []
        for path in data.objects:
            os.link(path, root / "data" / prefix / path.name)
            objects.append(LandedObject(prefix + path.name, path.name, path.stat().st_size, moment, moment))
        with connect(lake) as duck:
            started = _cpu()
            read = reading.read_objects(duck, lake, data.contract, objects, most=_AT_ONCE)
            middle = _cpu()
            validation.validate(duck, data.contract)
            steps = {"read and check": middle - started, "judge": _cpu() - middle}
            if read.unreadable or read.gone:
                raise RuntimeError(f"expected every object to be readable, found {read.unreadable or read.gone}")
            rows, refused = sum(read.rows.values()), duck.count("SELECT count(*) FROM rejected")
            if duck.count("SELECT count(*) FROM valid") != rows - refused:
                raise RuntimeError("expected each row to be valid or rejected")
            return Done(rows, refused, steps)


def api_rules(data: DataSet) -> Done:
    """The rules of the API in Python, row by row (`contracts.validation.parse`)."""
    from contracts.validation import parse

    started = _cpu()
    payloads = _payloads(data)
    decoded = _cpu()
    refused = sum(1 for payload in payloads if parse(data.contract, payload).problems)
    return Done(len(payloads), refused, {"decode": decoded - started, "check": _cpu() - decoded})


def json_schema(data: DataSet) -> Done:
    """fastjsonschema with the contract's JSON Schema, row by row: it checks, and types nothing."""
    import fastjsonschema

    from contracts.json_schema import json_schema as schema_of

    check = fastjsonschema.compile(schema_of(data.contract))
    started = _cpu()
    payloads = _payloads(data)
    decoded = _cpu()
    refused = 0
    for payload in payloads:
        try:
            check(payload)
        except fastjsonschema.JsonSchemaValueException:
            refused += 1
    return Done(len(payloads), refused, {"decode": decoded - started, "check": _cpu() - decoded})


def pandas_casts(data: DataSet) -> Done:
    """pandas with Arrow strings: casts of numbers (as floats) and times; nested values stay text, no other rule."""
    import pandas as pd

    started = _cpu()
    frames = [pd.read_parquet(path, dtype_backend="pyarrow") for path in data.objects]
    frame = pd.concat(frames, ignore_index=True)
    for field in _scalars(data):
        if isinstance(field.type, DecimalType | IntegerType):
            frame[field.name] = pd.to_numeric(frame[field.name], errors="coerce")
        elif isinstance(field.type, TimestampType):
            frame[field.name] = pd.to_datetime(frame[field.name], errors="coerce", utc=True, format="ISO8601")
        elif isinstance(field.type, BooleanType):
            frame[field.name] = frame[field.name].map({"true": True, "false": False})
    return Done(len(frame), None, {"all": _cpu() - started})


def polars_casts(data: DataSet) -> Done:
    """polars: casts of numbers (decimals exact, but rounded), times and nested values, no other rule."""
    import polars as pl

    started = _cpu()
    casts: list[Any] = []
    for field in _scalars(data):
        column = pl.col(field.name)
        match field.type:
            case DecimalType(precision, scale):
                casts.append(column.str.to_decimal(scale=scale).cast(pl.Decimal(precision, scale), strict=False))
            case IntegerType():
                casts.append(column.cast(pl.Int64, strict=False))
            case TimestampType():
                casts.append(column.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", strict=False, time_unit="us"))
            case BooleanType():
                casts.append(column == "true")
    frame = pl.read_parquet([str(path) for path in data.objects]).with_columns(casts)
    return Done(frame.height, None, {"all": _cpu() - started})


WAYS: dict[str, Callable[[DataSet], Done]] = {
    "API rules row by row": api_rules,
    "fastjsonschema row by row": json_schema,
    "pandas casts only": pandas_casts,
    "polars casts only": polars_casts,
}
"""The peers by name."""


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def _scalars(data: DataSet) -> list[Field]:
    return [f for f in data.contract.fields if not isinstance(f.type, ListType | MapType | StructType)]


def _payloads(data: DataSet) -> list[dict[str, Any]]:
    """The first rows of landed text as payloads of the API, which has numbers as text."""
    import orjson
    import pyarrow.parquet as pq

    names = list(data.contract.field_names)
    rows: list[dict[str, Any]] = []
    for path in data.objects:
        if len(rows) < SLOW_ROWS:
            rows += pq.read_table(path, columns=names).slice(0, SLOW_ROWS - len(rows)).to_pylist()
    for field in data.contract.fields:
        name = field.name
        for row in rows:
            text = row[name]
            if text is None:
                continue
            if isinstance(field.type, ListType | MapType | StructType):
                row[name] = orjson.loads(text)
            elif isinstance(field.type, BooleanType):
                row[name] = text == "true"
            elif isinstance(field.type, IntegerType) and text.lstrip("-").isdigit():
                row[name] = int(text)
    return rows
