"""Switches of a stack's resources against its template: what protects data or lets work happen, and a hand turns off.

CloudFormation's detection leaves out what a template does not set, such as the actions of an alarm, which are on unless
somebody turns them off. What is compared here is left out of what CloudFormation reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Trace, Unread, differences, reason
from ops.drift.resolving import Resource

OWN_PATHS: Mapping[str, tuple[str, ...]] = {
    "AWS::CloudWatch::Alarm": ("/ActionsEnabled",),
    "AWS::CloudWatch::CompositeAlarm": ("/ActionsEnabled",),
    "AWS::DynamoDB::Table": (
        "/DeletionProtectionEnabled",
        "/PointInTimeRecoverySpecification",
        "/StreamSpecification",
        "/TimeToLiveSpecification",
    ),
    "AWS::Events::Rule": ("/State",),
    "AWS::Lambda::EventSourceMapping": ("/Enabled",),
    "AWS::Logs::LogGroup": ("/RetentionInDays",),
    "AWS::S3::Bucket": ("/PublicAccessBlockConfiguration", "/VersioningConfiguration"),
}
"""Properties by type of resource that are compared here and nowhere else."""
_OF_ALARMS = ("DisableAlarmActions", "EnableAlarmActions")
CHANGES: Mapping[str, tuple[str, ...]] = {
    "AWS::CloudWatch::Alarm": (*_OF_ALARMS, "PutMetricAlarm"),
    "AWS::CloudWatch::CompositeAlarm": (*_OF_ALARMS, "PutCompositeAlarm"),
    "AWS::DynamoDB::Table": ("UpdateTable", "UpdateContinuousBackups", "UpdateTimeToLive"),
    "AWS::Events::Rule": ("DisableRule", "EnableRule", "PutRule"),
    "AWS::Lambda::EventSourceMapping": ("UpdateEventSourceMapping20150331",),
    "AWS::Logs::LogGroup": ("PutRetentionPolicy", "DeleteRetentionPolicy"),
    "AWS::S3::Bucket": ("PutBucketVersioning", "PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"),
}
"""Names of CloudTrail's events that change what is compared here, by type of resource."""
NEW_STREAM = (
    "a new stream begins, and what was changed while it was off is in none: point the mappings of relay and fan-out to "
    "it, then backfill from an export (docs/operations.md)"
)

MOST_DAYS = 35
"""Days that a table with point-in-time recovery goes back, unless its template says fewer."""
NO_PROTECTION = "it takes away what protects data; a person decides that"

Client = Callable[[str], Any]
"""Makes the client of a service, in the stack's region."""
Switch = tuple[str, object, object, Back | None]
"""What it is, how it has to be, how it is, and what sets it back."""


def switched(
    part: str, unit: str, resources: Sequence[Resource], client: Client, do: str
) -> Iterator[Drifted | Unread]:
    """Switches of all resources that are not as the template has them. One that cannot be read hides no other."""
    for resource in resources:
        look = _LOOKS.get(resource.kind)
        if look is None:
            continue
        make = differences(part, unit, _trace(resource), do)
        name = f"{resource.logical} ({resource.kind} {resource.physical})"
        try:
            for what, wanted, found, back in look(client, resource):
                if str(wanted) != str(found):
                    yield make(name, what, wanted, found, back)
        except ClientError as error:
            if not _is_gone(error):  # that it is gone, CloudFormation says
                yield Unread(part, unit, f"{resource.physical}: {reason(error)}")


def _trace(resource: Resource) -> Trace:
    """By whom: of few of these changes CloudTrail's events name the resource, all name it in their request."""
    names = (resource.physical, resource.physical.rpartition("/")[2])
    called = resource.physical.rpartition("|")[2]  # a rule's bus is before its name
    return Trace(tuple(dict.fromkeys(names)), CHANGES.get(resource.kind, ()), (called,))


def _is_gone(error: ClientError) -> bool:
    code = error.response["Error"]["Code"]
    return code in ("ResourceNotFoundException", "NoSuchBucket", "404")


