"""The way back to an empty account: the page's commands, run by a shell, on a stand-in for AWS.

It refuses what AWS refuses to delete: a stack that is protected, or that others need; a database and a load balancer
that are protected; a cluster with a task; a policy that is a role's boundary; a bucket that is not empty.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.home import REPOSITORY
from ops.deployment.stacks import STACKS
from ops.deployment.templates import FILES
from tests.support.documents import Block, blocks
from tests.support.expanded import expanded, expanded_stack

PAGE = REPOSITORY / "docs" / "deploy.md"
SECTION = PAGE.read_text("utf-8").partition("## Back to an empty account")[2].partition("\n## ")[0]
REACHED = {
    "AWS::S3::Bucket": "aws s3api delete-bucket",
    "AWS::DynamoDB::Table": "aws dynamodb delete-table",
    "AWS::SQS::Queue": "aws sqs delete-queue",
    "AWS::Cognito::UserPool": "`delete-user-pool`",
    "AWS::Glue::Database": "aws glue delete-database",
    "AWS::Glue::Table": "aws glue delete-database",  # with its tables
    "AWS::RDS::DBInstance": "aws rds delete-db-snapshot",
    "AWS::ECR::Repository": "aws ecr delete-repository --force",
    "AWS::KMS::Key": "aws kms schedule-key-deletion",
    "AWS::IAM::OIDCProvider": "aws iam delete-open-id-connect-provider",
    "AWS::IAM::Role": "aws iam delete-role",
    "AWS::ApiGateway::Account": "aws iam delete-role",
    "AWS::LakeFormation::DataLakeSettings": "aws lakeformation put-data-lake-settings",
}
"""By which command of the page what a stack leaves is removed, by its type."""
STAND_IN = """#!{python} -SE
import json, sys
words, file = sys.argv[1:], "{state}"
world = json.load(open(file))
def option(name):
    return words[words.index("--" + name) + 1] if "--" + name in words else ""
def refuse(why):
    sys.exit(f"refused: {{' '.join(words)}}: {{why}}")
region = "home"
if words[0] == "--region":
    region, words = words[1], words[2:]
    region = "home" if region == "eu-west-1" else region
match words[:2]:
    case ["cloudformation", "update-termination-protection"]:
        world["protected"].remove("stack")
    case ["rds", "modify-db-instance"]:
        world["protected"].remove("database")
    case ["elbv2", "modify-load-balancer-attributes"]:
        option("load-balancer-arn") == "balancer" or refuse("no such balancer")
        world["protected"].remove("balancer")
    case ["dynamodb", "update-table"]:
        pass
    case ["elbv2", "describe-load-balancers"]:
        print("balancer")
    case ["cloudformation", "describe-stack-resource"]:
        option("stack-name") in world["stacks"] or refuse("no such stack")
        print("gateway-role")
    case ["iam", "delete-role-permissions-boundary"]:
        option("role-name") == "gateway-role" or refuse("no such role")
        world["bounded"] = False
    case ["ecs", "update-service"]:
        world["daemon"] = int(option("desired-count"))
    case ["ecs", "wait"]:
        world["daemon"] and refuse("it starts runs")
        world["awaited"] = True
    case ["ecs", "list-tasks"]:
        world["awaited"] or refuse("the daemon may start another run")
        print(*world["tasks"])
    case ["ecs", "stop-task"]:
        world["tasks"].remove(option("task"))
    case ["cloudformation", "delete-stack"]:
        name = option("stack-name")
        if name in world["stacks"]:
            stack = world["stacks"][name]
            stack["region"] == region or refuse("it is in " + stack["region"])
            users = [n for n, s in world["stacks"].items() if name in s["uses"]]
            users and refuse("in use by " + ", ".join(users))
            for what, of in world["holds"].items():
                of == name and what in world["protected"] and refuse(what + " is protected")
            name.endswith("-pipeline") and world["tasks"] and refuse("the cluster has tasks")
            name.endswith("-delivery") and world["bounded"] and refuse("a role has the boundary")
            del world["stacks"][name]
            world["order"].append(name)
    case ["cloudformation", "wait"]:
        option("stack-name") not in world["stacks"] or refuse("it is there")
    case ["sts", "get-caller-identity"]:
        print("111122223333")
    case ["s3api", "put-bucket-lifecycle-configuration"]:
        rules = json.loads(option("lifecycle-configuration"))["Rules"]
        world["rules"][option("bucket")] = rules
    case ["s3api", "delete-bucket"]:
        option("bucket") in world["emptied"] or refuse("it is not empty")
        world["buckets"].remove(option("bucket"))
    case _:
        refuse("unknown")
json.dump(world, open(file, "w"))
"""


def resources() -> Iterator[tuple[str, dict[str, Any]]]:
    """The resources of all stacks of an environment, with the stack's key."""
    for key in FILES:
        made = expanded("prod") if key == "realtime" else expanded_stack(key, "prod")
        yield from ((key, resource) for resource in made["Resources"].values())


def named(resource: dict[str, Any]) -> str:
    """A bucket's name in the environment dev."""
    text = resource["Properties"]["BucketName"]["Fn::Sub"]
    return str(text.replace("${Environment}", "dev").replace("${AWS::AccountId}", "111122223333"))


