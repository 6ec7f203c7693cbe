"""The report that party summaries are written from, as readers see it: a table of a laptop's file, or of the lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.summaries import REPORT
from lakehouse.serving.summaries import SummariesWritten, write_summaries
from lakehouse.storage.duck import connect
from lakehouse.storage.sql import literal, quoted
from warehouse.marts import marts_of
from warehouse.sources import open_lake

if TYPE_CHECKING:
    from lakehouse.results import Progress
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from warehouse.manifest import Manifest

_ALIAS = "summarized"


class ReportNotBuilt(RuntimeError):
    """The report that summaries are written from is not there yet."""


def bring_summaries(
    lake: Lake, environment: str, manifest: Manifest, database: Path | None, progress: Progress
) -> SummariesWritten | None:
    """Bring an environment's summaries to the published report: in the file `database`, in the lake if None. Raises
    `ReportNotBuilt`, and what `write_summaries` raises."""
    with connect(lake) as duck, _report(duck, lake, manifest, database) as rows:
        return write_summaries(lake, environment, duck, rows, progress=progress)


@contextmanager
def _report(duck: Duck, lake: Lake, manifest: Manifest, database: Path | None) -> Iterator[str]:
    """The relation of the report's published rows, one state of them however long it is read."""
    unique_id, node = _model(manifest)
    if database is None:
        (mart,) = (m for m in marts_of(manifest, [unique_id]) if m.name == node["alias"])
        entry = lake.entries.get(mart.database, mart.name)
        if entry is None:
            raise ReportNotBuilt(f"expected the table {mart.database}.{mart.name}, found none: start the job `reports`")
        open_lake(duck.connection, lake)
        yield f"iceberg_scan({literal(entry.metadata_location)})"
        return
    if not database.exists():
        raise ReportNotBuilt(f"expected the warehouse at {database}, found no file: start the job `reports`")
    # The engine is kept from batch to batch, and what is attached to it stays.
    duck.run(f"ATTACH {literal(str(database))} AS {_ALIAS} (READ_ONLY)")
    try:
        yield f"{_ALIAS}.{quoted(node['schema'])}.{quoted(node['alias'])}"
    finally:
        duck.run(f"DETACH {_ALIAS}")


def _model(manifest: Manifest) -> tuple[str, Any]:
    return next((unique_id, node) for unique_id, node in manifest["nodes"].items() if node["name"] == REPORT)