def _back(service: str, operation: str, note: str = "", **arguments: Any) -> Back:
    return Back((Call(service, operation, arguments),), note)


def _protecting(on: bool, back: Back) -> Back:
    """What sets a protection back. That more is protected than the template says, nobody but a person ends."""
    return back if on else replace(back, note=NO_PROTECTION, person=True)


def _is_on(value: Any, default: bool = False) -> bool:
    return default if value is None else str(value).lower() in ("true", "enabled", "1")


def _word(on: bool) -> str:
    return "on" if on else "off"


def _bucket(client: Client, bucket: Resource) -> Iterator[Switch]:
    s3, name = client("s3"), bucket.physical
    if wanted := bucket.properties.get("VersioningConfiguration", {}).get("Status"):
        found = s3.get_bucket_versioning(Bucket=name).get("Status", "none")
        to = {"Status": wanted}
        yield "versioning", wanted, found, _back("s3", "put_bucket_versioning", Bucket=name, VersioningConfiguration=to)
    if block := bucket.properties.get("PublicAccessBlockConfiguration"):
        try:
            there = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchPublicAccessBlockConfiguration":
                raise
            there = {}
        wanted_flags = {flag: _is_on(value) for flag, value in block.items()}
        whole = {**{flag: _is_on(value) for flag, value in there.items()}, **wanted_flags}
        back = _back("s3", "put_public_access_block", Bucket=name, PublicAccessBlockConfiguration=whole)
        for flag, on in wanted_flags.items():
            yield flag, _word(on), _word(_is_on(there.get(flag))), back


def _table(client: Client, table: Resource) -> Iterator[Switch]:
    dynamodb, name, wanted = client("dynamodb"), table.physical, table.properties
    there = dynamodb.describe_table(TableName=name)["Table"]
    if view := wanted.get("StreamSpecification", {}).get("StreamViewType"):
        stream = there.get("StreamSpecification") or {}
        found = (
            stream.get("StreamViewType", "off") if stream.get("StreamEnabled", "StreamViewType" in stream) else "off"
        )
        to = {"StreamEnabled": True, "StreamViewType": view}
        off = {"StreamEnabled": False}
        calls = [Call("dynamodb", "update_table", {"TableName": name, "StreamSpecification": to})]
        if found != "off":  # another view is another stream
            calls.insert(0, Call("dynamodb", "update_table", {"TableName": name, "StreamSpecification": off}))
        yield "stream", view, found, Back(tuple(calls), NEW_STREAM, person=found != "off")
    if "DeletionProtectionEnabled" in wanted:
        on = _is_on(wanted["DeletionProtectionEnabled"])
        back = _back("dynamodb", "update_table", TableName=name, DeletionProtectionEnabled=on)
        found = _word(_is_on(there.get("DeletionProtectionEnabled")))
        yield "deletion protection", _word(on), found, _protecting(on, back)
    yield from _recovery(dynamodb, table)
    yield from _life(dynamodb, table)


def _recovery(dynamodb: Any, table: Resource) -> Iterator[Switch]:
    """To which moments a table can be brought back."""
    wanted = table.properties.get("PointInTimeRecoverySpecification", {})
    if (recovery := wanted.get("PointInTimeRecoveryEnabled")) is None:
        return
    described = dynamodb.describe_continuous_backups(TableName=table.physical)["ContinuousBackupsDescription"]
    there = described.get("PointInTimeRecoveryDescription", {})
    on, is_on = _is_on(recovery), _is_on(there.get("PointInTimeRecoveryStatus"))
    days = int(wanted.get("RecoveryPeriodInDays", MOST_DAYS))
    to: dict[str, Any] = {"PointInTimeRecoveryEnabled": on}
    if "RecoveryPeriodInDays" in wanted or on == is_on:
        to["RecoveryPeriodInDays"] = days

    def back(note: str) -> Back:
        of = {"TableName": table.physical, "PointInTimeRecoverySpecification": to}
        return _back("dynamodb", "update_continuous_backups", note, **of)

    none_before = "the table can be brought back to moments from now on, and to none before"
    yield "point-in-time recovery", _word(on), _word(is_on), _protecting(on, back(none_before))
    if on and is_on:
        found = int(there.get("RecoveryPeriodInDays", days))
        yield "days of point-in-time recovery", days, found, _protecting(days > found, back("days come one by one"))