def world() -> dict[str, Any]:
    """An environment as it stands, all of it protected, and at work."""
    name = {stack.key: stack.name("dev") for stack in STACKS}
    stacks = {
        name[stack.key]: {
            "region": stack.region or "home",
            "uses": [name[source.partition(".")[0]] for source in stack.outputs.values()],
        }
        for stack in STACKS
    }
    for key, stack in stacks.items():
        if key != name["delivery"]:
            stack["uses"].append(name["delivery"])  # CloudFormation deletes them by its role
    return {
        "stacks": stacks, "protected": ["stack", "database", "balancer"], "bounded": True, "daemon": 1,
        "awaited": False,
        "holds": {"stack": name["realtime"], "database": name["pipeline"], "balancer": name["pipeline"]},
        "tasks": ["run-1", "run-2"], "order": [], "rules": {}, "emptied": [],
        "buckets": [named(r) for _, r in resources() if r["Type"] == "AWS::S3::Bucket"],
    }  # fmt: skip


def commands() -> list[Block]:
    start = PAGE.read_text("utf-8").partition("## Back to an empty account")[0].count("\n")
    end = start + SECTION.count("\n")
    return [b for b in blocks() if b.page == PAGE and start < b.line <= end and b.info == "sh aws"]


class Shell:
    """A shell whose `aws` is the stand-in."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state.json"
        self._state.write_text(json.dumps(world()), "utf-8")
        program = folder / "aws"
        program.write_text(STAND_IN.format(python=sys.executable, state=self._state), "utf-8")
        program.chmod(0o755)
        self._variables = {"PATH": f"{folder}:{os.environ['PATH']}", "AWS_REGION": "eu-west-1"}

    def __call__(self, text: str) -> tuple[dict[str, Any], str]:
        """Run commands; returns what is left of the environment, and what was refused."""
        command = ["bash", "-c", text]
        done = subprocess.run(command, env=self._variables, capture_output=True, text=True, check=False)
        return self.world(), done.stderr

    def world(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._state.read_text("utf-8"))
        return found

    def change(self, **values: Any) -> None:
        self._state.write_text(json.dumps(self.world() | values), "utf-8")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_the_commands_leave_neither_stack_nor_bucket(shell: Shell) -> None:
    *first, deleting = commands()
    after, complaints = shell("\n".join(block.text for block in first))
    assert complaints == ""
    assert after["stacks"] == {}
    assert after["order"][-1] == "gavel-dev-delivery"
    assert set(after["rules"]) == set(after["buckets"]), "each bucket is emptied, and no other is named"
    for rules in after["rules"].values():
        kinds = {kind for rule in rules for kind in rule if kind not in ("ID", "Status", "Filter")}
        assert kinds == {"Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"}
    shell.change(emptied=after["buckets"])  # a day or two later
    account = re.search(r"^ACCOUNT=.*$", "\n".join(block.text for block in first), re.MULTILINE)
    assert account is not None
    after, complaints = shell(f"ENVIRONMENT=dev\n{account[0]}\n{deleting.text}")
    assert (after["buckets"], complaints) == ([], "")


@pytest.mark.parametrize(
    ("left_out", "complaint"),
    [
        ("update-termination-protection", "stack is protected"),
        ("modify-db-instance", "database is protected"),
        ("modify-load-balancer-attributes", "balancer is protected"),
        ("stop-task", "the cluster has tasks"),
        ("delete-role-permissions-boundary", "a role has the boundary"),
    ],
)
def test_each_command_before_the_stacks_is_needed(shell: Shell, left_out: str, complaint: str) -> None:
    """And the stand-in refuses what AWS refuses."""
    text = "\n".join(block.text for block in commands()[:2])
    text = text.replace(f"aws iam {left_out}", f": {left_out}").replace(
        f"{left_out} ", f"sts get-caller-identity {left_out} "
    )
    after, complaints = shell(text)
    assert complaint in complaints
    assert after["stacks"]


def test_a_bucket_that_is_not_empty_is_not_deleted(shell: Shell) -> None:
    after, complaints = shell(f"ENVIRONMENT=dev ACCOUNT=111122223333\n{commands()[-1].text}")
    assert len(after["buckets"]) == complaints.count("refused") == 7


def test_all_that_a_stack_leaves_is_reached_by_a_command() -> None:
    """And what is left has a name in the table."""
    left = {r["Type"] for _, r in resources() if r.get("DeletionPolicy", "Delete") != "Delete"}
    assert left == set(REACHED)
    assert [kind for kind, command in REACHED.items() if command not in SECTION] == []


def test_versions_log_groups_and_what_shifts_calls_go_with_their_stack() -> None:
    going = {"AWS::Lambda::Version", "AWS::Logs::LogGroup", "AWS::CodeDeploy::Application", "AWS::Athena::WorkGroup"}
    found = [r for _, r in resources() if r["Type"] in going]
    assert {r["Type"] for r in found} == going
    assert {r.get("DeletionPolicy", "Delete") for r in found} == {"Delete"}
    workgroups = [r["Properties"] for r in found if r["Type"] == "AWS::Athena::WorkGroup"]
    assert all(w.get("RecursiveDeleteOption") for w in workgroups), "one that was used is not empty"


def test_no_role_that_stays_holds_the_boundary_but_the_one_that_is_let_go() -> None:
    made = expanded("prod")["Resources"]
    kept = {
        n for n, r in made.items() if r["Type"] == "AWS::IAM::Role" and r.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == {"GatewayRole"}
    assert "PermissionsBoundary" in made["GatewayRole"]["Properties"]
    assert "--logical-resource-id GatewayRole" in SECTION
    assert not [
        r for k, r in resources() if k != "realtime" and r["Type"] == "AWS::IAM::Role" and "DeletionPolicy" in r
    ]
