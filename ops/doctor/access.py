"""Who is asking, and with what: the machine's clock, the key, rights of each kind that the pipeline needs, quotas."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.doctor.findings import DEPLOY, Finding, Patient

SKEW_SECONDS = 60.0
"""AWS refuses requests from clocks that differ by five minutes; a minute already makes wrong ages."""
CONCURRENCY = 100
"""Concurrent calls of functions that an account must have left: AWS lets new ones begin with 10."""


def clock(patient: Patient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """The machine's clock against the time in AWS's answer."""
    answer = patient.client("sts").get_caller_identity()
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    skew = abs((now() - parsedate_to_datetime(said)).total_seconds()) if said else 0.0
    if skew > SKEW_SECONDS:
        yield Finding(
            "clock of this machine",
            f"at most {SKEW_SECONDS:.0f} s from that of AWS",
            f"{skew:.0f} s",
            "Turn on the machine's time synchronisation (chrony, systemd-timesyncd).",
        )


def key(patient: Patient) -> Iterator[Finding]:
    """The key that everything is encrypted with."""
    alias = f"alias/gavel-{patient.environment.name}"
    try:
        found = patient.client("kms").describe_key(KeyId=alias)["KeyMetadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        yield Finding(f"KMS key {alias}", "that it is there", "no key of that alias", DEPLOY)
        return
    state = found.get("KeyState", "Enabled")
    if state != "Enabled":
        do = "Cancel its deletion" if state == "PendingDeletion" else "Enable it"
        yield Finding(f"KMS key {alias}", "Enabled", state, f"{do} in KMS at once: without it nothing can be read.")
    elif not patient.client("kms").get_key_rotation_status(KeyId=found["KeyId"])["KeyRotationEnabled"]:
        yield Finding(f"KMS key {alias}", "yearly rotation", "none", DEPLOY)


def rights(patient: Patient) -> Iterator[Finding]:
    """A harmless call of each kind that the pipeline needs: what is refused here fails there."""
    bucket = patient.environment.data_bucket
    probe = f"doctor/{secrets.token_hex(8)}"
    s3 = patient.client("s3")
    needed: list[tuple[str, Callable[[], Any]]] = [
        ("s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=1)),
        ("s3:PutObject", lambda: s3.put_object(Bucket=bucket, Key=probe, Body=b"")),
        ("s3:GetObject", lambda: s3.get_object(Bucket=bucket, Key=probe)),
        ("s3:DeleteObject", lambda: s3.delete_object(Bucket=bucket, Key=probe)),
        ("glue:GetTables", lambda: patient.client("glue").get_databases(MaxResults=1)),
        (
            "sqs:GetQueueUrl",
            lambda: patient.client("sqs").get_queue_url(QueueName=patient.name("inbound-dead-letters")),
        ),
        ("cloudwatch:GetMetricData", lambda: _metric(patient)),
    ]
    for right, call in needed:
        try:
            call()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if "Denied" in code or "Authorization" in code or code in ("403", "KMS.DisabledException"):
                yield Finding(
                    f"right {right}",
                    "that these credentials have it",
                    code,
                    f"Grant {right} to the role of the pipeline on the environment's resources, and use of its key.",
                )


def _metric(patient: Patient) -> object:
    now = datetime.now(UTC)
    query = {
        "Id": "q",
        "MetricStat": {"Metric": {"Namespace": "Gavel", "MetricName": "DataAge"}, "Period": 60, "Stat": "Maximum"},
    }
    return patient.client("cloudwatch").get_metric_data(MetricDataQueries=[query], StartTime=now, EndTime=now)


def quotas(patient: Patient) -> Iterator[Finding]:
    """What the account allows: functions at once, and Firehoses."""
    if not patient.on_aws:
        return
    limits = patient.client("lambda").get_account_settings()["AccountLimit"]
    left = limits["UnreservedConcurrentExecutions"]
    if left < CONCURRENCY:
        yield Finding(
            "quota of concurrent functions",
            f"at least {CONCURRENCY} unreserved",
            str(left),
            "Request more in Service Quotas (Lambda, Concurrent executions), or reserve less elsewhere.",
        )
