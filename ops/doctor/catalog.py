"""Glue's entries against the contracts, and Athena's workgroup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops.doctor.findings import DEPLOY, Finding, Patient

PUBLISH = "Materialize `catalog/{entity}`, which writes the entry as the contract wants it."


def landing_tables(patient: Patient) -> Iterator[Finding]:
    """The tables that Firehose reads its columns from: a column that is missing there is lost on the way."""
    from contracts.glue import landing_columns

    entries = _entries(patient, f"gavel_landing_{patient.environment.name}")
    bucket = patient.environment.data_bucket
    for contract in patient.contracts.of_origin("stream"):
        entry, name = entries.get(contract.name), f"landing table {contract.name}"
        if entry is None:
            yield Finding(name, "that it is there", "none", f"{DEPLOY} Firehose cannot convert records without it.")
            continue
        wanted = {column["Name"]: column["Type"] for column in landing_columns(contract)}
        yield from _columns(name, wanted, entry, f"{DEPLOY} Or publish the entity again.")
        location = entry["StorageDescriptor"].get("Location", "")
        if location.rstrip("/") != f"s3://{bucket}/landing/{contract.name}":
            yield Finding(f"location of {name}", f"s3://{bucket}/landing/{contract.name}/", location, DEPLOY)


def lake_tables(patient: Patient) -> Iterator[Finding]:
    """Published and work tables that were changed by hand, or follow an older contract."""
    from lakehouse.table import schemas

    environment = patient.environment.name
    published = _entries(patient, f"gavel_{environment}")
    work = _entries(patient, f"gavel_work_{environment}")
    for contract in patient.contracts.values():
        for shape in (schemas.compacted(contract), schemas.changes(contract)):
            there = {"published": published.get(shape.name), "work": work.get(shape.name)}
            for kind, entry in there.items():
                other = there["work" if kind == "published" else "published"]
                name, do = f"{kind} table {shape.name}", PUBLISH.format(entity=contract.name)
                if entry is None:
                    if other is not None and kind == "published" and contract.name in published:
                        yield Finding(name, "that it is there", "none", do)
                    elif other is not None and kind == "work":
                        yield Finding(name, "that it is there", "none", f"Compact {contract.name}: it makes it again.")
                    continue
                if not entry["Parameters"].get("metadata_location"):
                    yield Finding(name, "an address of Iceberg metadata", "none", do)
                yield from _columns(name, {c["Name"]: c["Type"] for c in shape.glue_columns()}, entry, do)


def _columns(name: str, wanted: Mapping[str, str], entry: Mapping[str, Any], do: str) -> Iterator[Finding]:
    columns = [*entry["StorageDescriptor"].get("Columns", ()), *entry.get("PartitionKeys", ())]
    found = {column["Name"]: column["Type"] for column in columns}
    if missing := [column for column in wanted if column not in found]:
        yield Finding(f"columns of {name}", "those of the contract", f"no {', '.join(missing)}", do)
    for column in wanted.keys() & found.keys():
        if found[column] != wanted[column]:
            yield Finding(f"column {column} of {name}", wanted[column], found[column], do)


def _entries(patient: Patient, database: str) -> dict[str, dict[str, Any]]:
    pages = patient.client("glue").get_paginator("get_tables").paginate(DatabaseName=database)
    try:
        return {table["Name"]: table for page in pages for table in page["TableList"]}
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return {}


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
