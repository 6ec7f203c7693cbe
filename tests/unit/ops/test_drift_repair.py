"""Taking drift back, on plain data and answers of services; on the emulator: `tests/integration/ops/test_drift.py`."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Report, Unread
from lakehouse.drift.who import Trail
from ops.drift import repairing
from ops.drift.documents import compared, mended
from ops.drift.policies import policies_of
from ops.drift.repairing import Done, Plan, carry_out, said_afterwards, take_back
from ops.drift.resolving import HOLE, Resolver, Resource
from ops.drift.switches import OWN_PATHS, _trace, switched
from ops.environment import Environment

NOW = datetime(2026, 11, 30, tzinfo=UTC)
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{HOLE}/*"}
THERE = {**READ, "Resource": "arn:aws:s3:::a/*"}
MORE = {"Effect": "Allow", "Action": "*", "Resource": "*"}
SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:eu-west-1:1:q"}


def drifted(name: str, back: Back | None = None) -> Drifted:
    return Drifted("policies", "gavel-dev", name, "role", "a", "b", "Do it by hand.", back=back)


def planned(*found: Drifted, unread: tuple[Unread, ...] = ()) -> Plan:
    return Plan.of(Report(NOW, ("policies",), found, unread))


def call(name: str) -> Call:
    return Call("iam", "delete_role", {"RoleName": name})


class Recording:
    """A client that remembers what was called, and refuses one name."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def delete_role(self, RoleName: str) -> None:
        if RoleName == "refused":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteRole")
        self.called.append(RoleName)


def test_a_plan_makes_the_calls_of_what_may_be_taken_back_and_names_the_rest() -> None:
    ours, theirs = drifted("a", Back((call("a"),))), drifted("b", Back((call("b"),), "it is gone then", person=True))
    plan = planned(ours, theirs, drifted("c"))
    assert ([one.name for one in plan.ours], [one.name for one in plan.theirs]) == (["a"], ["b", "c"])
    client = Recording()
    assert carry_out(Environment("dev", lambda service: client), plan) == {}
    assert client.called == ["a"]
    said = "\n".join(repairing.lines(plan, ["stacks, gavel-dev: AccessDenied"]))
    assert said.index("To be taken back: 1") < said.index("--role-name a") < said.index("Left to a person: 2")
    assert "aws iam delete-role --role-name b\n    note: it is gone then" in said
    assert said.endswith("Not read, and left as it is: stacks, gavel-dev: AccessDenied")


def test_a_call_that_fails_hides_no_other_and_what_two_differences_share_is_called_once() -> None:
    client = Recording()
    plan = planned(*(drifted(n, Back((call(n),))) for n in ("refused", "a", "a")))
    failed = carry_out(Environment("dev", lambda _: client), plan)
    assert client.called == ["a"]
    assert list(failed) == ["aws iam delete-role --role-name refused"]
    assert "AccessDenied" in failed["aws iam delete-role --role-name refused"]


def test_what_is_not_any_more_as_it_was_shown_is_left_alone() -> None:
    """A person may read the plan for an hour, and two may repair at the same time."""
    shown = {name: replace(drifted(name, Back((call(name),))), unit=f"stack {name}") for name in "abcd"}
    more = replace(shown["a"], back=Back((call("a"),), "it removes for good: what came meanwhile"))
    now = {
        "stack a": Report(NOW, (), (more,)),
        "stack b": Report(NOW, ()),
        "stack c": Report(NOW, (), (), (Unread("policies", "stack c", "AccessDenied"),)),
        "stack d": Report(NOW, (), (shown["d"],)),
    }
    client = Recording()
    done = take_back(Environment("dev", lambda _: client), planned(*shown.values()), lambda unit: now[unit[1]])
    assert client.called == ["d"]
    assert [text.partition(": ")[2].partition(", ")[0] for text in done.untouched] == ["a", "b", "c"]
    assert [text.rpartition(": ")[2] for text in done.untouched[1:]] == ["it is gone", "AccessDenied"]


def test_of_two_of_the_same_name_each_is_looked_for_by_itself() -> None:
    """Two policies that somebody attached to one role."""
    one, other = (replace(drifted("role", Back((call(name),))), found=name) for name in "ab")
    client, now = Recording(), Report(NOW, (), (other,))
    done = take_back(Environment("dev", lambda _: client), planned(one, other), lambda unit: now)
    assert (client.called, len(done.untouched)) == (["b"], 1)


