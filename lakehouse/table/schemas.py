"""The lake's two tables per entity, written from its contract: Iceberg and Arrow schemas, SQL types, field ids.

The compacted table `<entity>` has one row per key; `<entity>_changes` has one row per change. Field ids are those of
the contract; the system columns have fixed ids from 1001 on. Every column is optional in Iceberg, so that a contract
can evolve without touching stored rows: that required fields are present is the audit's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyiceberg import types as iceberg
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, MonthTransform

from contracts.glue import glue_type
from contracts.system_columns import COMPACTED, HISTORY
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    NestedType,
    ScalarType,
    StringType,
    StructType,
    TimestampType,
    fold,
    scalar_name,
)
from lakehouse.storage.lake import CHANGES
from lakehouse.storage.sql import literal, quoted

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

    from contracts import Contract


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table of the lake."""

    name: str
    field_id: int
    type: FieldType
    description: str


_LAST_COLUMN_ID = 1999

ORDER = ("_version", "_seq", "_event_id")
"""The total order of the changes of one key; the last only decides between copies that differ in nothing else."""


_TRANSFORMS: dict[str, Any] = {"month": MonthTransform(), "day": DayTransform()}


def _columns(fields: Iterable[Field]) -> tuple[Column, ...]:
    return tuple(Column(f.name, f.field_id, f.type, f.description) for f in fields)


COMPACTED_STAMPS = _columns(COMPACTED)
CHANGES_STAMPS = _columns(HISTORY)


@dataclass(frozen=True)
class TableShape:
    """The columns, partition and sort of one Iceberg table of an entity.

    `partition` is (column, transform) or None; `keys` are the columns whose bounds are kept exact. `evolved` says that
    stored files may lack a column or have a narrower type: they are then read by field id, which costs twice as much.
    """

    name: str
    columns: tuple[Column, ...]
    partition: tuple[str, str] | None
    sort: tuple[str, ...]
    keys: tuple[str, ...]
    description: str
    evolved: bool = True

    def stored_as(self, metadata: TableMetadata) -> TableShape:
        """The shape for reading the files of a table with this metadata, and for writing more of them: in partitions
        as they were when the table was made."""
        alike = len(metadata.schemas) == 1 and metadata.schema().as_struct() == self.schema().as_struct()
        partition = self.partition and (self.partition[0], str(metadata.spec().fields[0].transform))
        return replace(self, evolved=not alike, partition=partition)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in order."""
        return tuple(c.name for c in self.columns)

    def schema(self) -> Schema:
        """The Iceberg schema."""
        return _schema(self.columns)

    def spec(self) -> PartitionSpec:
        """The Iceberg partition spec."""
        if self.partition is None:
            return PartitionSpec()
        column, transform = self.partition
        source = next(c.field_id for c in self.columns if c.name == column)
        return PartitionSpec(PartitionField(source, 1000, _TRANSFORMS[transform], f"{column}_{transform}"))

    def partition_sql(self) -> str:
        """The partition value of a row as Iceberg counts it (months or days since 1970), in DuckDB's SQL."""
        if self.partition is None:
            return "0"
        column, transform = self.partition
        return f"date_diff('{transform}', date '1970-01-01', {quoted(column)}::date)"

    def properties(self) -> dict[str, str]:
        """Table properties: exact bounds for keys, short ones for other scalars, none for nested columns."""
        modes = {
            f"write.metadata.metrics.column.{c.name}": "full" if c.name in self.keys else "truncate(16)"
            for c in self.columns
            if with_bounds(c)
        }
        return {
            "write.metadata.metrics.default": "none",
            "write.parquet.compression-codec": "zstd",
            "commit.retry.num-retries": "0",  # a lost race is planned again, never committed again
            **modes,
        }

    def glue_columns(self) -> list[dict[str, str]]:
        """The columns of a Glue TableInput."""
        return [{"Name": c.name, "Type": glue_type(c.type), "Comment": c.description[:255]} for c in self.columns]

    def select(self, alias: str = "") -> str:
        """The columns as a select list."""
        prefix = f"{alias}." if alias else ""
        return ", ".join(prefix + quoted(c.name) for c in self.columns)

    def field_ids(self) -> str:
        """The value of DuckDB's `FIELD_IDS` option for COPY."""
        return "{" + ", ".join(f"{quoted(c.name)}: {_ids(c.field_id, c.type)}" for c in self.columns) + "}"

    def reading_schema(self) -> str:
        """The value of DuckDB's `schema` option for read_parquet: columns by field id, absent ones null."""
        columns = (
            f"{c.field_id}: {{name: {literal(c.name)}, type: {literal(duckdb_type(c.type))}, default_value: NULL}}"
            for c in self.columns
        )
        return "MAP {" + ", ".join(columns) + "}"


