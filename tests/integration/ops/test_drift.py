"""`gavel-ops drift` on the emulator, whose CloudFormation detects drift as AWS documents it: nothing in what has just
been deployed, a seeded drift of each kind with who did it, and nothing again after it was taken back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner, Result

from local import emulator
from local.aws import REGION, Aws
from local.home import Home
from ops.command_line import app
from ops.deployment import given, templates
from ops.deployment.deploying import Deployment, Manner
from ops.deployment.given import Wanted, plan
from ops.deployment.stacks import STACKS, Stack
from ops.drift import looking
from ops.environment import Environment

pytestmark = pytest.mark.stack

ACCOUNT = "000000000000"
BACKDOOR = "gavel-dev-backdoor"
BUCKET, QUEUE, ROLE = f"gavel-dev-data-{ACCOUNT}", "gavel-dev-letters", "gavel-dev-reader"
ITEMS, LOG, ALARM, RULE = "gavel-dev-items", "gavel-dev-log", "gavel-dev-sent", "gavel-dev-daily"
READING = f"arn:aws:iam::{ACCOUNT}:policy/gavel-dev-reading"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
SHOP: dict[str, Any] = {
    "Parameters": {"Days": {"Type": "Number", "Default": 14}},
    "Resources": {
        "Data": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": BUCKET,
                "VersioningConfiguration": {"Status": "Enabled"},
                "PublicAccessBlockConfiguration": {"BlockPublicPolicy": True, "RestrictPublicBuckets": True},
            },
        },
        "Items": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": ITEMS,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"},
                "DeletionProtectionEnabled": True,
            },
        },
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": LOG, "RetentionInDays": 30}},
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "AlarmName": ALARM,
                "Namespace": "AWS/SQS",
                "MetricName": "NumberOfMessagesSent",
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanThreshold",
            },
        },
        "Daily": {"Type": "AWS::Events::Rule", "Properties": {"Name": RULE, "ScheduleExpression": "rate(1 day)"}},
        "Worker": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": "gavel-dev-worker",
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Reader", "Arn"]},
                "Code": {"ZipFile": "def handler(event, context): ..."},
            },
        },
        "Work": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "FunctionName": {"Ref": "Worker"},
                "EventSourceArn": {"Fn::GetAtt": ["Letters", "Arn"]},
            },
        },
        "DataPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {
                "Bucket": {"Ref": "Data"},
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "TlsOnly",
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "s3:*",
                            "Resource": [{"Fn::GetAtt": ["Data", "Arn"]}, {"Fn::Sub": "${Data.Arn}/*"}],
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                },
            },
        },
        "Letters": {
            "Type": "AWS::SQS::Queue",
            "Properties": {
                "QueueName": QUEUE,
                "DelaySeconds": 5,
                "Tags": [{"Key": "domain", "Value": "bids"}],
            },
        },
        "LettersPolicy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {
                "Queues": [{"Ref": "Letters"}],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "events.amazonaws.com"},
                            "Action": "sqs:SendMessage",
                            "Resource": {"Fn::GetAtt": ["Letters", "Arn"]},
                        }
                    ],
                },
            },
        },
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "gavel-dev-alerts"}},
        "Reading": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "ManagedPolicyName": "gavel-dev-reading",
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${Data.Arn}/*"}}
                    ],
                },
            },
        },
        "Reader": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": ROLE,
                "Tags": [{"Key": "domain", "Value": "bids"}],
                "AssumeRolePolicyDocument": TRUST,
                "ManagedPolicyArns": [{"Ref": "Reading"}],
                "Policies": [
                    {
                        "PolicyName": "look",
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [
                                {
                                    "Effect": "Allow",
                                    "Action": ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"],
                                    "Resource": {"Fn::GetAtt": ["Letters", "Arn"]},
                                }
                            ],
                        },
                    }
                ],
            },
        },
    },
}
TEMPLATES = {stack.key: stack.template for stack in STACKS[:2]}


class Refusing:
    """A client that may not make some calls."""

    def __init__(self, client: Any, operations: set[str]) -> None:
        self.client, self.operations = client, operations

    def __getattr__(self, name: str) -> Any:
        if name in self.operations:
            return self.refuse
        return getattr(self.client, name)

    def get_paginator(self, name: str) -> Any:
        return self if name in self.operations else self.client.get_paginator(name)

    def refuse(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "Look")

    paginate = refuse


@dataclass
class House:
    """An environment of the stacks `foundation` and `lake`, and a small one with a policy of each kind."""

    aws: Aws
    folder: Path
    refused: set[str]

    @property
    def where(self) -> Environment:
        client: Callable[[str], Any] = lambda service: Refusing(self.aws.client(service), self.refused)  # noqa: E731
        return Environment("dev", client, self.aws.endpoint)

    def deploy(self) -> list[str]:
        """What `gavel deploy dev` changes."""
        where = Environment("dev", self.aws.client, self.aws.endpoint)
        return Deployment(where, plan(where, Wanted()), Manner(lambda question: True), lambda line: None).run().changed

    def command(self, *options: str) -> Result:
        return CliRunner().invoke(app, ["drift", "--environment", "dev", *options], obj=lambda name: self.where)

    def found(self) -> tuple[int, dict[str, Any]]:
        """The exit code, and what is printed as JSON."""
        done = self.command("--json")
        return done.exit_code, json.loads(done.stdout)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home, folder = Home(tmp_path_factory.mktemp("emulator") / "home"), tmp_path_factory.mktemp("house")
    (folder / "shop").write_text(json.dumps(SHOP), "utf-8")
    place = {"aws": {"account": ACCOUNT, "region": REGION}, "foundation": {"AlertEmail": "", "MonthlyUsd": "400"}}
    (folder / "dev.json").write_text(json.dumps(place), "utf-8")
    stacks = (*STACKS[:2], Stack("shop", folder / "shop", "-shop", ("CAPABILITY_NAMED_IAM",)))
    started = emulator.start(home)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(given, "PARAMETERS", folder)
            patch.setattr(given, "ROOT", folder)
            patch.setattr(given, "STACKS", stacks)
            patch.setattr(looking, "STACKS", stacks)
            patch.setattr(templates, "FILES", {**TEMPLATES, "shop": folder / "shop"})
            found = House(Aws(started.stack.endpoint), folder, set())
            assert found.deploy() == ["gavel-dev-foundation", "gavel-dev-lake", "gavel-dev-shop"]
            _set_what_the_emulator_leaves_out(found.aws)
            _record(started.stack.endpoint, on=True)
            yield found
    finally:
        emulator.halt(home, clean=False)
        emulator.clear_away(started.stack)


def _record(endpoint: str, *, on: bool) -> None:
    """Let the emulator's CloudTrail remember calls, or not."""
    body = json.dumps({"cloudtrail._recording_enabled": str(on).lower()}).encode()
    urllib.request.urlopen(f"{endpoint}/_ministack/config", body, timeout=20).close()


