"""`gavel-ops drift` on the emulator, whose CloudFormation detects drift as AWS documents it: nothing in what has just
been deployed, a seeded drift of each kind with who did it, and nothing again after deploying again."""

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
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
SHOP: dict[str, Any] = {
    "Parameters": {"Days": {"Type": "Number", "Default": 14}},
    "Resources": {
        "Data": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": BUCKET}},
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
        "Letters": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": QUEUE, "DelaySeconds": 5}},
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
            _record(started.stack.endpoint, on=True)
            yield found
    finally:
        emulator.halt(home, clean=False)
        emulator.clear_away(started.stack)


def _record(endpoint: str, *, on: bool) -> None:
    """Let the emulator's CloudTrail remember calls, or not."""
    body = json.dumps({"cloudtrail._recording_enabled": str(on).lower()}).encode()
    urllib.request.urlopen(f"{endpoint}/_ministack/config", body, timeout=20).close()


@dataclass(frozen=True)
class Seed:
    """How something is changed by hand, what is said of it, and how it is taken away again where CloudFormation does
    not do it by deploying again."""

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
            kept = looking.reports(house.where)["outside"]
            assert hidden in {one.name.split(" (")[0] for one in kept.drifted}, "it was there, and nobody saw it end"
        finally:
            house.refused.clear()
    assert house.command("--report").exit_code == 0
    assert looking.reports(house.where)["outside"].drifted == ()