def _life(dynamodb: Any, table: Resource) -> Iterator[Switch]:
    """By which attribute items end. Where the template names none, none may end: DynamoDB deletes them for good."""
    name, wanted = table.physical, table.properties.get("TimeToLiveSpecification") or {}
    there = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    ends = str(wanted["AttributeName"]) if _is_on(wanted.get("Enabled")) else "off"
    found = str(there.get("AttributeName")) if there.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else "off"

    def to(attribute: str, *, on: bool) -> Call:
        specification = {"Enabled": on, "AttributeName": attribute}
        return Call("dynamodb", "update_time_to_live", {"TableName": name, "TimeToLiveSpecification": specification})

    calls = [to(found, on=False)] if found != "off" else []
    calls += [to(ends, on=True)] if ends != "off" else []
    note = "" if ends == "off" else f"items whose {ends} is past are deleted from then on, as the template has it"
    if len(calls) > 1:
        note = f"DynamoDB takes one such change an hour: make the second call later; {note}"
    yield "time to live", ends, found, Back(tuple(calls), note, person=len(calls) > 1)


def _log_group(client: Client, group: Resource) -> Iterator[Switch]:
    if days := group.properties.get("RetentionInDays"):
        pages = client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=group.physical)
        listed = {one["logGroupName"]: one for page in pages for one in page["logGroups"]}
        if group.physical in listed:
            found = listed[group.physical].get("retentionInDays", "for ever")
            to = {"logGroupName": group.physical, "retentionInDays": int(days)}
            longer = found == "for ever" or int(found) > int(days)
            back = _back("logs", "put_retention_policy", "what is older than it kept is gone", **to)
            if longer:
                back = replace(back, note=f"CloudWatch deletes what is older than {days} days then", person=True)
            yield "retention in days", days, found, back


def _alarm(client: Client, alarm: Resource) -> Iterator[Switch]:
    both = ["MetricAlarm", "CompositeAlarm"]  # CloudWatch answers of the first alone unless both are named
    found = client("cloudwatch").describe_alarms(AlarmNames=[alarm.physical], AlarmTypes=both)
    on = _is_on(alarm.properties.get("ActionsEnabled"), default=True)
    operation = "enable_alarm_actions" if on else "disable_alarm_actions"
    for there in (*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())):
        back = _back("cloudwatch", operation, AlarmNames=[alarm.physical])
        yield "actions", _word(on), _word(_is_on(there.get("ActionsEnabled"), default=True)), back


def _mapping(client: Client, mapping: Resource) -> Iterator[Switch]:
    there = client("lambda").get_event_source_mapping(UUID=mapping.physical)
    on = _is_on(mapping.properties.get("Enabled"), default=True)
    found = str(there.get("State", "")) in ("Enabled", "Enabling", "Creating", "Updating")
    back = _back("lambda", "update_event_source_mapping", UUID=mapping.physical, Enabled=on)
    yield "state", _word(on), _word(found), back


def _rule(client: Client, rule: Resource) -> Iterator[Switch]:
    bus, _, name = rule.physical.rpartition("|")
    of = {"Name": name, **({"EventBusName": bus} if bus else {})}
    on = str(rule.properties.get("State", "ENABLED")) == "ENABLED"
    found = client("events").describe_rule(**of).get("State") == "ENABLED"
    yield "state", _word(on), _word(found), _back("events", "enable_rule" if on else "disable_rule", **of)


_LOOKS: Mapping[str, Callable[[Client, Resource], Iterator[Switch]]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _alarm,
    "AWS::DynamoDB::Table": _table,
    "AWS::Events::Rule": _rule,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _bucket,
}
