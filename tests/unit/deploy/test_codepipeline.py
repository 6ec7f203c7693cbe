"""Deployments from CodePipeline: they run what those on GitHub run, and each role does its part alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from string import Template
from typing import Any

import pytest
import yaml

from local.home import REPOSITORY
from ops.deployment.templates import FILES
from tests.support.expanded import CODEPIPELINE, expanded_file, expanded_stack
from tests.support.policies import ACCOUNT, REGION, Statement, allowed, documents, listed, resolved
from tests.support.workflows import FOLDER, PARTS, TARGETS, choices, filled, typed, workflow

SPECS = sorted((REPOSITORY / "deploy" / "buildspecs").glob("*.yaml"))
RESOURCES = dict(expanded_file(CODEPIPELINE)["Resources"])
ENVIRONMENTS = ("dev", "test", "prod")
IAM = f"arn:aws:iam::{ACCOUNT}"
BUCKET = f"arn:aws:s3:::gavel-codepipeline-artifacts-{ACCOUNT}"
CONNECTION = f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/1"
NAMES = {"Artifacts": BUCKET, "ConnectionArn": CONNECTION, "Repository": "house/gavel",
    "Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"}  # fmt: skip
BEFORE = {
    "apt-get update -qq",
    "apt-get install -qq -y --no-install-recommends skopeo",
    'install -D "$CODEBUILD_SRC_DIR_Image/image.tar" build/image.tar',
    'export DIGEST="$(jq -r \'.["containerimage.digest"] // empty\' "$CODEBUILD_SRC_DIR_Image/image.json")"',
}
"""What GitHub has on its machines, or does by an action or an output of a job: nothing else stands before a build."""


def spec(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((REPOSITORY / name).read_text("utf-8")))


def actions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each action with its stage, in the order in which they run; those of a stage that run at once, as written."""
    for stage in RESOURCES["Pipeline"]["Properties"]["Stages"]:
        for action in sorted(stage["Actions"], key=lambda a: int(a.get("RunOrder", 1))):
            yield stage["Name"], action


def project_of(action: dict[str, Any]) -> dict[str, Any]:
    return dict(RESOURCES[action["Configuration"]["ProjectName"]["Ref"]]["Properties"])


@pytest.mark.parametrize("file", SPECS, ids=lambda file: file.stem)
def test_a_command_is_one_that_exists(file: Any) -> None:
    phases = spec(f"deploy/buildspecs/{file.name}")["phases"]
    assert set(phases) <= {"install", "pre_build", "build"}, "CodeBuild goes on to post_build after a failure"
    assert {c for name in ("install", "pre_build") for c in phases.get(name, {}).get("commands", ())} <= BEFORE
    for command in phases["build"]["commands"]:
        words = shlex.split(command.replace("$PART", "lint"))
        if words[0] == "make":
            assert {w for w in words[1:] if "=" not in w} <= TARGETS, command
        elif words[0] == ".ci/run":
            assert set(words[1:]) <= PARTS, command
        else:
            assert words[0] == ".venv/bin/gavel", command
            typed([word.replace("$ENVIRONMENT", "dev") for word in words[1:]])


def test_each_buildspec_is_that_of_a_project() -> None:
    projects = [r["Properties"] for r in RESOURCES.values() if r["Type"] == "AWS::CodeBuild::Project"]
    used = {p["Source"]["BuildSpec"] for p in projects}
    assert used == {f"deploy/buildspecs/{file.name}" for file in SPECS}
    run = [project_of(a) for _, a in actions() if a["ActionTypeId"]["Provider"] == "CodeBuild"]
    assert {resolved(p["Name"], NAMES) for p in projects} == {resolved(p["Name"], NAMES) for p in run}


# ---- the two forms ---------------------------------------------------------------------------------------------------


def plain(command: str, values: dict[str, str]) -> list[str]:
    """A command with its variables filled in. `.ci/run contracts` makes the environment first, and is otherwise `make
    contracts`; what it compares with, GitHub says itself."""
    words = shlex.split(Template(command).safe_substitute(values))
    words = ["make", *words[1:]] if words[0] == ".ci/run" else words
    return [w for w in words if not w.startswith("AGAINST=")]