def test_what_cannot_be_read_afterwards_was_not_taken_back() -> None:
    """Rights may end half way."""
    plan = planned(drifted("a", Back((call("a"),))), replace(drifted("b", Back((call("b"),))), unit="gavel-dev-lake"))
    closed = Report(NOW, ("policies",), (), (Unread("policies", "gavel-dev", "AccessDenied"),))
    said = "\n".join(said_afterwards(plan, Done({"aws iam delete-role --role-name a": "AccessDenied"}), closed))
    assert "Not known: policies: a, role" in said
    assert said.endswith("Taken back: 1 of 2. Left to a person: 0.")
    still = Report(NOW, ("policies",), (plan.ours[0],))
    assert "Still there: policies: a, role" in "\n".join(said_afterwards(plan, Done(), still))


def test_what_follows_from_a_call_that_failed_is_not_called() -> None:
    client = Recording()
    both, alone = Back((call("refused"), call("after"))), Back((call("alone"),))
    assert len(carry_out(Environment("dev", lambda _: client), planned(drifted("a", both), drifted("b", alone)))) == 1
    assert client.called == ["alone"]


@pytest.mark.parametrize("seen", ["differs", "cannot be read"])
def test_tables_are_left_to_a_person_where_another_version_is_here_than_was_deployed(seen: str) -> None:
    """Firehose loses what an older contract has no column for."""
    table = Drifted(
        "tables", "gavel_dev", "gavel_landing_dev.bids", "column a", "b", "c", "Do.", back=Back((call("t"),))
    )
    template = "gavel-dev-lake: template"
    found = [Drifted("stacks", template, "gavel-dev-lake", "template, resource Bids", "a", "b", "Deploy.")]
    role = drifted("a", Back((call("a"),)))
    if seen == "differs":
        plan = planned(table, role, *found)
    else:
        plan = planned(table, role, unread=(Unread("stacks", template, "AccessDenied"),))
    assert [one.name for one in plan.ours] == ["a"]
    assert "look again from that version" in "\n".join(repairing.lines(plan))
    assert [one.name for one in planned(table, role).ours] == [table.name, "a"]


WIDER = [
    {**THERE, "Resource": ["arn:aws:s3:::a/*", "*"]},
    {**THERE, "Resource": ["*", "arn:aws:s3:::a/*"]},
    {**THERE, "Resource": "arn:aws:s3:::*/*"},
    {**THERE, "Resource": "arn:aws:s3:::a*/*"},
    {**THERE, "Resource": "arn:aws:s3:::?/*"},
    {**THERE, "Resource": 'arn:aws:s3:::a", "b/*'},
]


@pytest.mark.parametrize("there", WIDER)
def test_a_statement_that_was_widened_around_what_only_the_resource_knows_is_found(there: dict[str, Any]) -> None:
    missing, besides = compared({"Statement": [READ]}, {"Statement": [there]})
    assert (len(missing), len(besides)) == (1, 1)


def test_the_address_of_a_log_is_known_with_the_wildcard_that_aws_gives_it() -> None:
    """No hole takes a wildcard, so that one that belongs to an address has to be known."""
    template = {"Resources": {"Log": {"Type": "AWS::Logs::LogGroup", "Properties": {}}}}
    facts = {"partition": "aws", "region": "eu-west-1", "account": "1", "stack": "s", "stack_id": "s"}
    resolver = Resolver(template, {}, {"Log": "/gavel/dev/api"}, facts)
    assert resolver.value({"Fn::GetAtt": ["Log", "Arn"]}) == "arn:aws:logs:eu-west-1:1:log-group:/gavel/dev/api:*"


@pytest.mark.parametrize("found", [["arn:a", "arn:secret:z-1"], ["arn:secret:a-1", "arn:a"]])
def test_what_only_the_resource_knows_may_stand_anywhere_in_a_list(found: list[str]) -> None:
    expected = {"Effect": "Allow", "Action": ["b", "a"], "Resource": [HOLE, "arn:a"]}
    assert compared({"Statement": [expected]}, {"Statement": [{**expected, "Resource": found}]}) == ([], [])


@pytest.mark.parametrize("there", [[THERE, MORE], [MORE, THERE, SEND], [THERE]])
def test_a_document_is_mended_around_what_only_the_resource_knows(there: list[dict[str, str]]) -> None:
    expected = {"Version": "2012-10-17", "Statement": [READ, SEND]}
    document = mended(expected, {"Statement": there})
    assert document is not None
    assert compared(expected, document) == ([], [])
    assert THERE in document["Statement"]
    assert MORE not in document["Statement"]