def _set_what_the_emulator_leaves_out(aws: Aws) -> None:
    """Its CloudFormation makes a table without these two, as `local.deploy` knows."""
    _recovery(aws, on=True)
    _ttl(aws, on=True)


@dataclass(frozen=True)
class Seed:
    """How something is changed by hand, what is said of it, and how it is set right again by hand."""

    part: str
    name: str
    what: str
    change: Callable[[Aws], Any]
    back: Callable[[Aws], Any]


def _url(aws: Aws) -> str:
    return str(aws.client("sqs").get_queue_url(QueueName=QUEUE)["QueueUrl"])


def _policy(aws: Aws) -> str:
    return str(
        aws.client("sqs").get_queue_attributes(QueueUrl=_url(aws), AttributeNames=["Policy"])["Attributes"]["Policy"]
    )


def _set(aws: Aws, **attributes: str) -> None:
    aws.client("sqs").set_queue_attributes(QueueUrl=_url(aws), Attributes=attributes)


def _allow_all(aws: Aws) -> None:
    document = json.loads(_policy(aws))
    document["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"})
    _set(aws, Policy=json.dumps(document))


def _allow_events(aws: Aws) -> None:
    document = json.loads(_policy(aws))
    _set(aws, Policy=json.dumps({**document, "Statement": document["Statement"][:1]}))


def _column(aws: Aws, kind: str) -> None:
    glue = aws.client("glue")
    table = glue.get_table(DatabaseName="gavel_landing_dev", Name="bids")["Table"]
    columns = table["StorageDescriptor"]["Columns"]
    storage = {**table["StorageDescriptor"], "Columns": [{**columns[0], "Type": kind}, *columns[1:]]}
    kept = ("Name", "Description", "PartitionKeys", "TableType", "Parameters")
    changed = {**{name: table[name] for name in kept}, "StorageDescriptor": storage}
    glue.update_table(DatabaseName="gavel_landing_dev", TableInput=changed)


