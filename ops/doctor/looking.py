"""Runs all looks, each by itself: one that is refused is a finding, and hides no other."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from ops.doctor import access, catalog, dagster, functions, messaging, storage, versions
from ops.doctor.findings import DEPLOY, Finding, Look, Patient

LOOKS: tuple[Look, ...] = (
    access.clock,
    access.key,
    access.rights,
    access.quotas,
    storage.bucket,
    storage.lifecycle,
    storage.table,
    storage.other_tables,
    messaging.topic,
    messaging.queues,
    messaging.rules,
    functions.functions,
    functions.mappings,
    functions.log_groups,
    functions.deliveries,
    catalog.landing_tables,
    catalog.lake_tables,
    catalog.workgroup,
    versions.packages,
    versions.deployed_contracts,
    dagster.daemons,
    dagster.ticking,
)
_THREADS = 8
_DENIED = ("Denied", "Unauthorized", "Authorization")
_GONE = ("NotFound", "NoSuch", "NonExistent", "404", "EntityNotFound")


def examine(patient: Patient, looks: Iterable[Look] = LOOKS) -> list[Finding]:
    """Everything that is misconfigured, in the order of the looks."""

    def at(look: Look) -> list[Finding]:
        try:
            return list(look(patient))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding, and hides no other
            return [of_error(look.__name__.replace("_", " "), error)]

    for service in ("s3", "sts", "dynamodb", "sns", "sqs", "lambda", "logs", "firehose", "glue", "kms", "events"):
        patient.client(service)  # making one is not safe in several threads at once
    with ThreadPoolExecutor(_THREADS) as pool:
        return [finding for found in pool.map(at, looks) for finding in found]


def of_error(part: str, error: Exception) -> Finding:
    """What a look that failed says."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    said = " ".join(str(error).split())[:300]
    if any(word in code for word in _DENIED):
        return Finding(f"right to look at {part}", "that it may be read", said, "Grant the right that it names.")
    if any(word in code for word in _GONE):
        return Finding(part, "that it is there", said, DEPLOY)
    return Finding(part, "an answer", said, "Try again; if it stays, look at the service's own health.")
