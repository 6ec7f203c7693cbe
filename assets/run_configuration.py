"""The typed run configuration of an entity's tables: what a person, a schedule or a command asks them to do.

Without any, `compacted/<entity>` ingests what a tick needs and `catalog/<entity>` publishes it. The launchpad of both
assets lists the choices; code makes the same with `dg.RunConfig`.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from assets import keys
from contracts.moments import moment
from lakehouse.intake.landing import LATEST_DELIVERY, Scope
from lakehouse.parity.wanted import Request as ParityRequest
from lakehouse.recovery.wanted import Wanted

TICK_HOURS = 3


class Ingest(dg.Config):
    """Ingest what arrived and is not in yet; by default what a tick needs: the last hours, back to the watermark."""

    kind: Literal["ingest"] = "ingest"
    hours: int = Field(default=TICK_HOURS, description="Look at objects that arrived in the last hours.")
    days: int | None = Field(default=None, description="Look at the last days instead of hours.")
    everything: bool = Field(default=False, description="Look at everything that is retained.")

    @property
    def scope(self) -> Scope:
        """The arrival hours to look at."""
        if self.everything:
            return Scope.everything()
        return Scope.last_hours(self.hours) if self.days is None else Scope.last_days(self.days)


class Replay(dg.Config):
    """Merge again what arrived in a range of time; rows stay the same unless something was missed."""

    kind: Literal["replay"] = "replay"
    start: str = Field(description="Start of the range, for example 2026-11-21T00:00:00Z.")
    end: str = Field(description="End of the range (exclusive).")

    @property
    def scope(self) -> Scope:
        """The range; raises `ValueError` that says what it must look like."""
        start, end = moment(self.start), moment(self.end)
        if start >= end:
            raise ValueError(f"start: expected a moment before {end.isoformat()}, found {start.isoformat()}")
        return Scope.replay(start, end)


class Rebuild(dg.Config):
    """Make the tables again from everything that is retained."""

    kind: Literal["rebuild"] = "rebuild"


class Requeue(dg.Config):
    """Merge quarantined and held objects again, after the contract or the cause was corrected."""

    kind: Literal["requeue"] = "requeue"
    objects: list[str] = Field(default=[], description="Landed objects to take; none means all of the entity.")


class CompactionConfig(dg.Config):
    """What `compacted/<entity>` does. Everything but `ingest` is published in the same step, so that no other run of
    the entity comes between."""

    work: Ingest | Replay | Rebuild | Requeue = Field(
        default=Ingest(), discriminator="kind", description="One of ingest, replay, rebuild and requeue."
    )


class Publish(dg.Config):
    """Let readers see what is audited."""

    kind: Literal["publish"] = "publish"


class RollBack(dg.Config):
    """Let readers see an earlier snapshot again. What came later is ingested again by the next run."""

    kind: Literal["roll_back"] = "roll_back"
    snapshot: str | None = Field(default=None, description="Snapshot id; without it the one before the present.")


class PublicationConfig(dg.Config):
    """What `catalog/<entity>` does."""

    work: Publish | RollBack = Field(
        default=Publish(), discriminator="kind", description="One of publish and roll_back."
    )


class DryRunConfig(dg.Config):
    """What the job `dry_run` looks at: work on an entity, configured as for the entity's assets."""

    entity: str = Field(description="Entity that the work would be about.")
    work: Replay | Rebuild | Requeue | RollBack = Field(
        discriminator="kind", description="One of replay, rebuild, requeue and roll_back."
    )


class MaintainMarts(dg.Config):
    """Join small files and remove what nobody needs."""

    kind: Literal["maintain"] = "maintain"


class RollBackMarts(dg.Config):
    """Let readers have the marts of an earlier build again; the next build goes on from there."""

    kind: Literal["roll_back"] = "roll_back"
    build: str | None = Field(default=None, description="Name of the build; without it the one before the present.")


class MartsConfig(dg.Config):
    """What `maintenance/marts` does."""

    work: MaintainMarts | RollBackMarts = Field(
        default=MaintainMarts(), discriminator="kind", description="One of maintain and roll_back."
    )


class FullExport(dg.Config):
    """Request an export of the whole table as it is now."""

    kind: Literal["full"] = "full"


class IncrementalExport(dg.Config):
    """Request exports of what changed in a range of time, of at most a day each."""

    kind: Literal["incremental"] = "incremental"
    since: str = Field(description="Start of the range, for example 2026-11-21T00:00:00Z.")
    until: str = Field(description="End of the range (exclusive), at least 15 minutes later.")