def _trust(aws: Aws, *others: dict[str, Any]) -> None:
    document = json.dumps({**TRUST, "Statement": [*TRUST["Statement"], *others]})
    aws.client("iam").update_assume_role_policy(RoleName=ROLE, PolicyDocument=document)


def _recovery(aws: Aws, *, on: bool) -> None:
    to = {"PointInTimeRecoveryEnabled": on}
    aws.client("dynamodb").update_continuous_backups(TableName=ITEMS, PointInTimeRecoverySpecification=to)


def _ttl(aws: Aws, *, on: bool) -> None:
    to = {"Enabled": on, "AttributeName": "ttl"}
    aws.client("dynamodb").update_time_to_live(TableName=ITEMS, TimeToLiveSpecification=to)


def _stream(aws: Aws, **to: Any) -> None:
    aws.client("dynamodb").update_table(TableName=ITEMS, StreamSpecification=to)


def _protected(aws: Aws, *, on: bool) -> None:
    aws.client("dynamodb").update_table(TableName=ITEMS, DeletionProtectionEnabled=on)


def _versions(aws: Aws, status: str) -> None:
    aws.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})


def _block(aws: Aws, *, on: bool) -> None:
    to = {"BlockPublicPolicy": on, "RestrictPublicBuckets": True}
    aws.client("s3").put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=to)


def _days(aws: Aws, days: int) -> None:
    aws.client("logs").put_retention_policy(logGroupName=LOG, retentionInDays=days)


def _work(aws: Aws, *, on: bool) -> None:
    client = aws.client("lambda")
    (mapping,) = client.list_event_source_mappings(FunctionName="gavel-dev-worker")["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)


def _bucket_policy(aws: Aws, *others: dict[str, Any]) -> None:
    s3 = aws.client("s3")
    document = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    document["Statement"] = [*document["Statement"][:1], *others]
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(document))


def _reading(aws: Aws) -> None:
    aws.client("iam").create_policy_version(PolicyArn=READING, PolicyDocument=ANY, SetAsDefault=True)


def _read_less(aws: Aws) -> None:
    iam = aws.client("iam")
    first = iam.get_policy_version(PolicyArn=READING, VersionId="v1")["PolicyVersion"]["Document"]
    text = first if isinstance(first, str) else json.dumps(first)
    iam.create_policy_version(PolicyArn=READING, PolicyDocument=text, SetAsDefault=True)


