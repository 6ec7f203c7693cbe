"""Each role of the pipeline may do what its code does, and no role what another one is for."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from botocore import xform_name
from botocore.session import Session

from lakehouse.erasure.operational import QUEUES
from tests.support.authorization import services
from tests.support.expanded import expanded, expanded_stack
from tests.support.policies import arns, listed, resolved
from tests.support.rights import ACCOUNT, MANAGED, PEOPLE, ROLES, denied, may, statements

ROOT = Path(__file__).parents[3]
BUCKET = f"s3:::gavel-prod-data-{ACCOUNT}"
SERVICES = ("athena", "cloudtrail", "cloudwatch", "dynamodb", "glue", "kms", "s3", "secretsmanager", "sns", "sqs")
AWS = services()

NAMED_BUT_NOT_CALLED = {
    # Words of the code that are operations of another service as well.
    "athena:GetDatabase",
    *("athena:GetSession", "dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:UpdateTable", "dynamodb:Query"),
    *("glue:CreateConnection", "glue:GetJob", "glue:GetSession", "kms:Decrypt", "kms:Encrypt"),
    "kms:Verify",  # proofs are verified with the public key, by whoever reads them
}
IAM_CALLS_IT = {
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CopyObject": "s3:PutObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListObjectsV2": "s3:ListBucket",
    "glue:BatchDeleteTableVersion": "glue:BatchDeleteTableVersion",
}


HAS_NONE_OF_OURS = {"cloudwatch:GetMetricData", "cloudwatch:PutMetricData", "ecs:DescribeTaskDefinition"}
"""Actions that AWS has come to know resources for, of which none is what is read here: see deploy/wildcards.yaml."""


def actions_in_code() -> set[str]:
    """The rights that the analytics path needs: operations of AWS that its code names."""
    names: set[str] = set()
    for package in ("lakehouse", "assets", "orchestration", "warehouse"):
        for module in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text("utf-8"))):
                if isinstance(node, ast.Attribute):
                    names.add(node.attr)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names.add(node.value)
    found = {
        f"{service}:{operation}"
        for service in SERVICES
        for operation in Session().get_service_model(service).operation_names
        if xform_name(operation) in names
    }
    found -= {"dynamodb:TransactWriteItems"}  # its parts are the rights
    return {IAM_CALLS_IT.get(action, action) for action in found - NAMED_BUT_NOT_CALLED}


def granted(role: str) -> set[str]:
    return {action for statement in statements(role, "prod") for action in statement["Action"]}


def test_what_the_code_calls_is_granted_to_runs_or_sensors() -> None:
    assert "glue:UpdateTable" in actions_in_code()
    assert actions_in_code() - granted("runs") - granted("code") == set()


@pytest.mark.parametrize("role", [*ROLES, *PEOPLE])
def test_every_action_exists_and_names_what_it_is_on(role: str) -> None:
    reasons = yaml.safe_load((ROOT / "deploy" / "wildcards.yaml").read_text("utf-8"))["roles"]
    for statement in statements(role, "prod"):
        assert "NotResource" not in statement or statement["Effect"] == "Deny", f"{role}: all but what is named"
        named = statement.get("Resource", ())
        for action in statement["Action"]:
            service, _, name = action.partition(":")
            known = AWS[service]["Actions"][name.lower()]
            if "*" in named:
                assert action in reasons, f"{role}: {action} on everything"
                assert not known.get("Resources") or action in HAS_NONE_OF_OURS, action
        for resource in named:
            assert resource == "*" or "gavel" in resource or resource in ("glue:catalog", "glue:database/default",
                "kms:key/data", "kms:key/signing", "secretsmanager:secret:rds!db-1"), (role, resource)  # fmt: skip


def test_every_exception_is_used() -> None:
    reasons = yaml.safe_load((ROOT / "deploy" / "wildcards.yaml").read_text("utf-8"))["roles"]
    people = (*ROLES, *PEOPLE)
    everywhere = {
        a for role in people for s in statements(role, "prod") if "*" in s.get("Resource", ()) for a in s["Action"]
    }
    assert set(reasons) == everywhere


def test_a_role_is_handed_over_by_the_daemon_alone_and_only_to_runs() -> None:
    (passing,) = (s for role in ROLES for s in statements(role, "prod") if "iam:PassRole" in s["Action"])
    assert sorted(passing["Resource"]) == ["iam:role/gavel-prod-runs", "iam:role/gavel-prod-start"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_every_role_is_taken_on_by_tasks_of_this_account_alone() -> None:
    roles = expanded_stack("pipeline", "prod")["Resources"]
    for name in ROLES.values():
        (trusted,) = roles[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trusted["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_iam_takes_every_role() -> None:
    """Inline policies of a role have at most 10,240 characters, and ten managed ones may be attached."""
    roles = expanded_stack("pipeline", "prod")["Resources"]
    for role, name in ROLES.items():
        text = json.dumps([s for s in statements(role, "prod") if "Action" in s], separators=(",", ":"))
        managed = roles[name]["Properties"].get("ManagedPolicyArns", ())
        assert len(managed) <= 10
        assert managed or len(text) < 9_000, role
    assert {
        json.dumps(a).rpartition("-")[2].rstrip('"}') for a in roles["RunRole"]["Properties"]["ManagedPolicyArns"]
    } == (set(MANAGED))


LAUNCHED = {"ecs__cluster": "ecs:cluster/gavel-prod", "iam__PassedToService": "ecs-tasks.amazonaws.com"}
RUN = "ecs:task-definition/gavel-prod-run:7"


@pytest.mark.parametrize(
    ("role", "holder", "action", "resource"),
    [
        ("web", "runs", "s3:GetObject", f"{BUCKET}/warehouse/customers/data/a.parquet"),
        ("web", "runs", "s3:PutObject", f"{BUCKET}/dagster-logs/a"),
        ("web", "daemon", "ecs:RunTask", RUN),
        ("web", "code", "s3:ListBucket", BUCKET),
        ("web", "daemon", "logs:GetLogEvents", "logs:log-group:/gavel/prod/dagster-run:log-stream:dagster/run/1"),
        ("web", "daemon", "iam:PassRole", "iam:role/gavel-prod-runs"),
        ("daemon", "runs", "s3:GetObject", f"{BUCKET}/landing/customers/a.parquet"),
        ("daemon", "web", "s3:GetObject", f"{BUCKET}/dagster-logs/a"),
        ("daemon", "start", "ecr:BatchGetImage", "ecr:repository/gavel-prod"),
        ("code", "runs", "s3:GetObject", f"{BUCKET}/landing/customers/a.parquet"),
        ("code", "runs", "s3:GetObject", f"{BUCKET}/warehouse/customers/data/a.parquet"),
        ("code", "runs", "s3:GetObject", f"{BUCKET}/erasures/1.sealed"),
        ("code", "runs", "s3:PutObject", f"{BUCKET}/warehouse/customers/metadata/a.json"),
        ("code", "runs", "glue:UpdateTable", "glue:table/gavel_prod/customers"),
        ("code", "runs", "dynamodb:Scan", "dynamodb:table/gavel-prod"),
        ("code", "runs", "kms:Sign", "kms:key/signing"),
        ("code", "runs", "sqs:DeleteMessage", "sqs:gavel-prod-inbound-dead-letters"),
        ("runs", "daemon", "ecs:RunTask", RUN),
        ("runs", "daemon", "iam:PassRole", "iam:role/gavel-prod-runs"),
        ("runs", "start", "secretsmanager:GetSecretValue", "secretsmanager:secret:rds!db-1"),
        ("start", "runs", "s3:GetObject", f"{BUCKET}/warehouse/a"),
        ("start", "runs", "secretsmanager:GetSecretValue", "secretsmanager:secret:gavel_prod/erasure-a1b2c3"),
    ],
)  # fmt: skip
def test_a_role_may_not_do_what_another_is_for(role: str, holder: str, action: str, resource: str) -> None:
    assert may(holder, "prod", action, resource, **LAUNCHED), "a call that nobody may make would prove nothing"
    assert not may(role, "prod", action, resource, **LAUNCHED)


@pytest.mark.parametrize(
    ("role", "action", "own", "other"),
    [
        ("daemon", "ecs:RunTask", RUN, "ecs:task-definition/another:1"),
        ("daemon", "iam:PassRole", "iam:role/gavel-prod-runs", "iam:role/gavel-prod-code"),
        ("daemon", "iam:PassRole", "iam:role/gavel-prod-start", "iam:role/administrator"),
        ("daemon", "ecs:StopTask", "ecs:task/gavel-prod/1", "ecs:task/another/1"),
        ("runs", "s3:GetObject", f"{BUCKET}/warehouse/a", f"s3:::gavel-test-data-{ACCOUNT}/warehouse/a"),
        ("runs", "s3:PutObject", f"{BUCKET}/warehouse/a", f"{BUCKET}/another/a"),
        ("runs", "dynamodb:PutItem", "dynamodb:table/gavel-prod", "dynamodb:table/gavel-test"),
        ("runs", "glue:UpdateTable", "glue:table/gavel_prod/customers", "glue:table/gavel_test/customers"),
    ],
)
def test_a_role_may_do_to_its_own_what_it_may_not_do_to_others(role: str, action: str, own: str, other: str) -> None:
    assert may(role, "prod", action, own, **LAUNCHED)
    assert not may(role, "prod", action, other, **LAUNCHED)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("action", "resource"),
    [("dynamodb:DeleteTable", "dynamodb:table/gavel-prod"), ("glue:DeleteDatabase", "glue:database/gavel_prod")],
)
def test_nobody_removes_what_a_stack_has_made(role: str, action: str, resource: str) -> None:
    service, _, name = action.partition(":")
    assert name.lower() in AWS[service]["Actions"]
    assert not may(role, "prod", action, resource)


def test_the_daemon_starts_watches_and_stops_runs() -> None:
    assert may("daemon", "prod", "ecs:RunTask", RUN, **LAUNCHED)
    assert not may("daemon", "prod", "ecs:RunTask", RUN, ecs__cluster="ecs:cluster/another")
    assert may("daemon", "prod", "iam:PassRole", "iam:role/gavel-prod-runs", **LAUNCHED)
    assert not may(
        "daemon", "prod", "iam:PassRole", "iam:role/gavel-prod-runs", iam__PassedToService="ec2.amazonaws.com"
    )
    watched = {(f"ecs:{action}", "ecs:task/gavel-prod/1") for action in ("StopTask", "DescribeTasks")}
    assert [*denied("daemon", "prod", watched)] == []


def test_an_erasure_reaches_every_queue_of_dead_letters() -> None:
    for queue in QUEUES:
        assert may("runs", "prod", "sqs:DeleteMessage", f"sqs:gavel-prod-{queue}-dead-letters")
        assert may("code", "prod", "sqs:GetQueueAttributes", f"sqs:gavel-prod-{queue}-dead-letters")


def test_maintenance_forgets_versions_of_every_entry() -> None:
    """Of landing tables, too: `lakehouse.publish.catalog.forget_versions`."""
    for database in ("gavel_landing_prod", "gavel_work_prod", "gavel_prod"):
        on = ("glue:catalog", f"glue:database/{database}", f"glue:table/{database}/orders")
        calls = {(f"glue:{a}", r) for a in ("GetTableVersions", "BatchDeleteTableVersion") for r in on}
        assert [*denied("runs", "prod", calls)] == []


def folders_that_are_written() -> set[str]:
    """The folders of the data bucket that a role of the stacks may write to."""
    found: set[str] = set()
    for stack in (expanded("prod"), expanded_stack("pipeline", "prod")):
        resources = stack["Resources"]
        for each in resources.values():
            own = each.get("Properties", {})
            documents = [p["PolicyDocument"] for p in own.get("Policies", ()) if isinstance(p, dict)]
            documents += [own["PolicyDocument"]] if each["Type"] == "AWS::IAM::ManagedPolicy" else []
            for statement in (s for d in documents for s in d["Statement"]):
                if statement["Effect"] == "Allow" and "s3:PutObject" in listed(statement["Action"]):
                    written = json.dumps(resolved(statement["Resource"], arns(resources, {"Environment": "prod"})))
                    found |= set(re.findall(r"gavel-prod-data-\d+/([^\"*]+)/", written))
    return found


def test_an_erasure_reads_whatever_somebody_writes() -> None:
    """It reads every version of all that is in the bucket, and takes away those that hold the person: one folder that
    it may not read, and no erasure ends."""
    folders = folders_that_are_written()
    assert {"figures", "health", "imports", "landing", "marts", "warehouse"} <= folders
    for folder in folders:
        calls = {(f"s3:{a}", f"{BUCKET}/{folder}/x") for a in ("GetObject", "GetObjectVersion", "DeleteObjectVersion")}
        assert [*denied("runs", "prod", calls)] == []
