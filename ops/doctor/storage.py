"""The data bucket and the tables of DynamoDB: what protects them, and what feeds the lake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from ops.doctor.findings import DEPLOY, Finding, Patient

KEPT_VERSIONS = "replaced-versions"
NEVER_EXPIRES = ("landing/", "dropbox/", "warehouse/", "ledger/", "quarantine/", "audit/", "publication_log/")
"""Prefixes that no rule of the bucket may empty: the lake would lose what it is rebuilt from."""
INDEXES = ("by_buyer", "by_seller", "by_status", "by_name")
PUBLIC = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def bucket(patient: Patient) -> Iterator[Finding]:
    """Earlier versions, no public access, and encryption of the data bucket."""
    s3, name = patient.client("s3"), patient.environment.data_bucket
    versioning = s3.get_bucket_versioning(Bucket=name).get("Status", "none")
    if versioning != "Enabled":
        do = f"{DEPLOY} Until then a file that is removed wrongly cannot be brought back."
        yield Finding(f"versioning of {name}", "Enabled", versioning, do)
    block = _or_none(lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]) or {}
    if missing := [flag for flag in PUBLIC if not block.get(flag)]:
        yield Finding(f"public access to {name}", "that all of it is blocked", f"not {', '.join(missing)}", DEPLOY)
    if not patient.on_aws:
        return
    rules = _or_none(lambda: s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]) or []
    kinds = {rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for rule in rules}
    if "aws:kms" not in kinds:
        found = ", ".join(sorted(k for k in kinds if k)) or "none"
        yield Finding(f"encryption of {name}", "aws:kms with the environment's key", found, DEPLOY)


def lifecycle(patient: Patient) -> Iterator[Finding]:
    """Earlier versions end, and nothing ends that the lake is rebuilt from."""
    s3, name = patient.client("s3"), patient.environment.data_bucket
    found = _or_none(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]) or []
    rules = [rule for rule in found if rule.get("Status") == "Enabled"]
    if patient.on_aws and not any("NoncurrentVersionExpiration" in rule for rule in rules):
        yield Finding(f"lifecycle of {name}", f"the rule {KEPT_VERSIONS}", "no rule ends earlier versions", DEPLOY)
    for rule in rules:
        prefix = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")) or ""
        ends = rule.get("Expiration", {}).get("Days") or rule.get("Expiration", {}).get("Date")
        if ends and any(kept.startswith(prefix) or prefix.startswith(kept) for kept in NEVER_EXPIRES):
            yield Finding(
                f"lifecycle of {name}",
                "that no rule removes what the lake consists of",
                f"the rule {rule.get('ID', 'without a name')} removes {prefix or 'everything'} after {ends} days",
                "Remove the rule: what it removes cannot be rebuilt.",
            )


def table(patient: Patient) -> Iterator[Finding]:
    """The stream that feeds the lake, the items that end by themselves, backups and indexes of the operational
    table."""
    name = f"gavel-{patient.environment.name}"
    dynamodb = patient.client("dynamodb")
    found = dynamodb.describe_table(TableName=name)["Table"]
    stream = found.get("StreamSpecification", {})
    if not stream.get("StreamEnabled"):
        do = f"{DEPLOY} Changes since it was off are not in the stream: backfill them from an export."
        yield Finding(f"stream of {name}", "NEW_AND_OLD_IMAGES", "off", do)
    elif stream.get("StreamViewType") != "NEW_AND_OLD_IMAGES":
        yield Finding(f"stream of {name}", "NEW_AND_OLD_IMAGES", stream.get("StreamViewType", "unknown"), DEPLOY)
    there = {index["IndexName"] for index in found.get("GlobalSecondaryIndexes", ())}
    if missing := [index for index in INDEXES if index not in there]:
        yield Finding(f"indexes of {name}", ", ".join(INDEXES), f"no {', '.join(missing)}", DEPLOY)
    yield from _expiry(dynamodb, name)
    if patient.on_aws:
        yield from _backups(dynamodb, name)
        protected = found.get("DeletionProtectionEnabled", False)
        if patient.environment.name == "prod" and not protected:
            yield Finding(f"deletion protection of {name}", "on", "off", DEPLOY)


def other_tables(patient: Patient) -> Iterator[Finding]:
    """The tables beside it: rows that end by themselves, and backups."""
    dynamodb = patient.client("dynamodb")
    for table, ends in (("requests", True), ("tracking", True), ("summaries", False), ("tenants", False)):
        name = patient.name(table)
        dynamodb.describe_table(TableName=name)
        if patient.on_aws:
            yield from _backups(dynamodb, name)
            if ends:
                yield from _expiry(dynamodb, name)


def _expiry(dynamodb: Any, name: str) -> Iterator[Finding]:
    found = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    state = found.get("TimeToLiveStatus", "DISABLED")
    if state not in ("ENABLED", "ENABLING") or found.get("AttributeName", "ttl") != "ttl":
        said = state if state not in ("ENABLED", "ENABLING") else f"on {found.get('AttributeName')}"
        yield Finding(f"time to live of {name}", "ENABLED on ttl", said, DEPLOY)


def _backups(dynamodb: Any, name: str) -> Iterator[Finding]:
    described = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    state = described.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus", "DISABLED")
    if state != "ENABLED":
        do = f"{DEPLOY} Without it there is no export, and a gap cannot be repaired; what was before stays unreachable."
        yield Finding(f"point-in-time recovery of {name}", "ENABLED", state, do)


def _or_none(read: Any) -> Any:
    """What is configured; None where nothing is."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"].startswith(("NoSuch", "ServerSideEncryptionConfigurationNotFound")):
            return None
        raise
