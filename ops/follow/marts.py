"""Which builds of marts and reports have a change, and whether the mart has a row of its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakehouse.publish import publication_log
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.schemas import duckdb_type
from ops.follow.lake import read_moment
from ops.follow.model import Build

if TYPE_CHECKING:
    from pathlib import Path

    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.failures import Damaged
    from lakehouse.storage.lake import Lake

MARTS: Mapping[str, str] = {
    "bids": "fct_bids",
    "customers": "dim_customer",
    "invoices": "fct_invoices",
    "lots": "dim_lot",
    "order_lines": "fct_order_lines",
    "orders": "fct_orders",
    "payments": "fct_payments",
    "shipments": "fct_shipments",
    "shipping_addresses": "dim_address",
}
"""The mart that has rows of an entity's keys, in columns of the same names. Others have no row of their own."""
REPORTS = "rpt_"
_DAYS = 3  # after a publication, in which a build is looked for
_ALIAS = "followed"


def entity_of(mart: str) -> str | None:
    """The entity whose keys a mart has; None if it is none of those."""
    return next((entity for entity, name in MARTS.items() if name == mart), None)


def builds(
    lake: Lake,
    model: str | None,
    published_at: datetime,
    landed_at: datetime | None,
    damaged: Callable[[Damaged], None],
) -> list[Build]:
    """The first build with a change of the mart, if there is one, and then the first of the reports; where there was
    none in the three days after the change was published, one of the last two days, which has it as well.

    A build has what landed before its data time. Where nobody knows any more when the change landed, it has what was
    published when it began. Objects of the log that cannot be read are `damaged`, and say nothing."""
    found: dict[str, Build] = {}
    for day in _days(published_at, lake.now()):
        for row in publication_log.read_builds(lake, day, damaged):
            name = str(row["model"])
            kind = REPORTS if name.startswith(REPORTS) else name
            if kind in (model, REPORTS) and kind not in found and _has(row, published_at, landed_at):
                built_at, data_time = read_moment(row["published_at"]), read_moment(row["watermark"])
                found[kind] = Build(name, built_at, data_time, row["run_id"])
    wanted = [kind for kind in (model, REPORTS) if kind is not None]
    return [found.get(kind, Build(kind, None, None, None)) for kind in wanted]


def rows_of(duck: Duck, place: Place, contract: Contract, key: Mapping[str, Any]) -> int | None:
    """How many rows of a key the entity's mart has now; None where it has no mart, or that was never built."""
    model = MARTS.get(contract.name)
    if model is None:
        return None
    with place.opened(duck, model) as relation:
        if relation is None:
            return None
        condition = " AND ".join(
            f"{quoted(n)} = {literal(str(v))}::{duckdb_type(contract.field(n).type)}" for n, v in key.items()
        )
        return duck.count(f"SELECT count(*) FROM {relation} WHERE {condition}")


class Place:
    """Where the marts of an environment are: in a laptop's file, or as tables of the lake (`warehouse` is None)."""

    def __init__(self, lake: Lake, environment: str, warehouse: Path | None) -> None:
        self._lake = lake
        self._environment = environment
        self._warehouse = warehouse

    @contextmanager
    def opened(self, duck: Duck, model: str) -> Iterator[str | None]:
        """The relation of a mart's published rows; None if it was never built."""
        if self._warehouse is None:
            entry = self._lake.entries.get(f"gavel_marts_{self._environment}", model)
            if entry is None:
                yield None
                return
            from warehouse.sources import open_lake

            open_lake(duck.connection, self._lake)
            yield f"iceberg_scan({literal(entry.metadata_location)})"
            return
        if not self._warehouse.exists():
            yield None
            return
        duck.run(f"ATTACH {literal(str(self._warehouse))} AS {_ALIAS} (READ_ONLY)")
        try:
            found: Sequence[Any] = duck.rows(
                "SELECT schema_name FROM duckdb_tables() "
                f"WHERE database_name = '{_ALIAS}' AND table_name = {literal(model)}"
            )
            yield f"{_ALIAS}.{quoted(found[0][0])}.{quoted(model)}" if found else None
        finally:
            duck.run(f"DETACH {_ALIAS}")


def _days(begin: datetime, now: datetime) -> Iterator[datetime]:
    """The days in which a build is looked for, the oldest first."""
    last = (now.date() - begin.date()).days
    for number in sorted({*range(min(last, _DAYS) + 1), *range(max(0, last - 1), last + 1)}):
        yield begin + timedelta(days=number)


def _has(row: Mapping[str, Any], published_at: datetime, landed_at: datetime | None) -> bool:
    built_at = read_moment(row["published_at"])
    if built_at is None or built_at < published_at:
        return False
    if landed_at is None:
        begun_at = read_moment(row["begun_at"])
        return begun_at is not None and begun_at >= published_at
    data_time = read_moment(row["watermark"])
    return data_time is not None and data_time >= landed_at.replace(microsecond=0)