@lru_cache(maxsize=256)
def _schema(columns: tuple[Column, ...]) -> Schema:
    return Schema(*(_nested_field(c.name, c.field_id, iceberg_type(c.type), c.description) for c in columns))


def compacted(contract: Contract) -> TableShape:
    """The shape of `<entity>`: one row per key, tombstones and expired items included."""
    return TableShape(
        name=contract.name,
        columns=(*_columns(contract.fields), *COMPACTED_STAMPS),
        partition=(contract.partition.field, contract.partition.transform) if contract.partition else None,
        sort=contract.sort or contract.primary_key,
        keys=contract.primary_key,
        description=contract.description,
    )


def changes(contract: Contract) -> TableShape:
    """The shape of `<entity>_changes`: every accepted change, by month of `_changed_at` and sorted by it, so that files
    can be left out by their bounds. By day, each batch of a long history would write thousands of files."""
    return TableShape(
        name=contract.name + CHANGES,
        columns=(*_columns(contract.fields), *CHANGES_STAMPS),
        partition=("_changed_at", "month"),
        sort=("_changed_at", *contract.primary_key, *ORDER),
        keys=(*contract.primary_key, "_event_id"),
        description=f"Every change of {contract.name}, as it was accepted. {contract.description}",
    )


def last_column_id() -> int:
    """The id below which columns may be added without asking Iceberg for a new one."""
    return _LAST_COLUMN_ID


def with_bounds(column: Column) -> bool:
    """Whether Iceberg's metadata records counts and bounds of the column."""
    return not isinstance(column.type, NestedType) and column.name != "_extra"


def duckdb_type(type_: FieldType) -> str:
    """The type in DuckDB's SQL."""
    return fold(
        type_,
        scalar=lambda scalar: _DUCKDB_NAMES.get(type(scalar)) or scalar_name(scalar).upper(),
        list_=lambda _, element: f"{element}[]",
        map_=lambda _, value: f"MAP(VARCHAR, {value})",
        struct=lambda members: "STRUCT(" + ", ".join(f"{quoted(f.name)} {name}" for f, name in members) + ")",
    )


_DUCKDB_NAMES: dict[type, str] = {StringType: "VARCHAR", IntegerType: "BIGINT"}


def iceberg_type(type_: FieldType) -> iceberg.IcebergType:
    """The type in Iceberg. Timestamps are without zone and in UTC by convention, which every engine reads alike."""
    return fold(
        type_,
        scalar=_iceberg_scalar,
        list_=lambda list_, element: iceberg.ListType(list_.element_id, element, element_required=False),
        map_=lambda map_, value: iceberg.MapType(
            map_.key_id, iceberg.StringType(), map_.value_id, value, value_required=False
        ),
        struct=lambda members: iceberg.StructType(
            *(_nested_field(f.name, f.field_id, inner, f.description) for f, inner in members)
        ),
    )


def _iceberg_scalar(type_: ScalarType) -> iceberg.IcebergType:
    if isinstance(type_, DecimalType):
        return iceberg.DecimalType(type_.precision, type_.scale)
    return _ICEBERG_SCALARS[type(type_)]


_ICEBERG_SCALARS: dict[type, iceberg.IcebergType] = {
    StringType: iceberg.StringType(),
    IntegerType: iceberg.LongType(),
    BooleanType: iceberg.BooleanType(),
    TimestampType: iceberg.TimestampType(),
    DateType: iceberg.DateType(),
}


def _nested_field(name: str, field_id: int, type_: iceberg.IcebergType, description: str) -> iceberg.NestedField:
    return iceberg.NestedField(field_id, name, type_, required=False, doc=description or None)


def _ids(field_id: int, type_: FieldType) -> str:
    """The ids of a column and of what is in it, as DuckDB writes them into a Parquet file."""
    match type_:
        case ListType(element_id, element):
            inner = f"element: {_ids(element_id, element)}"
        case MapType(key_id, value_id, value):
            inner = f"key: {key_id}, value: {_ids(value_id, value)}"
        case StructType(fields):
            inner = ", ".join(f"{quoted(f.name)}: {_ids(f.field_id, f.type)}" for f in fields)
        case _:
            return str(field_id)
    return f"{{__duckdb_field_id: {field_id}, {inner}}}"
