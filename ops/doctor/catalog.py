"""Glue's entries against the contracts, and Athena's workgroup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops.doctor.findings import DEPLOY, Finding, Patient

if TYPE_CHECKING:
    from lakehouse.drift.findings import Drifted


def landing_tables(patient: Patient) -> Iterator[Finding]:
    """The tables that Firehose reads its columns from: a column that is missing there is lost on the way."""
    from lakehouse.drift import tables

    lake, glue = patient.environment.lake, patient.client("glue")
    entries = tables.entries_of(glue, lake.landing_database)
    yield from map(of_drift, tables.landing_tables(lake, patient.contracts, entries))


def lake_tables(patient: Patient) -> Iterator[Finding]:
    """Published and work tables that were changed by hand, or follow an older contract."""
    from lakehouse.drift import tables

    lake, glue = patient.environment.lake, patient.client("glue")
    there, work = (tables.entries_of(glue, name) for name in (lake.published_database, lake.work_database))
    yield from map(of_drift, tables.published_tables(lake, patient.contracts, there, work))
    yield from map(of_drift, tables.work_tables(lake, patient.contracts, there, work))


def of_drift(one: Drifted) -> Finding:
    """A difference as the doctor says it."""
    return Finding(f"{one.what} of {one.name}", one.expected, one.found, one.do)


def workgroup(patient: Patient) -> Iterator[Finding]:
    """The workgroup that dbt's target and merges on Athena run in."""
    if not patient.on_aws:
        return
    name = f"gavel-{patient.environment.name}"
    found = patient.client("athena").get_work_group(WorkGroup=name)["WorkGroup"]
    if found.get("State", "ENABLED") != "ENABLED":
        yield Finding(f"workgroup {name}", "ENABLED", found["State"], "Enable it (Athena, workgroups).")
    settings = found.get("Configuration", {})
    if not settings.get("BytesScannedCutoffPerQuery"):
        yield Finding(f"limit of workgroup {name}", "bytes that one query may scan", "none", DEPLOY)
    where = settings.get("ResultConfiguration", {}).get("OutputLocation", "")
    wanted = f"s3://{patient.environment.data_bucket}/athena-results/"
    if where != wanted:
        yield Finding(f"results of workgroup {name}", wanted, where or "nowhere", DEPLOY)
