"""One run of maintenance, step by step: rewrite and purge, expire snapshots, audit, publish, index, remove files.

What is written is committed to the work tables and proven to hold the same rows before readers see it. Files are
removed last, when no entry needs them. Every step can be repeated; who lost a race begins again from what is published.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException

from lakehouse.batch.races import RACES, win
from lakehouse.maintenance import indexing, rewriting
from lakehouse.maintenance.removal import remove_unneeded
from lakehouse.maintenance.usage import measure
from lakehouse.maintenance.verification import verify
from lakehouse.publish import audit, catalog, publication, publication_log
from lakehouse.results import MaintenanceOvertaken, MaintenanceResult, Progress, StateRetention, Usage, Work, silent
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.storage.requests import Requests, counted
from lakehouse.table import tables
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract


class _Overtaken(EntryConflict):
    """Another writer published or reset the work table in between."""


def maintain(
    lake: Lake,
    contract: Contract,
    *,
    state_retention: StateRetention | None = None,
    progress: Progress | None = None,
    run_id: str | None = None,
) -> MaintenanceResult:
    """Rewrite small and delete-laden files, purge tombstones, expire snapshots, publish, and remove what nobody needs.

    One more writer under the entity's pool: readers see the same rows before and after, and whoever holds a state keeps
    it for the state retention. The publication log gets a row (with the caller's `run_id`), and its days are joined.
    Plans again when another writer was quicker. Raises `LookupError` before the entity's first batch, `FilesMissing`
    when a retained state is damaged, `MaintenanceOvertaken`, and errors of S3 and Glue.
    """
    return run(Context(lake, contract, progress or silent, run_id, state_retention or StateRetention()))


@dataclass(frozen=True)
class _Run:
    """One call of `maintain`: its context, what the entity took up before, and the seconds by step."""

    context: Context
    before: Usage
    begun_at: datetime
    requested: Requests
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Adds the time in its block to a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - started

    def work(self, written: publication_log.Written) -> Work:
        """What the publication log says of the run."""
        done = Work(
            kind="maintenance",
            begun_at=self.begun_at,
            ended_at=self.context.lake.now(),
            seconds=time.perf_counter() - self.started,
            engine="embedded",
            files_written=written.files,
            bytes_written=written.bytes,
        )
        return replace(done, **counted(self.context.lake.meter.read() - self.requested))


def run(context: Context) -> MaintenanceResult:
    """One run; begins again when another writer was quicker."""
    lake, contract = context.lake, context.contract
    requested = lake.meter.read()
    before = measure(lake, contract, tables.expect_published(lake, contract))
    work, attempts = _Run(context, before, lake.now(), requested), count(1)
    try:
        result = win(lambda: _run_once(work, next(attempts)), context.report)
    except (CommitFailedException, EntryConflict) as last:
        raise MaintenanceOvertaken(
            f"{contract.name}: expected to be the only writer, found another one {RACES} times; is something writing "
            f"beside the entity's pool? {last}"
        ) from last
    with work.timed("log"):
        joined = publication_log.join_days(lake, contract)
    if joined:
        context.report(f"{joined} objects of the publication log joined or beyond its retention")
    with work.timed("versions"):
        forgotten = catalog.forget_versions(lake, contract)
    if forgotten:
        context.report(f"{forgotten} old versions of its entries deleted")
    work.seconds["total"] = time.perf_counter() - work.started
    return result


def _run_once(work: _Run, attempt: int) -> MaintenanceResult:
    context = work.context
    lake, contract = context.lake, context.contract
    state, _ = tables.prepare(lake, contract)
    with connect(lake) as duck:
        with work.timed("plan"):
            planned = rewriting.plan(duck, lake, contract, state)
        with work.timed("rewrite"):
            done = rewriting.commit(duck, context, state, planned)
        audit_result = None
        if done.state.location != state.location:
            context.report(
                f"{done.rewritten} files rewritten as {done.written}, {planned.purged} tombstones purged, "
                f"{done.expired} snapshots expired, {done.corrected} files described again"
            )
            with work.timed("audit"):
                audit_result = verify(duck, contract, state, done.state, planned.purged)
    if audit_result is not None and not audit_result.passed:
        context.report(f"the rows are not the same, nothing is published: {audit_result.failures}")
        tables.point_work(lake, contract, state)
        removal, now = None, state
    else:
        if audit_result is not None:
            with work.timed("publish"):
                audit.save(
                    lake, replace(audit_result, work=work.work(publication_log.written_between(state, done.state)))
                )
                _publish(context, done.state)
        with work.timed("index"), connect(lake) as duck:
            indexing.write_indexes(duck, context, done.state)
        with work.timed("remove"):
            removal = remove_unneeded(context)
        now = done.state
    return MaintenanceResult(
        entity=contract.name,
        metadata_location=now.location,
        before=work.before,
        after=measure(lake, contract, now),
        rewritten=done.rewritten,
        written=done.written,
        purged=planned.purged,
        horizon=now.horizon,
        expired=done.expired,
        audit_result=audit_result,
        removal=removal,
        attempts=attempt,
        seconds=work.seconds,
        corrected=done.corrected,
    )


def _publish(context: Context, state: TableState) -> None:
    now = publication.publish(context.lake, context.contract, run_id=context.run_id).published.metadata_location
    if now != state.location:
        raise _Overtaken(f"expected to publish {state.location}, found {now} on the work entry")