FOREIGN = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}
ANY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
SEEDS = {
    "a queue's setting": Seed(
        "stacks", "Letters", "/DelaySeconds", lambda a: _set(a, DelaySeconds="0"), lambda a: _set(a, DelaySeconds="5")
    ),
    "a column": Seed(
        "tables", "gavel_landing_dev.bids", "column bid_id", lambda a: _column(a, "int"), lambda a: _column(a, "string")
    ),
    "an attached policy": Seed(
        "policies",
        ROLE,
        "attached policy",
        lambda a: a.client("iam").attach_role_policy(RoleName=ROLE, PolicyArn=ADMINISTRATOR),
        lambda a: a.client("iam").detach_role_policy(RoleName=ROLE, PolicyArn=ADMINISTRATOR),
    ),
    "an inline policy": Seed(
        "policies",
        ROLE,
        "inline policy more",
        lambda a: a.client("iam").put_role_policy(RoleName=ROLE, PolicyName="more", PolicyDocument=ANY),
        lambda a: a.client("iam").delete_role_policy(RoleName=ROLE, PolicyName="more"),
    ),
    "who may assume a role": Seed("policies", ROLE, "trust policy", lambda a: _trust(a, FOREIGN), _trust),
    "a boundary": Seed(
        "policies",
        ROLE,
        "permissions boundary",
        lambda a: a.client("iam").put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=ADMINISTRATOR),
        lambda a: a.client("iam").delete_role_permissions_boundary(RoleName=ROLE),
    ),
    "a role of no stack": Seed(
        "policies",
        BACKDOOR,
        "role",
        lambda a: a.client("iam").create_role(RoleName=BACKDOOR, AssumeRolePolicyDocument=json.dumps(TRUST)),
        lambda a: a.client("iam").delete_role(RoleName=BACKDOOR),
    ),
    "a queue's policy": Seed("policies", QUEUE, "queue policy", _allow_all, _allow_events),
    "a bucket's policy": Seed(
        "policies",
        BUCKET,
        "bucket policy",
        lambda a: _bucket_policy(a, {**FOREIGN, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}),
        _bucket_policy,
    ),
    "a managed policy": Seed("policies", "gavel-dev-reading", "managed policy", _reading, _read_less),
    "a policy that is not attached any more": Seed(
        "policies",
        ROLE,
        "attached policy",
        lambda a: a.client("iam").detach_role_policy(RoleName=ROLE, PolicyArn=READING),
        lambda a: a.client("iam").attach_role_policy(RoleName=ROLE, PolicyArn=READING),
    ),
    "a role's tag": Seed(
        "policies",
        ROLE,
        "tag domain",
        lambda a: a.client("iam").tag_role(RoleName=ROLE, Tags=[{"Key": "domain", "Value": "payments"}]),
        lambda a: a.client("iam").tag_role(RoleName=ROLE, Tags=[{"Key": "domain", "Value": "bids"}]),
    ),
    "one more tag of a role": Seed(
        "policies",
        ROLE,
        "tag more",
        lambda a: a.client("iam").tag_role(RoleName=ROLE, Tags=[{"Key": "more", "Value": "1"}]),
        lambda a: a.client("iam").untag_role(RoleName=ROLE, TagKeys=["more"]),
    ),
    "a queue's tag": Seed(
        "stacks",
        "Letters",
        "/Tags/0/Value",
        lambda a: a.client("sqs").tag_queue(QueueUrl=_url(a), Tags={"domain": "payments"}),
        lambda a: a.client("sqs").tag_queue(QueueUrl=_url(a), Tags={"domain": "bids"}),
    ),
    "versions": Seed(
        "stacks", "Data", "versioning", lambda a: _versions(a, "Suspended"), lambda a: _versions(a, "Enabled")
    ),
    "public access": Seed(
        "stacks", "Data", "BlockPublicPolicy", lambda a: _block(a, on=False), lambda a: _block(a, on=True)
    ),
    "recovery": Seed(
        "stacks",
        "Items",
        "point-in-time recovery",
        lambda a: _recovery(a, on=False),
        lambda a: _recovery(a, on=True),
    ),
    "time to live": Seed("stacks", "Items", "time to live", lambda a: _ttl(a, on=False), lambda a: _ttl(a, on=True)),
    "a stream": Seed(
        "stacks",
        "Items",
        "stream",
        lambda a: _stream(a, StreamEnabled=False),
        lambda a: _stream(a, StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"),
    ),
    "deletion protection": Seed(
        "stacks", "Items", "deletion protection", lambda a: _protected(a, on=False), lambda a: _protected(a, on=True)
    ),
    "days of a log": Seed("stacks", "Log", "retention in days", lambda a: _days(a, 1), lambda a: _days(a, 30)),
    "an alarm": Seed(
        "stacks",
        "Alarm",
        "actions",
        lambda a: a.client("cloudwatch").disable_alarm_actions(AlarmNames=[ALARM]),
        lambda a: a.client("cloudwatch").enable_alarm_actions(AlarmNames=[ALARM]),
    ),
    "a rule": Seed(
        "stacks",
        "Daily",
        "state",
        lambda a: a.client("events").disable_rule(Name=RULE),
        lambda a: a.client("events").enable_rule(Name=RULE),
    ),
    "a mapping": Seed("stacks", "Work", "state", lambda a: _work(a, on=False), lambda a: _work(a, on=True)),
}


@contextmanager
def seeded(house: House, *names: str) -> Iterator[None]:
    for name in names:
        SEEDS[name].change(house.aws)
    try:
        yield
    finally:
        for name in names:
            SEEDS[name].back(house.aws)


def test_what_has_just_been_deployed_has_not_drifted(house: House) -> None:
    code, found = house.found()
    assert (found["drifted"], found["unread"], code) == ([], [], 0)
    assert found["looks"]["now"]["parts"] == ["stacks", "tables", "policies", "who"]


