"""`gavel deploy` on the emulator's CloudFormation, which makes change sets as AWS does.

Small stacks show the rules; the product's own, as far as the emulator knows their resources (it has no rules of
security groups and no secret of RDS, so not the pipeline), show that they are brought up and left alone.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from local import emulator
from local.aws import CREDENTIALS, REGION, Aws
from local.home import Home
from ops.command_line import app
from ops.deployment import change_sets, deploying, following, given, templates
from ops.deployment.change_sets import DeploymentError
from ops.deployment.deploying import Deployment, Manner, Outcome
from ops.deployment.given import Wanted, plan
from ops.deployment.stacks import ROOT, STACKS, Stack
from ops.drift.looking import look
from ops.environment import Environment
from realtime import bundle
from tests.support.emulated import emulated

pytestmark = pytest.mark.stack

FIRST: dict[str, Any] = {
    "Parameters": {"Title": {"Type": "String", "Default": "a title"}},
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Title"}}}},
    "Outputs": {"TopicArn": {"Value": {"Ref": "Topic"}}},
}
TABLE: dict[str, Any] = {
    "Type": "AWS::DynamoDB::Table",
    "DeletionPolicy": "Retain",
    "UpdateReplacePolicy": "Retain",
    "Properties": {
        "TableName": {"Fn::Sub": "${AWS::StackName}-a"},
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": {"Ref": "KeyName"}, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": {"Ref": "KeyName"}, "KeyType": "HASH"}],
    },
}
SECOND: dict[str, Any] = {
    "Parameters": {"KeyName": {"Type": "String"}, "Alerts": {"Type": "String"}},
    "Resources": {"Table": TABLE},
    "Outputs": {"TableName": {"Value": {"Ref": "Table"}}},
}
THIRD: dict[str, Any] = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
IN_NO_DATABASE = {"CatalogId": "000000000000", "DatabaseName": "nowhere", "TableInput": {"Name": "t"}}
WITHOUT_PIPELINE = Wanted(without_pipeline=True)
numbers = count()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An emulator of this file's own, with nothing deployed."""
    home = Home(tmp_path_factory.mktemp("emulator") / "home")
    started = emulator.start(home)
    try:
        yield Aws(started.stack.endpoint)
    finally:
        emulator.halt(home, clean=False)
        emulator.clear_away(started.stack)


@dataclass
class Small:
    """Three small stacks of an environment, with names that no other test uses."""

    aws: Aws
    folder: Path
    name: str
    templates: dict[str, dict[str, Any]]
    parameters: dict[str, dict[str, str]]
    client: Callable[[str], Any] = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.aws.client

    @property
    def names(self) -> list[str]:
        return [f"gavel-dev-{self.name}-{key}" for key in self.templates]

    @property
    def where(self) -> Environment:
        self.write()
        return Environment("dev", self.client, self.aws.endpoint)

    def rows(self) -> tuple[Stack, ...]:
        return (
            Stack("first", self.folder / "first", f"-{self.name}-first", shown=("TopicArn",)),
            Stack(
                "second",
                self.folder / "second",
                f"-{self.name}-second",
                outputs={"Alerts": "first.TopicArn"},
                protected=True,
                then=("Fill {TableName}.",),
            ),
            Stack("third", self.folder / "third", f"-{self.name}-third"),
        )

    def write(self) -> None:
        """Templates and parameters as they are now."""
        for key, document in self.templates.items():
            (self.folder / key).write_text(json.dumps(document), "utf-8")
        place = {"aws": {"account": "000000000000", "region": REGION}}
        (self.folder / "dev.json").write_text(json.dumps(place | self.parameters), "utf-8")

    def command(self, *options: str, answers: str = "") -> Result:
        """What a person types, with what they answer."""
        return CliRunner().invoke(app, ["deploy", "dev", *options], input=answers, obj=lambda name: self.where)

    def run(self, ask: Callable[[str], bool] = lambda prompt: True, say: Callable[[str], None] = print) -> Outcome:
        where = self.where
        return Deployment(where, plan(where, Wanted()), Manner(ask), say).run()

    def states(self) -> dict[str, str]:
        cloudformation = self.aws.client("cloudformation")
        found = {name: change_sets.described(cloudformation, name) for name in self.names}
        return {name: there["StackStatus"] for name, there in found.items() if there}

    def updated(self) -> list[Any]:
        """When each stack was last changed."""
        cloudformation = self.aws.client("cloudformation")
        return [cloudformation.describe_stacks(StackName=n)["Stacks"][0].get("LastUpdatedTime") for n in self.names]

    def tags(self) -> list[dict[str, str]]:
        """The tags of each stack, which rights of deployments go by."""
        cloudformation = self.aws.client("cloudformation")
        stacks = [cloudformation.describe_stacks(StackName=name)["Stacks"][0] for name in self.names]
        return [{tag["Key"]: tag["Value"] for tag in stack["Tags"]} for stack in stacks]


