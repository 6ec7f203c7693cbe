"""The OpenLineage events of a run, from what Dagster recorded of it. Plain functions on records; nothing is sent here.

A run is a parent, and each asset that it makes a run of its own, with an id that follows from both. The events of a run
are a list that only grows: what a record makes depends on the records before it alone. So a number says how far they
were sent, and who begins again makes the same ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import dagster as dg

from assets.open_lineage import (
    EVENT_SCHEMA,
    PRODUCER,
    Dataset,
    Document,
    Jobs,
    column_lineage,
    engine,
    facet,
    input_statistics,
    output_statistics,
    scheduler,
)
from orchestration.failed_runs import reason

T = dg.DagsterEventType
Beginning = Literal[dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED]
BEGUN: tuple[Beginning, ...] = (T.RUN_START, T.RUN_FAILURE, T.RUN_CANCELED)
"""What makes a run known: that it began, or that it ended without a beginning."""
_ENDS = {T.RUN_SUCCESS: "COMPLETE", T.RUN_FAILURE: "FAIL", T.RUN_CANCELED: "ABORT"}
READ = {
    *BEGUN,
    T.RUN_SUCCESS,
    T.ASSET_MATERIALIZATION_PLANNED,
    T.ASSET_MATERIALIZATION,
    T.STEP_START,
    T.STEP_SUCCESS,
    T.STEP_FAILURE,
}
"""The records that events are made of."""
MESSAGE_LIMIT = 2_000  # characters of an error
_SCHEDULED_AT = ".dagster/scheduled_execution_time"


@dataclass(frozen=True)
class Story:
    """The events of a run so far, and whether there will be no more."""

    events: Sequence[Document]
    ended: bool


def asset_run(run_id: str, key: dg.AssetKey) -> str:
    """The id of the run of an asset within a run of Dagster: the same whoever asks, and whenever."""
    return str(uuid.uuid5(uuid.UUID(run_id), "/".join(key.path)))


def story_of(run: dg.DagsterRun, records: Sequence[dg.EventLogEntry], jobs: Jobs) -> Story:
    """The events that the records of a run (of types `READ`, in their order) make; nothing after its end."""
    telling = _Telling(run, jobs)
    events: list[Document] = []
    for record in records:
        if record.dagster_event is not None and not telling.ended:
            events += telling.of(record.dagster_event, _moment(record.timestamp))
    return Story(events, telling.ended)


def line(event: Document) -> bytes:
    """An event as it is sent."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _moment(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="microseconds")