class ExistingExport(dg.Config):
    """Use an export that is there, or that runs."""

    kind: Literal["existing"] = "existing"
    export: str = Field(description="Its address (s3://bucket/prefix, or a folder above several), or its ARN.")
    taken_at: str | None = Field(default=None, description="When it was taken, if it has no manifests.")


class BackfillConfig(dg.Config):
    """What the job `backfill` brings into the lake."""

    source: FullExport | IncrementalExport | ExistingExport = Field(
        default=FullExport(), discriminator="kind", description="One of full, incremental and existing."
    )
    entities: list[str] = Field(default=[], description="Entities to bring in; none means all that are streamed.")
    dry_run: bool = Field(default=False, description="Say what would be done, and do nothing.")
    wait_hours: float = Field(default=6, gt=0, description="How long to await each export.")

    def wanted(self, name: str) -> Wanted:
        """The same for the lake; `name` is that of the run, by which it finds its exports again."""
        common = Wanted(entities=tuple(self.entities), name=name, limit=timedelta(hours=self.wait_hours))
        match self.source:
            case IncrementalExport(since=since, until=until):
                return replace(common, since=moment(since), until=moment(until))
            case ExistingExport(export=export, taken_at=taken_at):
                return replace(common, address=export, taken_at=moment(taken_at) if taken_at else None)
        return common


class ParityConfig(dg.Config):
    """What the check `parity` compares, and whether it repairs what differs."""

    export: str | None = Field(
        default=None,
        description="A full export: s3://bucket/prefix, or a folder above several, of which the newest counts "
        "for which all changes must have arrived. Without one, tables are compared with their history only.",
    )
    request_export: bool = Field(default=False, description="Request an export first, and await it.")
    lateness_minutes: float | None = Field(
        default=None, ge=0, description="How late a change may land; by default 25 hours, which is never too short."
    )
    wait_hours: float = Field(default=0, ge=0, description="Await for so many hours that it can be compared.")
    repair: bool = Field(default=False, description="Land what the export proves, mend the table, and compare again.")
    dry_run: bool = Field(default=False, description="Say what a repair would do, and do nothing.")

    def request(self, entities: Iterable[str], run_id: str, export: str | None) -> ParityRequest:
        """The same for the lake."""
        return ParityRequest(
            export,
            tuple(entities),
            lateness(self.lateness_minutes),
            repair=self.repair or self.dry_run,
            dry_run=self.dry_run,
            run_id=run_id,
        )


class SampleConfig(dg.Config):
    """What the check `parity_sample` reads of the operational table."""

    sample_size: int = Field(default=50, ge=1, le=1000, description="Keys of each entity.")
    lateness_minutes: float | None = Field(default=None, ge=0, description="As for the check `parity`.")

    @property
    def lateness(self) -> timedelta:
        """How late a change may land."""
        return lateness(self.lateness_minutes)


def lateness(minutes: float | None) -> timedelta:
    """How late a change may land: so many minutes, or as long as Firehose tries."""
    return LATEST_DELIVERY if minutes is None else timedelta(minutes=minutes)


class LostCatalog(dg.Config):
    """Register tables again whose catalog entries are gone or lead to nothing."""

    kind: Literal["catalog"] = "catalog"
    state: str | None = Field(
        default=None, description="Metadata file to register, of exactly one entity; none means what readers saw last."
    )


class LostLake(dg.Config):
    """Build tables again whose files are gone, from what landed."""

    kind: Literal["lake"] = "lake"
    export: str | None = Field(
        default=None, description="Address of a DynamoDB export (s3://...) that helps out where landing is gone, too."
    )


class RecoveryConfig(dg.Config):
    """What the job `recover` does."""

    lost: LostCatalog | LostLake = Field(
        default=LostCatalog(), discriminator="kind", description="What is lost: catalog or lake."
    )
    entities: list[str] = Field(default=[], description="Entities to recover; none means all.")
    dry_run: bool = Field(default=False, description="Say what would be done, and do nothing.")
    with_content: bool = Field(default=False, description="Hash what readers see afterwards.")

    def step(self) -> dict[str, Any]:
        """The same for one step."""
        common = {"entities": self.entities, "dry_run": self.dry_run, "with_content": self.with_content}
        match self.lost:
            case LostLake(export=export):
                return {**common, "what": "lake", "export": export}
            case LostCatalog(state=state):
                return {**common, "what": "catalog", "state": state}


def compaction_config(entities: Iterable[str], work: Ingest | Replay | Rebuild | Requeue) -> dg.RunConfig:
    """Run configuration that asks the compaction of each entity for the same work."""
    config = CompactionConfig(work=work)
    return dg.RunConfig(ops={keys.compacted(entity).to_python_identifier(): config for entity in entities})