@pytest.fixture
def small(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    documents: dict[str, dict[str, Any]] = {"first": FIRST, "second": SECOND, "third": THIRD}
    made = Small(aws, tmp_path, f"n{next(numbers)}", documents, {"second": {"KeyName": "id"}})
    monkeypatch.setattr(given, "PARAMETERS", tmp_path)
    monkeypatch.setattr(given, "ROOT", tmp_path)
    monkeypatch.setattr(given, "STACKS", made.rows())
    monkeypatch.setattr(templates, "FILES", {row.key: row.template for row in made.rows()})
    return made


def test_an_empty_account_is_brought_up_and_run_again_nothing_changes(small: Small) -> None:
    looked = small.command("--dry-run")
    assert looked.exit_code == 3, looked.output
    assert "add         Topic" in looked.output
    assert small.states() == {}, "a dry run leaves nothing"

    done = small.command("--yes")
    assert done.exit_code == 0, done.output
    assert f"Changed: {', '.join(small.names)}" in done.output
    assert f"{small.names[1]}: is now protected from deletion" in done.output
    assert "TopicArn            arn:aws:sns:" in done.output
    assert "Next: Fill " in done.output
    assert small.states() == dict.fromkeys(small.names, "CREATE_COMPLETE")
    assert small.tags() == [{"application": "gavel", "environment": "dev"}] * 3

    before = small.updated()
    again = small.command()
    assert again.exit_code == 0, again.output
    assert again.output.count(": no changes") == 3
    assert "Changed: nothing" in again.output
    assert small.updated() == before
    assert small.command("--dry-run").exit_code == 0


def test_one_changed_parameter_changes_its_stack_alone(small: Small) -> None:
    small.run()
    small.parameters["first"] = {"Title": "another title"}
    looked = small.command("--dry-run")
    assert looked.exit_code == 3
    assert f"Would change: {small.names[0]}\n" in looked.output
    assert "change      Topic" in looked.output
    assert "(DisplayName)" in looked.output
    assert small.run().changed == [small.names[0]]
    assert small.command("--dry-run").exit_code == 0


def test_a_stack_that_fails_is_named_with_its_reason_and_made_again(small: Small) -> None:
    broken = {"Type": "AWS::Glue::Table", "DependsOn": "Table", "Properties": IN_NO_DATABASE}
    small.templates["second"] = {**SECOND, "Resources": {"Table": TABLE | {"DeletionPolicy": "Delete"}, "Bad": broken}}
    failed = small.command("--yes")
    assert failed.exit_code == 1
    assert f"{small.names[1]} ended with ROLLBACK_COMPLETE" in failed.output
    assert "Bad (AWS::Glue::Table): " in failed.output
    assert "Database nowhere not found" in failed.output
    assert small.states() == {small.names[0]: "CREATE_COMPLETE", small.names[1]: "ROLLBACK_COMPLETE"}

    small.templates["second"] = SECOND
    refused = small.command(answers="n\n")
    assert refused.exit_code == 1
    assert "Remove it and make it again?" in refused.output
    assert small.states()[small.names[1]] == "ROLLBACK_COMPLETE"
    mended = small.command("--yes")
    assert mended.exit_code == 0, mended.output
    assert small.states() == dict.fromkeys(small.names, "CREATE_COMPLETE")


def test_what_cloudformation_finds_before_it_begins_is_said(small: Small) -> None:
    """A bucket of an environment that was removed is still there: its reason is in another place than the others."""
    small.aws.client("s3").create_bucket(
        Bucket=f"kept-{small.name}", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": f"kept-{small.name}"}}
    small.templates["third"] = {"Resources": {"Bucket": bucket}}
    failed = small.command("--yes")
    assert failed.exit_code == 1
    assert f"identifier 'kept-{small.name}' already exists" in failed.output


def test_a_replaced_table_is_refused_unless_it_is_named(small: Small) -> None:
    table = small.run().outputs["second"]["TableName"]
    small.parameters["second"] = {"KeyName": "another"}
    assert "MAY REPLACE Table" in small.command("--dry-run").output
    small.parameters["second"] = {"KeyName": "id"}
    small.templates["second"] = json.loads(json.dumps(SECOND).replace("StackName}-a", "StackName}-b"))
    for options in (("--yes",), ("--dry-run",), ("--yes", "--replace-data", "Queue")):
        refused = small.command(*options)
        assert refused.exit_code == 1
        assert "REPLACE     Table" in refused.output
        assert "HOLDS DATA: what is there stays behind" in refused.output
        assert "--replace-data Table" in refused.output
    assert small.aws.client("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    done = small.command("--yes", "--replace-data", "Table")
    assert done.exit_code == 0, done.output

    topic = {"Type": "AWS::SNS::Topic"}
    small.templates["second"] = {"Parameters": SECOND["Parameters"], "Resources": {"Topic": topic}}
    removed = small.command("--yes")
    assert removed.exit_code == 1
    assert "REMOVE      Table" in removed.output


def test_the_stack_of_the_image_waits_for_it_and_keeps_it(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = small.rows()
    monkeypatch.setattr(given, "STACKS", (*rows[:2], replace(rows[2], image="Image", waits_for="third.Image")))
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Image"}}}
    small.templates["third"] = {"Parameters": {"Image": {"Type": "String"}}, "Resources": {"Topic": topic}}
    ecr = small.aws.client("ecr")
    ecr.create_repository(repositoryName=small.name)

    def pushed(manifest: str) -> str:
        image = ecr.put_image(repositoryName=small.name, imageManifest=manifest)["image"]["imageId"]
        return f"000000000000.dkr.ecr.{REGION}.amazonaws.com/{small.name}@{image['imageDigest']}"

    first = small.command("--yes")
    assert first.exit_code == 0, first.output
    assert "Left for later: third, until third.Image is given" in first.output
    assert list(small.states()) == small.names[:2]
    not_there = small.command("--yes", "--image", pushed("{}")[:-64] + "a" * 64)
    assert "expected an image that was pushed" in not_there.output
    made = small.command("--yes", "--image", pushed("{}"))
    assert f"Changed: {small.names[2]}\n" in made.output
    assert "Changed: nothing" in small.command("--yes").output
    assert "Changed: nothing" in small.command("--yes", "--without-pipeline").output
    next_one = small.command("--yes", "--image", pushed('{"layers": []}'))
    assert f"Changed: {small.names[2]}\n" in next_one.output


def test_a_no_leaves_everything_as_it_was(small: Small) -> None:
    for answer in ("n\n", ""):  # no, and nobody there
        assert small.command(answers=answer).exit_code == 1
        assert small.states() == {}
    said = small.command(answers="y\nn\n")
    assert said.exit_code == 1
    assert small.states() == {small.names[0]: "CREATE_COMPLETE"}
    assert "the stacks after it were not looked at" in said.output


@contextmanager
def recorded(aws: Aws, services: Sequence[str]) -> Iterator[set[str]]:
    """The calls of the shared clients meanwhile, as rights name them."""
    calls: set[str] = set()

    def record(model: Any, **_: Any) -> None:
        calls.add(f"{model.service_model.service_name}:{model.name}")

    for service in services:
        aws.client(service).meta.events.register("before-call", record, unique_id="recorded")
    try:
        yield calls
    finally:
        for service in services:
            aws.client(service).meta.events.unregister("before-call", unique_id="recorded")


class KilledError(BaseException):
    """The process ended."""


def test_a_run_that_is_killed_after_any_call_is_gone_on_with(small: Small) -> None:
    """Each run lives a call longer than the one before, until one comes to the end."""

    def mortal(calls: int) -> Callable[[str], Any]:
        left = count(calls, -1)

        class Client:
            def __init__(self, service: str) -> None:
                self.real = small.aws.client(service)

            def __getattr__(self, name: str) -> Any:
                found = getattr(self.real, name)
                return counted(found) if callable(found) and name != "get_paginator" else found

            def get_paginator(self, name: str) -> Any:
                next(left)
                return self.real.get_paginator(name)

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def made(**arguments: Any) -> Any:
                answer = call(**arguments)
                if next(left) <= 0:
                    raise KilledError
                return answer

            return made

        return Client

    for calls in count(2):
        small.client = mortal(calls)
        try:
            small.run(say=lambda line: None)
        except KilledError:
            continue
        break
    assert calls > 20
    assert small.states() == dict.fromkeys(small.names, "CREATE_COMPLETE")
    small.client = small.aws.client
    assert small.run().changed == []
    described = small.aws.client("cloudformation").describe_stacks(StackName=small.names[1])["Stacks"][0]
    assert described["EnableTerminationProtection"] is True


def test_what_another_run_began_is_waited_for(small: Small) -> None:
    """A wait condition holds the stack until it is signalled: when this run says that it waits."""
    small.templates["third"] = {
        "Resources": {
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
            "Held": {
                "Type": "AWS::CloudFormation::WaitCondition",
                "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "60"},
            },
        }
    }
    small.write()
    cloudformation = small.aws.client("cloudformation")
    body = json.dumps(small.templates["third"])
    made = change_sets.propose(cloudformation, change_sets.Request(small.names[2], {"TemplateBody": body}, {}, ()))
    assert made is not None
    cloudformation.execute_change_set(ChangeSetName=made.arn)
    said = []

    def signal(line: str) -> None:
        said.append(line)
        if "another run began CREATE_IN_PROGRESS" in line:
            where = {"StackName": small.names[2], "LogicalResourceId": "Handle"}
            found = following.until(lambda: cloudformation.describe_stack_resources(**where)["StackResources"] or None)
            done = json.dumps({"Status": "SUCCESS", "UniqueId": "1", "Data": "", "Reason": ""}).encode()
            request = urllib.request.Request(found[0]["PhysicalResourceId"], done, {"Content-Type": ""}, method="PUT")
            urllib.request.urlopen(request, timeout=10).close()

    assert small.run(say=signal).changed == small.names[:2]
    assert [line for line in said if "another run began" in line]
    assert small.states()[small.names[2]] == "CREATE_COMPLETE"


def test_of_two_at_once_one_says_so(small: Small) -> None:
    def meanwhile(prompt: str) -> bool:
        small.run()
        return True

    with pytest.raises(DeploymentError, match="another run deploys it at this moment"):
        small.run(ask=meanwhile)
    assert small.run().changed == []


def test_the_stacks_of_the_product_are_brought_up_and_left_alone(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the pipeline and people who sign in. pip downloads nothing: the bundles get what is installed here."""

    def regional(service: str, region: str) -> Any:
        keys = {name: CREDENTIALS[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
        session: Any = boto3.session.Session
        return session(region_name=region, **keys).client(service, endpoint_url=aws.endpoint)

    certificate = regional("acm", "us-east-1").request_certificate(DomainName="*.gavel.example")["CertificateArn"]
    given_now: dict[str, Any] = json.loads((given.PARAMETERS / "dev.json").read_text("utf-8"))
    given_now["aws"] = {"account": "000000000000", "region": REGION}
    given_now["realtime"]["Firewall"] = "OFF"  # the emulator has nothing that stands before an API
    given_now["dashboard"] |= {"Domain": "staff.gavel.example", "CertificateArn": certificate}
    monkeypatch.setattr(given, "PARAMETERS", tmp_path)
    monkeypatch.setattr(
        bundle, "_downloaded", lambda names, target: {k: v for name in names for k, v in bundle._installed(name)}
    )
    monkeypatch.setattr("ops.deployment.parts.OUTPUT", tmp_path / "bundles")
    provider = "arn:aws:iam::000000000000:oidc-provider/token.actions.githubusercontent.com"
    given_now["delivery"] |= {"Repository": "house/gavel", "ProviderArn": provider}
    as_it_is = deploying.template
    monkeypatch.setattr(deploying, "template", lambda *of: emulated(as_it_is(*of)))
    monkeypatch.setattr("ops.drift.stacks.template", deploying.template)
    names = [s.name("dev") for s in STACKS if s.key not in ("pipeline", "governance", "delivery")]

    def run(dry: bool = False, wanted: Wanted = WITHOUT_PIPELINE) -> Outcome:
        (tmp_path / "dev.json").write_text(json.dumps(given_now), "utf-8")
        where = Environment("dev", aws.client, aws.endpoint, regional=regional)
        return Deployment(where, plan(where, wanted), Manner(lambda prompt: True, dry), lambda line: None).run()

    rights = run(wanted=Wanted(delivery=True))
    assert rights.changed == ["gavel-dev-delivery"]
    given_out = rights.outputs["delivery"]
    assert given_out["DeployRoleArn"].endswith(":role/gavel-dev-deploy")
    assert run(wanted=Wanted(delivery=True)).changed == []
    first = run()
    assert first.changed == names
    boundary = next(
        p["ParameterValue"]
        for p in aws.client("cloudformation").describe_stacks(StackName="gavel-dev")["Stacks"][0]["Parameters"]
        if p["ParameterKey"] == "Boundary"
    )
    assert boundary == given_out["BoundaryArn"]
    bucket = first.outputs["foundation"]["CodeBucketName"]
    keys = {o["Key"] for o in aws.client("s3").list_objects_v2(Bucket=bucket, Prefix="bundles/")["Contents"]}
    code = aws.client("lambda").get_function_configuration(FunctionName="gavel-dev-api")
    assert len(keys) == len(bundle.FUNCTIONS)
    assert (code["Runtime"], code["Architectures"]) == ("python3.13", ["arm64"])
    rules = regional("cloudformation", "us-east-1").describe_stacks(StackName="gavel-dev-firewall")["Stacks"][0]
    assert rules["StackId"].split(":")[3] == "us-east-1"
    assert run().changed == []
    looked = look(Environment("dev", aws.client, aws.endpoint, regional=regional))
    bounded = [one for one in looked.drifted if one.what == "permissions boundary"]
    assert all(one.expected == boundary and one.found == "none" for one in bounded)
    unmade = {"permissions boundary", "point-in-time recovery", "time to live"}  # the emulator sets none of them
    assert ([one for one in looked.drifted if one.what not in unmade], looked.unread) == ([], ())
    given_now["realtime"]["Mfa"] = "ON"
    with recorded(aws, ("sts", "cloudformation", "s3", "ecr")) as calls:
        assert run(dry=True).changed == ["gavel-dev"]
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    listed = set(re.findall(r"`(\w+:\w+)`", page[page.index("**Rights of who runs it.**") :].split("\n\n", 1)[0]))
    assert {"s3:PutObject", "cloudformation:CreateChangeSet"} <= calls <= listed
    assert {o["Key"] for o in aws.client("s3").list_objects_v2(Bucket=bucket, Prefix="bundles/")["Contents"]} == keys