@dataclass
class _Telling:
    """What the records so far have said: what each step will make, which assets began, and which are over."""

    run: dg.DagsterRun
    jobs: Jobs
    planned: dict[str, list[dg.AssetKey]] = field(default_factory=dict)
    begun: dict[dg.AssetKey, None] = field(default_factory=dict)
    over: set[dg.AssetKey] = field(default_factory=set)
    started: bool = False
    ended: bool = False

    def of(self, event: dg.DagsterEvent, at: str) -> Iterator[Document]:
        kind = event.event_type
        if kind is T.ASSET_MATERIALIZATION_PLANNED:
            key = event.event_specific_data.asset_key  # type: ignore[union-attr]
            self.planned.setdefault(event.step_key or "", []).append(key)
        elif kind is T.RUN_START:
            yield from self._start(at)
        elif kind is T.STEP_START:
            for key in self.planned.get(event.step_key or "", ()):
                yield from self._begin(key, at)
        elif kind is T.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            yield from self._made(made, at)
        elif kind in (T.STEP_SUCCESS, T.STEP_FAILURE):
            yield from self._step_over(event, at)
        elif kind in _ENDS:
            yield from self._end(event, _ENDS[kind], at)

    def _start(self, at: str) -> Iterator[Document]:
        if not self.started:
            self.started = True
            yield self._run_event("START", at)

    def _begin(self, key: dg.AssetKey, at: str) -> Iterator[Document]:
        if key not in self.begun:
            self.begun[key] = None
            yield self._asset_event("START", key, at)

    def _made(self, made: dg.AssetMaterialization, at: str) -> Iterator[Document]:
        yield from self._begin(made.asset_key, at)
        if made.asset_key not in self.over:
            self.over.add(made.asset_key)
            yield self._asset_event("COMPLETE", made.asset_key, at, made=made)

    def _step_over(self, event: dg.DagsterEvent, at: str) -> Iterator[Document]:
        """What the step did not make has failed with it, or was left out."""
        failed = event.event_type is T.STEP_FAILURE
        for key in self.planned.get(event.step_key or "", ()):
            if key in self.begun and key not in self.over:
                self.over.add(key)
                error = reason(event) if failed else ""
                yield self._asset_event("FAIL" if failed else "ABORT", key, at, error=error)
        yield self._run_event("RUNNING", at)

    def _end(self, event: dg.DagsterEvent, kind: str, at: str) -> Iterator[Document]:
        yield from self._start(at)
        error = "" if kind == "COMPLETE" else event.message or "no reason was recorded"
        for key in self.begun:
            if key not in self.over:
                self.over.add(key)
                yield self._asset_event("ABORT" if kind == "COMPLETE" else kind, key, at, error=error)
        self.ended = True
        yield self._run_event(kind, at, error)

    def _run_event(self, kind: str, at: str, error: str = "") -> Document:
        facets = {"processing_engine": scheduler(), **self._nominal(), **_error(error)}
        job = facet("jobType", processingType="BATCH", integration="DAGSTER", jobType="JOB")
        return self._event(kind, at, (self.run.run_id, facets), (self.run.job_name, {"jobType": job}))

    def _asset_event(
        self, kind: str, key: dg.AssetKey, at: str, *, error: str = "", made: dg.AssetMaterialization | None = None
    ) -> Document:
        job = self.jobs.of(key)
        parent = {
            "run": {"runId": self.run.run_id},
            "job": {"namespace": self.jobs.namespace, "name": self.run.job_name},
        }
        facets = {
            "parent": facet("parent", **parent),
            "processing_engine": engine(job),
            **self._nominal(),
            **_error(error),
        }
        event = self._event(kind, at, (asset_run(self.run.run_id, key), facets), (job.name, job.facets()))
        metadata = made.metadata if made else {}
        event["inputs"] = [_input(dataset, input_statistics(key, metadata)) for dataset in job.reads]
        event["outputs"] = [
            _output(
                job.writes[place],
                column_lineage(self.jobs, job, place, metadata),
                output_statistics(key, place, metadata),
            )
            for place in range(len(job.writes))
        ]
        return event

    def _event(self, kind: str, at: str, run: tuple[str, Document], job: tuple[str, Document]) -> Document:
        return {
            "eventType": kind,
            "eventTime": at,
            "producer": PRODUCER,
            "schemaURL": EVENT_SCHEMA,
            "run": {"runId": run[0], "facets": run[1]},
            "job": {"namespace": self.jobs.namespace, "name": job[0], "facets": job[1]},
            "inputs": [],
            "outputs": [],
        }

    def _nominal(self) -> Document:
        """When a schedule wanted the run, where one did. Anybody may give the tag: one that is no time says nothing."""
        try:
            at = datetime.fromisoformat(self.run.tags[_SCHEDULED_AT])
        except (KeyError, ValueError):
            return {}
        return {"nominalTime": facet("nominalTime", nominalStartTime=at.astimezone(UTC).isoformat())}


def _input(dataset: Dataset, statistics: Document | None) -> Document:
    found: Document = {**dataset.id, "facets": dataset.facets}
    return found | ({"inputFacets": {"inputStatistics": statistics}} if statistics else {})


def _output(dataset: Dataset, columns: Document | None, statistics: Document | None) -> Document:
    facets = dataset.facets | ({"columnLineage": columns} if columns else {})
    found: Document = {**dataset.id, "facets": facets}
    return found | ({"outputFacets": {"outputStatistics": statistics}} if statistics else {})


def _error(message: str) -> Document:
    if not message:
        return {}
    return {"errorMessage": facet("errorMessage", message=message[:MESSAGE_LIMIT], programmingLanguage="PYTHON")}
