"""Where rows come from: what answers need of a warehouse, which is the DuckDB file of a build, or what readers see of
the marts in the lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import pandas as pd

from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import literal, quoted
from reporting.model import Row
from reporting.templates import Sql
from warehouse.manifest import WATERMARKS_MODEL
from warehouse.marts import Mart
from warehouse.sources import open_lake

FRESHNESS = "rpt_data_freshness"
"""The report that holds the watermarks of its build, by entity."""


class WarehouseNotBuilt(RuntimeError):
    """The warehouse file is missing or has no marts yet."""


class ModelNotBuilt(LookupError):
    """A query reads a model that the warehouse does not have."""


class ColumnsMissing(LookupError):
    """A query reads columns that the models of the warehouse do not have."""


class Source(Protocol):
    """A warehouse that answers queries."""

    def has(self, model: str) -> bool:
        """Whether the dbt model is built."""

    def ref(self, model: str) -> Sql:
        """The relation of a dbt model. Raises `ModelNotBuilt`."""

    def read(self, query: str) -> pd.DataFrame:
        """The rows as objects: amounts as Decimal, times as datetime without zone (UTC), nulls as None. Raises
        `ColumnsMissing`."""


@dataclass(frozen=True)
class Warehouse:
    """The file of a build, open for reading. `relations` are its tables and views with their schemas, by name."""

    connection: duckdb.DuckDBPyConnection
    relations: Mapping[str, str]

    def has(self, model: str) -> bool:
        """As `Source` has it; so are the others."""
        return model in self.relations

    def ref(self, model: str) -> Sql:
        if model not in self.relations:
            raise ModelNotBuilt(model)
        return Sql(self.relations[model])

    def read(self, query: str) -> pd.DataFrame:
        try:
            result = self.connection.execute(query)
        except duckdb.BinderException as error:
            raise ColumnsMissing(str(error)) from error
        return pd.DataFrame(result.fetchall(), columns=[column[0] for column in result.description], dtype=object)


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


@contextmanager
def open_warehouse(path: Path) -> Iterator[Warehouse]:
    """The warehouse in a file, as long as the context. Raises `WarehouseNotBuilt` where there is no file."""
    if not path.exists():
        raise WarehouseNotBuilt(f"expected the warehouse at {path}, found no file: build the marts first")
    with duckdb.connect() as connection:
        # Under the name that the views in the file know themselves by, whatever the file is called.
        connection.execute("attach '{}' as warehouse (read_only)".format(str(path).replace("'", "''")))
        connection.execute("use warehouse")
        found = connection.execute("select table_name, table_schema from information_schema.tables").fetchall()
        yield Warehouse(connection, {name: f"{schema}.{name}" for name, schema in found})


@contextmanager
def open_published(lake: Lake, marts: Iterable[Mart]) -> Iterator[Warehouse]:
    """Those of the `marts` that are built, as readers of the lake see them: one state of each, as long as the context.

    They are tables of Iceberg, but for the watermarks, a view of Athena: the freshness report has those of its build.
    """
    with duckdb.connect() as connection:
        open_lake(connection, lake)
        relations = {}
        for mart in marts:
            entry = lake.entries.get(mart.database, mart.name) if mart.name != WATERMARKS_MODEL else None
            if entry is not None:
                scan = f"iceberg_scan({literal(entry.metadata_location)})"
                connection.execute(f"create view {quoted(mart.name)} as select * from {scan}")
                relations[mart.name] = mart.name
        if FRESHNESS in relations:
            connection.execute(f"create view {WATERMARKS_MODEL} as select entity, watermark from {FRESHNESS}")
            relations[WATERMARKS_MODEL] = WATERMARKS_MODEL
        yield Warehouse(connection, relations)