def test_a_statement_that_is_gone_and_that_nobody_can_fill_is_left_to_a_person() -> None:
    assert mended({"Statement": [READ]}, {"Statement": [MORE]}) is None


def test_without_a_hole_the_document_is_the_templates() -> None:
    assert mended({"Statement": [{**SEND, "Sid": "Send"}]}, {"Statement": [MORE]}) == {
        "Version": "2012-10-17",
        "Statement": [{**SEND, "Sid": "Send"}],
    }


class Buckets:
    """S3, whose bucket lets many in."""

    def get_bucket_policy(self, Bucket: str) -> dict[str, str]:
        opened = [{**MORE, "Principal": {"AWS": f"arn:aws:iam::{n:012}:role/reader"}} for n in range(20)]
        return {"Policy": json.dumps({"Statement": [THERE, *opened]})}


class Iam:
    """IAM, where a managed policy has all the versions that it may have."""

    def get_policy(self, PolicyArn: str) -> dict[str, Any]:
        return {"Policy": {"DefaultVersionId": "v5"}}

    def get_policy_version(self, PolicyArn: str, VersionId: str) -> dict[str, Any]:
        return {"PolicyVersion": {"Document": {"Statement": [{**MORE, "Action": f"iam:{VersionId}"}]}}}

    def list_policy_versions(self, PolicyArn: str) -> dict[str, Any]:
        return {"Versions": [{"VersionId": f"v{n}", "CreateDate": n, "IsDefaultVersion": n == 5} for n in range(1, 6)]}


def found_of(resources: list[Resource], client: Any) -> Drifted:
    (one,) = policies_of("gavel-dev", resources, lambda _: client, "Repair it.")
    assert isinstance(one, Drifted)
    return one


def test_what_a_repair_takes_away_is_named_whole() -> None:
    """A message has the first 300 characters; whoever agrees has to see all."""
    beside = {"Bucket": "data", "PolicyDocument": {"Statement": [THERE]}}
    resources = [Resource("Data", "data", "AWS::S3::Bucket", {})]
    resources.append(Resource("Policy", "data", "AWS::S3::BucketPolicy", beside))
    back = found_of(resources, Buckets()).back
    assert back is not None
    assert all(f"arn:aws:iam::{n:012}:role/reader" in back.note for n in range(20))
    assert "role/reader" not in str(back.calls)


def test_a_version_that_makes_room_is_named_with_its_content() -> None:
    policy = Resource(
        "P", "arn:aws:iam::1:policy/p", "AWS::IAM::ManagedPolicy", {"PolicyDocument": {"Statement": [SEND]}}
    )
    back = found_of([policy], Iam()).back
    assert back is not None
    assert [one.operation for one in back.calls] == ["delete_policy_version", "create_policy_version"]
    assert '"Action": "iam:v1"' in back.note
    assert '"iam:v5"' in back.note, "what is replaced"


class Lambda:
    """A mapping that somebody turned off."""

    def get_event_source_mapping(self, UUID: str) -> dict[str, str]:
        if UUID == "denied":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetEventSourceMapping")
        return {"State": "Disabled"}


def test_a_switch_that_cannot_be_read_hides_no_other() -> None:
    kind = "AWS::Lambda::EventSourceMapping"
    resources = [Resource("Denied", "denied", kind, {}), Resource("Work", "1-2", kind, {"Enabled": "true"})]
    unread, off = switched("stacks", "gavel-dev: switches", resources, lambda _: Lambda(), "Repair it.")
    assert "AccessDenied" in unread.why  # type: ignore[union-attr]
    assert isinstance(off, Drifted)
    assert (off.what, off.expected, off.found) == ("state", "on", "off")
    assert off.back is not None
    assert [str(one) for one in off.back.calls] == ["aws lambda update-event-source-mapping --uuid 1-2 --enabled"]


class Dynamo:
    """A table, as three calls describe it."""

    def __init__(self, table: Any = None, backups: Any = None, ttl: Any = None) -> None:
        self.table, self.backups, self.ttl = table or {}, backups or {}, ttl or {"TimeToLiveStatus": "DISABLED"}

    def describe_table(self, TableName: str) -> Any:
        return {"Table": self.table}

    def describe_continuous_backups(self, TableName: str) -> Any:
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": self.backups}}

    def describe_time_to_live(self, TableName: str) -> Any:
        return {"TimeToLiveDescription": self.ttl}


