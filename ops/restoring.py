"""A table that was deleted, brought back under its own name from its newest backup, with what AWS leaves out of it.

DynamoDB backs up a table that is deleted while it can be restored to any second. A restore brings items, keys, indexes
and the key of encryption; stream, time to live, point-in-time recovery and protection are set here, as the backup says
that they were. What still points at the old stream is CloudFormation's to correct: `docs/operations.md` has the steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.environment import Environment, OpsError

TABLES: Mapping[str, str] = {"entities": "", "requests": "-requests", "summaries": "-summaries"} | {
    name: f"-{name}" for name in ("tenants", "tracking")
}
"""What the tables of the real-time path hold, and how their names end."""
POLL_SECONDS = 10.0


@dataclass(frozen=True)
class Backup:
    """A backup of a table: when it was made (what came later is lost), what ends items there by time, and which images
    its stream had, if it had one."""

    table: str
    arn: str
    made_at: datetime
    key: str | None
    stream: str | None
    expires: str | None


def newest_backup(where: Environment, holds: str, arn: str | None = None) -> Backup:
    """The backup to restore: the one named, or the newest; of a table that a restore has made, the one that it is from.
    Raises `OpsError` if there is none, if one is still being made, or if the table is there from elsewhere."""
    dynamodb, name = where.client("dynamodb"), f"gavel-{where.name}{TABLES[holds]}"
    found = _described(dynamodb, name)
    if found is not None:
        source = found.get("RestoreSummary", {}).get("SourceBackupArn")
        if source is None or arn not in (None, source):
            of = f", restored from {source}" if source else ""
            raise OpsError(
                f"expected that {name} is gone, found it {found['TableStatus']}{of}: a restore replaces nothing. "
                "Restore to another (`aws dynamodb restore-table-to-point-in-time`) and compare, or delete it first"
            )
        arn = str(source)
    if arn is None:
        listed = sorted(_backups(dynamodb, name), key=lambda backup: backup["BackupCreationDateTime"])
        if unfinished := [backup for backup in listed if backup["BackupStatus"] != "AVAILABLE"]:
            raise OpsError(
                f"expected that each backup of {name} is AVAILABLE, found {unfinished[-1]['BackupArn']} "
                f"{unfinished[-1]['BackupStatus']}: it may be the newest, and an older one lacks later writes. "
                "Run it again in some minutes, or name one with --backup"
            )
        if not listed:
            raise OpsError(f"expected a backup of {name} with the status AVAILABLE, found none")
        arn = str(listed[-1]["BackupArn"])
    said = dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]
    details, features = said["BackupDetails"], said.get("SourceTableFeatureDetails", {})
    of = said["SourceTableDetails"]["TableName"]
    if of != name:
        raise OpsError(f"expected a backup of {name}, found one of {of}")
    stream, expires = (features.get(f) or {} for f in ("StreamDescription", "TimeToLiveDescription"))
    return Backup(
        name,
        arn,
        details["BackupCreationDateTime"].astimezone(UTC),
        (features.get("SSEDescription") or {}).get("KMSMasterKeyArn"),
        stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        expires.get("AttributeName") if expires.get("TimeToLiveStatus") == "ENABLED" else None,
    )


def restore(
    where: Environment, backup: Backup, say: Callable[[str], None], pause: Callable[[float], object] = time.sleep
) -> None:
    """Bring the table back, and wait until it is whole. It may be run again after it was killed: what is done stays."""
    dynamodb, name = where.client("dynamodb"), backup.table
    begun = time.monotonic()
    if _described(dynamodb, name) is None:
        encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": backup.key}
        more = {"SSESpecificationOverride": encryption} if backup.key else {}
        dynamodb.restore_table_from_backup(TargetTableName=name, BackupArn=backup.arn, **more)
    _await_table(dynamodb, name, say, pause)
    say(f"{name}: items and indexes are there after {time.monotonic() - begun:.0f} s")
    for what, change in _settings(dynamodb, where, backup):
        change()
        _await_table(dynamodb, name, say, pause)
        say(f"{name}: {what}")
    say(f"{name}: whole after {time.monotonic() - begun:.0f} s, as it was at {backup.made_at:%Y-%m-%d %H:%M:%S} UTC")


def _settings(dynamodb: Any, where: Environment, backup: Backup) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a restore leaves out and is not set yet, in words, and what sets it. The stream comes first: what is written
    before there is one reaches nobody."""
    name = backup.table
    found = _described(dynamodb, name) or {}
    if backup.stream and not found.get("StreamSpecification", {}).get("StreamEnabled"):
        stream = {"StreamEnabled": True, "StreamViewType": backup.stream}
        yield f"stream of {backup.stream}", lambda: dynamodb.update_table(TableName=name, StreamSpecification=stream)
    lives = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if backup.expires and lives.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        ends = {"Enabled": True, "AttributeName": backup.expires}
        yield (
            f"time to live by {backup.expires}",
            lambda: dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ends),
        )
    kept = {"PointInTimeRecoveryEnabled": True}
    described = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    if described.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        yield (
            "point-in-time recovery, of what is written from now on",
            lambda: dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=kept),
        )
    if where.name == "prod" and not found.get("DeletionProtectionEnabled"):
        yield "deletion protection", lambda: dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True)
    tags = [{"Key": "application", "Value": "gavel"}, {"Key": "environment", "Value": where.name}]
    yield "tags", lambda: dynamodb.tag_resource(ResourceArn=found["TableArn"], Tags=tags)


def _await_table(dynamodb: Any, name: str, say: Callable[[str], None], pause: Callable[[float], object]) -> None:
    """Wait until the table, its indexes and a change of it are done. Raises `OpsError` if it vanishes."""
    waits = ""
    while True:
        found = _described(dynamodb, name)
        if found is None:
            raise OpsError(f"expected that {name} is being restored, found no such table: somebody deleted it")
        building = [i["IndexName"] for i in found.get("GlobalSecondaryIndexes", ()) if i["IndexStatus"] != "ACTIVE"]
        if found["TableStatus"] == "ACTIVE" and not building:
            return
        now = f"{name}: {found['TableStatus']}" + (f", builds {', '.join(building)}" if building else "")
        if now != waits:
            say(now)
        waits = now
        pause(POLL_SECONDS)


def _described(dynamodb: Any, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return found


def _backups(dynamodb: Any, name: str) -> Iterator[Mapping[str, Any]]:
    try:
        for page in dynamodb.get_paginator("list_backups").paginate(TableName=name, BackupType="ALL"):
            yield from (b for b in page["BackupSummaries"] if b["BackupStatus"] != "DELETED")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("TableNotFoundException", "ResourceNotFoundException"):
            raise