def on_github() -> list[list[str]]:
    """The commands of the workflow that deploys, job after job."""
    found = []
    for job in workflow(FOLDER / "deploy.yaml")["jobs"].values():
        if "uses" in job:
            called = workflow(FOLDER / "deploy-environment.yaml")["jobs"]
            values = {"ENVIRONMENT": job["with"]["environment"]}
            steps = [step for name in ("plan", "deploy") for step in called[name]["steps"]]
            found += [plain(step["run"], values) for step in steps if "run" in step]
            continue
        for chosen in choices(job):
            part = chosen.get("matrix.part", "")
            for step in job["steps"]:
                if "run" in step and part in ("", *re.findall(r"== '(\w+)'", step.get("if", f"== '{part}'"))):
                    found.append(plain(filled(step["run"], chosen), {"PART": part}))
    return found


def in_aws() -> list[list[str]]:
    """The commands of the pipeline's builds, action after action."""
    found = []
    for _, action in actions():
        if action["ActionTypeId"]["Provider"] != "CodeBuild":
            continue
        project = project_of(action)
        given = [*project["Environment"].get("EnvironmentVariables", ())]
        given += json.loads(action["Configuration"].get("EnvironmentVariables", "[]"))
        values = {v.get("Name", v.get("name")): v.get("Value", v.get("value")) for v in given}
        values.pop("IMAGES", None)  # of the account, on GitHub a variable
        commands = spec(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
        found += [plain(command, {k: str(v) for k, v in values.items()}) for command in commands]
    return found


def test_both_forms_run_the_same_commands_in_the_same_order() -> None:
    assert in_aws() == on_github()
    assert len(in_aws()) == 1 + 3 + 3 + 3 + 3 * (2 + 5)


def test_each_environment_is_planned_then_approved_then_changed() -> None:
    stages = {s["Name"]: s["Actions"] for s in RESOURCES["Pipeline"]["Properties"]["Stages"]}
    assert [*stages] == ["Source", "Check", "Build", "Dev", "Test", "Prod"]
    for environment in ENVIRONMENTS:
        plan, approval, deploy = stages[environment.capitalize()]
        assert [a["RunOrder"] for a in (plan, approval, deploy)] == [1, 2, 3]
        assert resolved(project_of(plan)["Name"], NAMES) == f"gavel-codepipeline-plan-{environment}"
        assert approval["ActionTypeId"]["Category"] == "Approval"
        assert f"#{{{plan['Namespace']}.CODEBUILD_BUILD_ID}}" in approval["Configuration"]["CustomData"]
        assert resolved(project_of(deploy)["Name"], NAMES) == f"gavel-codepipeline-deploy-{environment}"
        assert [a["Name"] for a in deploy["InputArtifacts"]] == ["Source", "Image"]
        assert deploy["Configuration"]["PrimarySource"] == "Source"
    assert spec("deploy/buildspecs/plan.yaml")["env"]["exported-variables"] == ["CODEBUILD_BUILD_ID"]
    assert RESOURCES["Pipeline"]["Properties"]["ExecutionMode"] == "QUEUED"


# ---- rights ----------------------------------------------------------------------------------------------------------

ROLES = sorted(name for name, r in RESOURCES.items() if r["Type"] == "AWS::IAM::Role")


def rights(role: str) -> list[Statement]:
    """What a role may do by this template and, of each environment, by the policies of `delivery.yaml` that it has."""
    found = [s for d in documents(RESOURCES[role], RESOURCES) for s in resolved(d["Statement"], NAMES)]
    for one in RESOURCES[role]["Properties"].get("ManagedPolicyArns", ()):
        if isinstance(one, dict) and "Fn::Sub" in one:
            _, environment, part = resolved(one, NAMES).rpartition("/")[2].split("-")
            policies = expanded_stack("delivery", environment)["Resources"]
            names = {"Environment": environment, "ExecutionRole": f"{IAM}:role/gavel-{environment}-cloudformation"}
            document = policies[f"{part.capitalize()}Policy"]["Properties"]["PolicyDocument"]
            found += resolved(document["Statement"], names)
    return found


@pytest.mark.parametrize("role", [r for r in ROLES if r != "PipelineRole"])
def test_a_role_is_taken_on_for_one_project(role: str) -> None:
    (trusted,) = RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "codebuild.amazonaws.com"}
    name = resolved(RESOURCES[role]["Properties"]["RoleName"], NAMES)
    project = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{name}"
    wanted = {"StringEquals": {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": project}}
    assert resolved(trusted["Condition"], NAMES) == wanted
    of_it = RESOURCES[role.replace("Role", "")]["Properties"]
    assert (resolved(of_it["Name"], NAMES), of_it["ServiceRole"]) == (name, {"Fn::GetAtt": [role, "Arn"]})


def executes(environment: str) -> str:
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/gavel-{environment}/1"


def test_each_role_does_its_part_in_its_environment_alone() -> None:
    execute = {
        (role, environment)
        for role in ROLES
        for environment in ENVIRONMENTS
        if allowed(rights(role), "cloudformation:ExecuteChangeSet", executes(environment))
    }
    assert execute == {(f"DeployRole{e}", e) for e in ENVIRONMENTS}
    look = {
        (role, environment)
        for role in ROLES
        for environment in ENVIRONMENTS
        if allowed(rights(role), "cloudformation:DescribeStacks", executes(environment))
    }
    plans = {(f"PlanRole{e}", e) for e in ENVIRONMENTS}
    assert look == execute | plans | {("ModelsRole", "prod")}


def test_the_build_alone_writes_the_image_and_who_deploys_alone_reads_it() -> None:
    """A check runs before anybody has approved: what it could write there would be deployed."""
    image, source = f"{BUCKET}/gavel/Image/1", f"{BUCKET}/gavel/Source/1"
    assert {r for r in ROLES if allowed(rights(r), "s3:PutObject", image)} == {"BuildRole", "PipelineRole"}
    assert {r for r in ROLES if allowed(rights(r), "s3:PutObject", source)} == {"PipelineRole"}
    deploys = {f"DeployRole{e}" for e in ENVIRONMENTS}
    assert {r for r in ROLES if allowed(rights(r), "s3:GetObject", image)} == {"PipelineRole", *deploys}


def test_no_right_of_this_template_is_on_everything() -> None:
    for role in ROLES:
        for document in documents(RESOURCES[role], RESOURCES):
            for statement in document["Statement"]:
                assert "*" not in [*listed(statement["Resource"]), *listed(statement["Action"])], statement["Sid"]


def test_what_is_deployed_cannot_change_the_way_there() -> None:
    """By CloudFormation's role of any environment, which could so get at the others."""
    kinds = {"AWS::IAM::Role": ("RoleName", "role"), "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", "policy")}
    made = [r for r in RESOURCES.values() if r["Type"] in kinds]
    for environment in ENVIRONMENTS:
        names = {"Environment": environment, "Boundary": f"{IAM}:policy/gavel-{environment}-boundary"}
        delivery = expanded_stack("delivery", environment)["Resources"]
        attached = documents(delivery["ExecutionRole"], delivery)
        execution = [s for d in attached for s in resolved(d["Statement"], {**NAMES, **names, "ExecutionRole": "x"})]
        for one in made:
            called, kind = kinds[one["Type"]]
            arn = f"{IAM}:{kind}/{resolved(one['Properties'][called], NAMES)}"
            for action in ("CreatePolicyVersion", "UpdateAssumeRolePolicy", "PutRolePolicy", "AttachRolePolicy"):
                assert not allowed(execution, f"iam:{action}", arn, iam__PermissionsBoundary=names["Boundary"]), arn
            assert not allowed(execution, "iam:PassRole", arn, iam__PassedToService="codebuild.amazonaws.com")
        assert not allowed(execution, "s3:PutBucketPolicy", BUCKET)
        assert not allowed(execution, "s3:GetObject", f"{BUCKET}/gavel/Image/1")


# ---- what it keeps ---------------------------------------------------------------------------------------------------


def test_docker_is_in_the_build_of_the_image_alone() -> None:
    projects = {n: r["Properties"] for n, r in RESOURCES.items() if r["Type"] == "AWS::CodeBuild::Project"}
    assert [n for n, p in projects.items() if p["Environment"].get("PrivilegedMode", False)] == ["Build"]
    assert {p["EncryptionKey"]["Fn::GetAtt"][0] for p in projects.values()} == {"Key"}
    assert {p["LogsConfig"]["CloudWatchLogs"]["GroupName"]["Ref"] for p in projects.values()} == {"Logs"}
    assert RESOURCES["Key"]["Properties"]["EnableKeyRotation"] is True
    assert RESOURCES["Logs"]["Properties"]["RetentionInDays"] == 365


def test_it_is_no_stack_of_an_environment_and_the_page_says_how_it_is_made() -> None:
    assert CODEPIPELINE not in FILES.values()
    page = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8")
    (block,) = re.findall(r"aws cloudformation deploy .*?```", page, re.DOTALL)
    assert "deploy/codepipeline.yaml" in block
    parameters = expanded_file(CODEPIPELINE)["Parameters"]
    needed = {name for name, parameter in parameters.items() if "Default" not in parameter}
    assert needed <= set(re.findall(r"(\w+)=", block)) <= set(parameters)
    assert {"CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"} <= set(block.split())