def test_each_kind_of_drift_is_found_and_gone_when_it_is_set_right(house: House) -> None:
    with seeded(house, *SEEDS):
        code, found = house.found()
        said = {(one["part"], one["name"].split(" (")[0], one["what"]) for one in found["drifted"]}
        assert said == {(seed.part, seed.name, seed.what) for seed in SEEDS.values()}
        assert (code, found["unread"]) == (1, [])
        assert all(one["do"].endswith(".") and one["expected"] != one["found"] for one in found["drifted"])
    assert house.found()[0] == 0


def test_each_kind_is_taken_back_but_what_a_person_decides(house: House) -> None:
    for seed in SEEDS.values():
        seed.change(house.aws)
    try:
        refused = house.command("--repair")
        assert (refused.exit_code, house.found()[0]) == (1, 1), "nobody agreed"
        assert "--role-name gavel-dev-reader --policy-name more" in refused.stdout
        assert "it removes this document for good" in refused.stdout
        done = house.command("--repair", "--yes")
        assert "Failed" not in done.stdout
        assert "Still there" not in done.stdout
        assert f"aws iam delete-role --role-name {BACKDOOR}" in done.stdout
        _, found = house.found()
        assert [(one["name"], one["what"]) for one in found["drifted"]] == [(BACKDOOR, "role")]
        assert done.exit_code == 1
    finally:
        SEEDS["a role of no stack"].back(house.aws)
    assert house.found()[0] == 0
    again = house.command("--repair")
    assert (again.exit_code, "Nothing is taken back." in again.stdout) == (0, True)


def test_what_cannot_be_taken_back_is_said_and_keeps_nothing_else(house: House) -> None:
    with seeded(house, "an inline policy", "a queue's setting"):
        house.refused.add("delete_role_policy")
        try:
            done = house.command("--repair", "--yes")
        finally:
            house.refused.clear()
        assert done.exit_code == 1
        assert "Failed: aws iam delete-role-policy" in done.stdout
        assert "Taken back: 1 of 2." in done.stdout


def test_who_did_it_is_said_as_cloudtrail_knows_it(house: House) -> None:
    """The emulator's names nothing of IAM: `tests/unit/lakehouse/test_drift.py` has recorded answers for it."""
    with seeded(house, "a column"):
        _, found = house.found()
    (one,) = found["drifted"]
    assert one["who"].startswith("arn:aws:iam::000000000000:")
    assert one["since"] is not None


def test_what_is_gone_is_made_again_by_deploying_again(house: House) -> None:
    """Another template is here than the one that was deployed: that is drift until it is deployed."""
    document = json.loads(json.dumps(SHOP))
    document["Resources"]["Letters"]["Properties"]["DelaySeconds"] = 7
    (house.folder / "shop").write_text(json.dumps(document), "utf-8")
    try:
        _, found = house.found()
        assert [one["what"] for one in found["drifted"]] == ["template, resource Letters"]
        assert house.deploy() == ["gavel-dev-shop"]
        assert house.found()[0] == 0
    finally:
        (house.folder / "shop").write_text(json.dumps(SHOP), "utf-8")
        house.deploy()


@pytest.mark.parametrize("operation", ["get_role", "list_roles", "detect_stack_drift", "get_template", "get_tables"])
def test_what_cannot_be_read_hides_no_other_and_is_no_end(house: House, operation: str) -> None:
    hidden = {
        "get_role": ROLE, "list_roles": BACKDOOR, "detect_stack_drift": "Letters", "get_template": ROLE,
        "get_tables": "gavel_landing_dev.bids",
    }[operation]  # fmt: skip
    kinds = ("a queue's setting", "a column", "an attached policy", "a role of no stack")
    with seeded(house, *kinds):
        assert house.command("--report").exit_code == 1
        house.refused.add(operation)
        try:
            code, found = house.found()
            said = {one["name"].split(" (")[0] for one in found["drifted"]}
            assert (code, hidden in said, len(said) > 1) == (1, False, True)
            assert [one for one in found["unread"] if "AccessDenied" in one["why"]]
            assert house.command("--report").exit_code == 1
            kept = looking.reports(house.where)[0]["outside"]
            assert hidden in {one.name.split(" (")[0] for one in kept.drifted}, "it was there, and nobody saw it end"
        finally:
            house.refused.clear()
    assert house.command("--report").exit_code == 0
    assert looking.reports(house.where)[0]["outside"].drifted == ()
