"""The product, in two ways: its merge alone, from the typed changes that peers get, and its whole batch from landing.

The only module here that knows the lakehouse from within.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.merge.data import ChangeSet
from benchmarks.merge.entity import CHANGE, Entity
from benchmarks.merge.work import THREADS, Done, Result, Unmaintained, Work
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.maintenance import indexing
from lakehouse.merge import reduction, writing
from lakehouse.merge.base import Chunk
from lakehouse.merge.embedded import EmbeddedEngine
from lakehouse.publish import audit, publication
from lakehouse.results import AuditResult, Check, StateRetention
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect, extension
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg, iceberg_commit, tables

_HEAVY = 128 << 20
_ARRIVAL = datetime(2026, 9, 22, tzinfo=UTC)


def open_lake(work: Work) -> Lake:
    """The lake in the work's folder, as a process that has just started sees it."""
    return Lake(
        bucket="data",
        landing_database="gavel_landing_bench",
        work_database="gavel_work_bench",
        published_database="gavel_bench",
        local_root=work.folder,
        scratch=work.folder / "scratch",
        threads=THREADS,
    )


def _warmed(lake: Lake) -> Lake:
    """The lake in a process that has imported what a merge uses and has its engine, as one that serves has."""
    import pandas  # noqa: F401 (pyarrow loads it with the first list that becomes a column)
    import pyarrow.compute  # noqa: F401

    with connect(lake):
        return lake


def load_table(work: Work) -> None:
    """Commit the base files to an empty lake and publish them, as if a first batch had brought them and a night had
    passed: their key indexes are there. Files are linked, not copied: nobody writes into one that exists."""
    lake, contract = open_lake(work), work.entity.contract
    load_files(lake, work.entity, work.data.files if work.data.rows else ())
    with connect(lake) as duck:
        indexing.write_indexes(duck, Context(lake, contract), tables.expect_published(lake, contract))


def load_files(lake: Lake, entity: Entity, files: Sequence[Path]) -> None:
    """Commit files of an entity's stored rows to an empty lake in a folder, and publish them."""
    contract, shape = entity.contract, entity.shape()
    state, _ = tables.prepare(lake, contract)
    added = []
    for path in files:
        location = f"{lake.table_location(shape.name)}/data/{path.name}"
        _link(path, Path(location))
        added.append(iceberg.data_file(shape, path, location, None))
    catalog = iceberg.EntryCatalog(lake, lake.work_database)
    table = iceberg_commit.commit(
        catalog.table(shape.name, state.location),
        added=added,
        shape=shape,
        properties={tables.BATCH: "1"},
        summary={tables.BATCH: "1"},
    )
    loaded = Check("loaded by the benchmark", True, "rows are compared after the merge")
    audit.save(lake, AuditResult(contract.name, table.metadata_location, (loaded,)))
    publication.publish(lake, contract)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def _heavy(path: Path) -> bool:
    """Whether a file has row groups too large to be read again by each step within the limit of memory."""
    groups = pq.read_metadata(path)
    return any(groups.row_group(n).total_byte_size > _HEAVY for n in range(groups.num_row_groups))


