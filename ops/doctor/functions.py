"""Functions, what calls them, where they log, and the Firehoses that the relay writes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from ops.doctor.findings import DEPLOY, Finding, Patient
from ops.environment import LIVE

FUNCTIONS = ("api", "relay", "authorizer", "inbound", "fanout", "tracking")
READERS = ("relay", "fanout")
CALLED_BY_MAPPINGS = ("relay", "fanout", "inbound", "tracking")
LOGS = (*FUNCTIONS, "gateway")
WAIT = "Wait for the deployment that is under way; if there is none,"


def functions(patient: Patient) -> Iterator[Finding]:
    """Functions that cannot be called."""
    client = patient.client("lambda")
    for function in FUNCTIONS:
        name = patient.name(function)
        try:
            found = client.get_function(FunctionName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            yield Finding(f"function {name}", "that it is there", "none", DEPLOY)
            continue
        state = found["Configuration"].get("State", "Active")
        if state not in ("Active", "Inactive"):  # one that slept is woken by the next call
            yield Finding(f"function {name}", "Active", f"{state}: {found['Configuration'].get('StateReason')}", DEPLOY)
        if found.get("Concurrency", {}).get("ReservedConcurrentExecutions") == 0:
            do = "Remove its reserved concurrency: with 0 every call is refused."
            yield Finding(f"concurrency of {name}", "no limit of 0", "0", do)
        yield from _called_version(client, name, found["Configuration"])


def _called_version(client: Any, name: str, latest: dict[str, Any]) -> Iterator[Finding]:
    """Where the alias that is called leads: to the code that was deployed last, and to no second version."""
    what = f"alias {LIVE} of function {name}"
    try:
        alias = client.get_alias(FunctionName=name, Name=LIVE)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        yield Finding(what, "that it is there", "none", DEPLOY)
        return
    if weights := (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights"):
        shares = ", ".join(f"{share:.0%} at version {version}" for version, share in sorted(weights.items()))
        do = f"{WAIT} let the alias lead to one version (Lambda, aliases)."
        yield Finding(what, "one version", f"version {alias['FunctionVersion']}, and {shares}", do)
    called = client.get_function_configuration(FunctionName=name, Qualifier=LIVE)
    if called["CodeSha256"] != latest["CodeSha256"]:
        found = f"version {alias['FunctionVersion']} with other code"
        do = f"{WAIT} somebody changed the function by hand: deploy."
        yield Finding(what, "the code that was deployed last", found, do)


def mappings(patient: Patient) -> Iterator[Finding]:
    """Event source mappings that are off, or that would lose what fails."""
    client = patient.client("lambda")
    for function in CALLED_BY_MAPPINGS:
        if not patient.on_aws and function in READERS:
            continue  # the pump reads the stream there
        name = patient.name(function)
        found = client.list_event_source_mappings(FunctionName=f"{name}:{LIVE}")["EventSourceMappings"]
        if not found:
            yield Finding(f"event source mapping of {name}", "one", "none", DEPLOY)
        for mapping in found:
            yield from _mapping(patient, function, mapping)


def _mapping(patient: Patient, function: str, mapping: dict[str, Any]) -> Iterator[Finding]:
    name = patient.name(function)
    state = mapping.get("State", "Enabled")
    if state not in ("Enabled", "Creating", "Enabling", "Updating"):
        do = "Enable it now (Lambda, triggers)"
        do += "; the stream keeps changes for 24 hours." if function in READERS else "."
        yield Finding(f"event source mapping of {name}", "Enabled", state, do)
    if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", ()):
        yield Finding(f"event source mapping of {name}", "ReportBatchItemFailures", "whole batches", DEPLOY)
    if function in READERS and not mapping.get("DestinationConfig", {}).get("OnFailure"):
        yield Finding(f"event source mapping of {name}", "a destination for what fails", "none: it is lost", DEPLOY)


def log_groups(patient: Patient) -> Iterator[Finding]:
    """Log groups that are missing, or that keep logs for ever."""
    logs = patient.client("logs")
    prefix = f"/gavel/{patient.environment.name}/"
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    found = {group["logGroupName"]: group for page in pages for group in page["logGroups"]}
    for name in (f"{prefix}{part}" for part in LOGS):
        if name not in found:
            do = f"{DEPLOY} The function runs, and nobody can read what it says."
            yield Finding(f"log group {name}", "that it is there", "none", do)
        elif not found[name].get("retentionInDays"):
            yield Finding(f"retention of {name}", "some days", "for ever", DEPLOY)


def deliveries(patient: Patient) -> Iterator[Finding]:
    """Firehoses that are missing, not active, or deliver elsewhere."""
    client, bucket = patient.client("firehose"), patient.environment.data_bucket
    for entity in patient.entities:
        name = patient.name(entity)
        try:
            found = client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            do = f"{DEPLOY} Until then the relay keeps its records below relay-failures/."
            yield Finding(f"Firehose {name}", "that it is there", "none", do)
            continue
        if found["DeliveryStreamStatus"] != "ACTIVE":
            reason = found.get("FailureDescription", {}).get("Details", "")
            yield Finding(f"Firehose {name}", "ACTIVE", f"{found['DeliveryStreamStatus']} {reason}".strip(), DEPLOY)
        for destination in found.get("Destinations", ()):
            plain = destination.get("S3DestinationDescription", {})
            target = destination.get("ExtendedS3DestinationDescription", plain)
            where = f"{target.get('BucketARN', '')}/{target.get('Prefix', '')}"
            if not where.startswith(f"arn:aws:s3:::{bucket}/landing/{entity}/"):
                yield Finding(f"destination of Firehose {name}", f"{bucket}/landing/{entity}/", where, DEPLOY)