TABLE, LIVES = "AWS::DynamoDB::Table", {"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True}}
RECOVERS = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
BACKED = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False}}
BY_OTHER = {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
UNPROTECTED = {"DeletionProtectionEnabled": False}


def switches_of(kind: str, properties: dict[str, Any], client: Any) -> list[Drifted]:
    resources = [Resource("It", "it", kind, properties)]
    found = list(switched("stacks", "gavel-dev: switches", resources, lambda _: client, "Repair it."))
    assert all(isinstance(one, Drifted) for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("properties", "there", "what", "expected", "found", "by_a_person"),
    [
        (LIVES, Dynamo(ttl=BY_OTHER), "time to live", "ttl", "expires", True),
        (LIVES, Dynamo(), "time to live", "ttl", "off", False),
        ({}, Dynamo(ttl=BY_OTHER), "time to live", "off", "expires", False),
        (RECOVERS, Dynamo(), "point-in-time recovery", "on", "off", False),
        (BACKED, Dynamo(backups={"PointInTimeRecoveryStatus": "ENABLED"}), "point-in-time recovery", "off", "on", True),
        (
            RECOVERS,
            Dynamo(backups={"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 1}),
            "days of point-in-time recovery", "35", "1", False,
        ),
        (UNPROTECTED, Dynamo({"DeletionProtectionEnabled": True}), "deletion protection", "off", "on", True),
    ],
)  # fmt: skip
def test_what_keeps_or_ends_the_data_of_a_table_is_found_and_never_weakened_by_itself(
    properties: dict[str, Any], there: Dynamo, what: str, expected: str, found: str, by_a_person: bool
) -> None:
    (one,) = switches_of(TABLE, properties, there)
    assert (one.what, one.expected, one.found) == (what, expected, found)
    assert one.back is not None
    assert one.back.person == by_a_person


def test_a_table_as_its_template_has_it_has_not_drifted() -> None:
    there = Dynamo(
        backups={"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 35},
        ttl={"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"},
    )
    assert switches_of(TABLE, {**LIVES, **RECOVERS}, there) == []
    assert switches_of(TABLE, {}, Dynamo()) == []


class Logs:
    """A group of logs with days of retention; None: for ever."""

    def __init__(self, days: int | None) -> None:
        self.group: dict[str, Any] = {"logGroupName": "it", **({"retentionInDays": days} if days else {})}

    def get_paginator(self, operation: str) -> Logs:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"logGroups": [self.group]}]


@pytest.mark.parametrize(("days", "by_a_person"), [(None, True), (365, True), (1, False)])
def test_a_log_that_is_kept_longer_is_shortened_by_nobody_but_a_person(days: int | None, by_a_person: bool) -> None:
    """Shorter days delete what is older, maybe what somebody looks for."""
    (one,) = switches_of("AWS::Logs::LogGroup", {"RetentionInDays": 14}, Logs(days))
    assert one.back is not None
    assert one.back.person == by_a_person
    assert ("deletes what is older than 14 days" in one.back.note) == by_a_person


class CloudTrail:
    """Remembers one change, under the name of its event alone."""

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        self.name, self.record = name, {"userIdentity": {"arn": "arn:aws:iam::1:user/a"}, "requestParameters": request}

    def get_paginator(self, operation: str) -> CloudTrail:
        return self

    def paginate(self, *, LookupAttributes: list[dict[str, str]], **_: Any) -> list[dict[str, Any]]:
        (attribute,) = LookupAttributes
        event = {"EventTime": NOW, "CloudTrailEvent": json.dumps(self.record)}
        wanted = (attribute["AttributeKey"], attribute["AttributeValue"]) == ("EventName", self.name)
        return [{"Events": [event] if wanted else []}]


@pytest.mark.parametrize(
    ("kind", "physical", "event", "request_"),
    [
        ("Logs::LogGroup", "/gavel/dev/api", "PutRetentionPolicy", {"logGroupName": "/gavel/dev/api"}),
        ("CloudWatch::Alarm", "gavel-dev-a", "DisableAlarmActions", {"alarmNames": ["gavel-dev-b", "gavel-dev-a"]}),
        ("Lambda::EventSourceMapping", "1-2", "UpdateEventSourceMapping20150331", {"uUID": "1-2", "enabled": False}),
        ("Events::Rule", "gavel-dev|daily", "DisableRule", {"name": "daily", "eventBusName": "gavel-dev"}),
        ("DynamoDB::Table", "gavel-dev", "UpdateTimeToLive", {"tableName": "gavel-dev"}),
        ("S3::Bucket", "data", "PutBucketVersioning", {"bucketName": "data"}),
    ],
)
def test_who_turned_a_switch_is_found_where_its_event_names_no_resource(
    kind: str, physical: str, event: str, request_: dict[str, Any]
) -> None:
    trace = _trace(Resource("It", physical, f"AWS::{kind}", {}))
    assert Trail(lambda region: CloudTrail(event, request_)).last(trace) == ("arn:aws:iam::1:user/a", NOW)
    assert Trail(lambda region: CloudTrail(event, {"name": "another"})).last(trace) is None


class Alarms:
    """CloudWatch, which answers of metric alarms alone unless both are named."""

    def describe_alarms(self, AlarmNames: list[str], AlarmTypes: tuple[str, ...] = ("MetricAlarm",)) -> Any:
        return {"CompositeAlarms": [{"ActionsEnabled": False}]} if "CompositeAlarm" in AlarmTypes else {}


def test_an_alarm_over_alarms_that_is_silent_is_found() -> None:
    (one,) = switches_of("AWS::CloudWatch::CompositeAlarm", {}, Alarms())
    assert (one.what, one.found) == ("actions", "off")


class Blocked:
    """S3, whose bucket blocks more than its template says, and less."""

    def get_public_access_block(self, Bucket: str) -> Any:
        return {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "BlockPublicPolicy": False}}


def test_what_a_bucket_blocks_besides_stays_blocked() -> None:
    wanted = {"PublicAccessBlockConfiguration": {"BlockPublicPolicy": True}}
    (one,) = switches_of("AWS::S3::Bucket", wanted, Blocked())
    assert one.back is not None
    (made,) = one.back.calls
    assert made.arguments["PublicAccessBlockConfiguration"] == {"BlockPublicAcls": True, "BlockPublicPolicy": True}


def test_what_is_compared_as_a_switch_is_a_property_of_its_type() -> None:
    """CloudFormation's finding of it is left out by this path."""
    for kind, paths in OWN_PATHS.items():
        for path in paths:
            assert path.count("/") == 1, (kind, path)


def test_a_sensor_that_was_switched_off_is_started_where_dagster_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"sensors": [{"name": "alerts", "sensorState": {"status": "STOPPED"}}], "schedules": []}
    entry = {"name": "gavel", "locationOrLoadError": {"repositories": [{"name": "__repository__", **states}]}}
    sent: list[dict[str, Any]] = []

    def answered(request: Any, timeout: float) -> io.BytesIO:
        sent.append({"to": request.full_url, **json.loads(request.data)})
        started = {"startSensor": {"__typename": "Sensor"}}
        read = {"workspaceOrError": {"locationEntries": [entry]}}
        return io.BytesIO(json.dumps({"data": started if "startSensor" in sent[-1]["query"] else read}).encode())

    monkeypatch.setattr("urllib.request.urlopen", answered)
    plan = planned(*repairing.switched_off("http://ui"))
    assert [one.name for one in plan.ours] == ["sensor alerts"]
    assert "Dagster: start sensor alerts" in "\n".join(repairing.lines(plan))
    assert carry_out(Environment("local", lambda _: None), plan, "http://ui") == {}
    assert sent[-1]["variables"] == {"name": "alerts", "location": "gavel", "repository": "__repository__"}
    assert {one["to"] for one in sent} == {"http://ui/graphql"}


@pytest.mark.parametrize("answers", [True, False])
def test_what_is_switched_off_is_looked_at_where_dagsters_ui_is_named(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    answered: list[object] = []

    def switched_off(ui_url: str) -> list[Drifted]:
        answered.append(ui_url)
        if not answers:
            raise OSError(f"{ui_url} does not answer")
        return [drifted("sensor alerts")]

    there = Report(NOW, ("policies",), (drifted("a"),))
    monkeypatch.setattr("ops.drift.looking.look", lambda where, only=None: there)
    monkeypatch.setattr(repairing, "switched_off", switched_off)
    where = Environment("dev", lambda _: None)
    assert repairing.looked(where, "") == there
    found = repairing.looked(where, "http://ui")
    assert [one.name for one in found.drifted] == (["a", "sensor alerts"] if answers else ["a"])
    assert [(one.part, one.unit) for one in found.unread] == ([] if answers else [("definitions", "switches")])
    repairing.looked(where, "http://ui", ("policies", "gavel-dev"))
    assert len(answered) == 1, "Dagster is not looked at for another unit"