class OursMerge(Unmaintained):
    """Typed changes to a commit: reduce, plan, write, commit to the work table."""

    def prepare(self, work: Work) -> None:
        load_table(work)

    def start(self, work: Work) -> None:
        self.lake = _warmed(open_lake(work))

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        steps: dict[str, float] = {}
        contract, shape = work.entity.contract, work.entity.shape()
        lake, entry = self.lake, self.lake.entries.get(self.lake.work_database, shape.name)
        assert entry is not None
        state = tables.TableState(lake, entry.metadata_location)
        batch = state.batch + 1
        with connect(lake) as duck:
            with _timed(steps, "plan"):
                files = state.files
            with _timed(steps, "read"):
                columns = ", ".join((*contract.field_names, *CHANGE))
                path = work.data.changes(changes)
                duck.run(
                    f"CREATE TEMP {'TABLE' if _heavy(path) else 'VIEW'} valid AS SELECT file_row_number AS _rid, "
                    f"0 AS _no, 0::BIGINT AS _row, {columns}, '' AS _object "
                    f"FROM read_parquet('{path}', file_row_number = true)"
                )
            with _timed(steps, "reduce"):
                chunk = Chunk(lake, contract, duck, state, batch, "benchmark", f"{batch:08d}-merge")
                reduced = reduction.reduce(chunk, state.horizon, EmbeddedEngine().take(chunk).find_stored)
            with _timed(steps, "write"):
                written = writing.merge_compacted(duck, lake, shape, files, writing.Commit(batch, chunk.name))
            with _timed(steps, "commit"):
                iceberg_commit.commit(
                    iceberg.EntryCatalog(lake, lake.work_database).table(shape.name, state.location),
                    added=written.added,
                    removed=written.removed,
                    shape=shape,
                    properties={tables.BATCH: str(batch)},
                    summary={tables.BATCH: str(batch)},
                )
        notes = {
            "applied": reduced.applied,
            "inserted": reduced.inserted,
            "files_added": len(written.added),
            "files_removed": len(written.removed),
            "files_before": len(files),
        }
        return Done(steps, notes)

    def result(self, work: Work) -> Result:
        return scan(self.lake, work.entity, self.lake.work_database)


class OursBatch:
    """Landed text to a published table: one whole batch, and moving the pointer."""

    def prepare(self, work: Work) -> None:
        load_table(work)
        for changes in work.sets:
            hour = _ARRIVAL + timedelta(hours=changes.number)
            for path in sorted(work.data.landed(changes).glob("*.parquet")):
                key = f"landing/{work.entity.contract.name}/dt={hour:%Y-%m-%d}/hh={hour:%H}/{changes.name}-{path.name}"
                _link(path, work.folder / "data" / key)

    def start(self, work: Work) -> None:
        self.lake = _warmed(open_lake(work))

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        hour = _ARRIVAL + timedelta(hours=changes.number)
        done = api.compact(self.lake, work.entity.contract, Scope(start=None, end=hour + timedelta(hours=1)))
        if done.held or done.counts.quarantined or done.audit_result is None or not done.audit_result.passed:
            raise AssertionError(f"expected a batch without a fault, found {done}")
        steps = {name: seconds for name, seconds in done.seconds.items() if name != "total"}
        with _timed(steps, "publish"):
            publication.publish(self.lake, work.entity.contract)
        counts = done.counts
        return Done(steps, {"applied": counts.applied, "superseded": counts.superseded, "duplicate": counts.duplicate})

    def maintain(self, work: Work) -> Done:
        """Maintenance that keeps no earlier state and no young file: what a night does, a day later."""
        at_once = StateRetention(recent=timedelta(0), days=0, states=1, grace=timedelta(0))
        done = api.maintain(self.lake, work.entity.contract, state_retention=at_once)
        notes = {
            "rewritten": done.rewritten,
            "written": done.written,
            "stored_files": [done.before.total.files, done.after.total.files],
            "stored_bytes": [done.before.total.bytes, done.after.total.bytes],
            "same_rows": done.same_rows,
        }
        return Done({step: value for step, value in done.seconds.items() if step != "total"}, notes)

    def result(self, work: Work) -> Result:
        return scan(self.lake, work.entity, self.lake.published_database)


def scan(lake: Lake, entity: Entity, database: str) -> Result:
    """The table as an independent reader sees it: DuckDB's iceberg extension on the metadata file."""
    entry = lake.entries.get(database, entity.contract.name)
    assert entry is not None
    setup = "; ".join(f"LOAD '{extension(name)}'" for name in ("avro", "iceberg"))
    files = tables.TableState(lake, entry.metadata_location).files
    return Result(f"iceberg_scan('{entry.metadata_location}')", sum(1 + len(f.deletes) for f in files), setup)


@contextmanager
def _timed(steps: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    steps[step] = steps.get(step, 0.0) + time.perf_counter() - started
