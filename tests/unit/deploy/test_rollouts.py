"""What a deployment says of calls that go over to new versions, and of those that were taken back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.deployment import rollouts
from ops.deployment.change_sets import WATCHED_MINUTES, Change, ChangeSet
from ops.deployment.given import Planned
from ops.deployment.stacks import STACKS
from ops.deployment.templates import declared
from tests.support.expanded import CODEPIPELINE, expanded, expanded_file
from tests.support.stubbed import stubbed
from tests.support.workflows import FOLDER, workflow

REALTIME = next(stack for stack in STACKS if stack.key == "realtime")
STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/gavel-prod/1"
SMOKE, OTHERS = 30, 20
"""Minutes: of the smoke test, and of all else, the pipeline's tasks above all."""
BEGAN = datetime(2026, 11, 30, 1, tzinfo=UTC)


def change(resource: str, action: str = "Modify", kind: str = rollouts.ALIAS) -> Change:
    return Change(action, resource, kind, "False", "", ("FunctionVersion",))


def said(*changes: Change, **values: str) -> str:
    return "\n".join(rollouts.announced(ChangeSet("a", "gavel-prod", False, changes), Planned(REALTIME, values)))


def test_a_deployment_says_whose_calls_go_over_and_how() -> None:
    text = said(change("RelayFunctionAliaslive"), change("ApiFunctionAliaslive"), change("ApiFunction", kind="other"))
    assert "api, relay. 10 % of them for 5 min, then all." in text
    assert "All of them at once." in said(change("ApiFunctionAliaslive"), Rollout="CodeDeployDefault.LambdaAllAtOnce")


def test_it_says_nothing_where_versions_stay_or_are_the_first() -> None:
    assert said(change("Table", kind="AWS::DynamoDB::Table"), change("ApiFunctionAliaslive", "Add")) == ""


def test_it_says_what_both_versions_share_and_gets_changed_before() -> None:
    """The old version answers most calls with the new rights and indexes: what is taken away there it misses."""

    def with_it(resource: str, kind: str, *properties: str) -> str:
        return said(change("ApiFunctionAliaslive"), Change("Modify", resource, kind, "False", "", properties))

    assert "Both versions get what is changed of ApiRole" in with_it("ApiRole", "AWS::IAM::Role", "Policies", "Tags")
    assert "of Table before" in with_it("Table", "AWS::DynamoDB::Table", "GlobalSecondaryIndexes")
    for other in (
        with_it("ApiRole", "AWS::IAM::Role", "Tags"),
        with_it("FirehoseRole", "AWS::IAM::Role", "Policies"),
        with_it("Table", "AWS::DynamoDB::Table", "Tags"),
    ):
        assert "Both versions" not in other


def test_the_names_of_roles_are_those_of_the_functions() -> None:
    resources = expanded("prod")["Resources"]
    for name in (n for n, r in resources.items() if r["Type"] == rollouts.ALIAS):
        function = name.removesuffix("FunctionAliaslive")
        role = resources[f"{function}Function"]["Properties"]["Role"]["Fn::GetAtt"][0]
        assert (role, resources[role]["Type"]) == (f"{function}Role", "AWS::IAM::Role")
        assert "Policies" in resources[role]["Properties"]
    assert "GlobalSecondaryIndexes" in resources["Table"]["Properties"]


def test_the_names_of_aliases_are_those_that_sam_makes() -> None:
    made = [n for n, r in expanded("prod")["Resources"].items() if r["Type"] == rollouts.ALIAS]
    assert len(made) == 6
    assert all(said(change(name)).startswith("Calls go over to new versions: ") for name in made)
    assert "versions: ." not in "".join(said(change(name)) for name in made)


@pytest.mark.parametrize("value", declared("realtime")["Rollout"]["AllowedValues"])
def test_every_way_has_words(value: str) -> None:
    assert "CodeDeploy" not in rollouts.in_words(value)


@pytest.mark.parametrize("value", declared("realtime")["Rollout"]["AllowedValues"])
def test_every_way_ends_before_the_job_that_deploys(value: str) -> None:
    """Else the job is killed in the middle: the pipeline keeps its old image, and no order is sent through it."""
    found = re.search(r"(?:Canary10Percent|Linear10PercentEvery)(\d+)Minute", value)
    one = int(found[1]) * (10 if "Linear" in value else 1) if found else 0
    turns = 3  # relay and fan-out, inbound, api
    needed = turns * one + WATCHED_MINUTES + SMOKE + OTHERS
    job = workflow(FOLDER / "deploy-environment.yaml")["jobs"]["deploy"]
    (signing,) = (s["with"] for s in job["steps"] if "configure-aws-credentials" in s.get("uses", ""))
    project = expanded_file(CODEPIPELINE)["Resources"]["Deployprod"]["Properties"]
    for minutes in (job["timeout-minutes"], int(signing["role-duration-seconds"]) / 60, project["TimeoutInMinutes"]):
        assert needed <= minutes, value
    (smoke,) = (s["run"] for s in job["steps"] if "ops smoke" in s.get("run", ""))
    assert smoke.endswith(f"--minutes {SMOKE}")


def stopped(*deployments: str, failing: bool = False) -> str:
    with stubbed("cloudformation") as cloudformation, stubbed("codedeploy") as codedeploy:
        stack = {
            "StackName": "gavel-prod",
            "StackId": STACK,
            "CreationTime": BEGAN,
            "StackStatus": "UPDATE_ROLLBACK_COMPLETE",
        }
        cloudformation.add_response(
            "describe_stacks", {"Stacks": [stack | {"LastUpdatedTime": BEGAN}]}, {"StackName": STACK}
        )
        resources = [
            {"LogicalResourceId": n, "PhysicalResourceId": p, "ResourceType": f"AWS::CodeDeploy::{t}",
             "LastUpdatedTimestamp": BEGAN, "ResourceStatus": "UPDATE_COMPLETE"}
            for n, p, t in (
                ("ServerlessDeploymentApplication", "gavel-prod-app", "Application"),
                ("ApiFunctionDeploymentGroup", "gavel-prod-api-group", "DeploymentGroup"),
            )
        ]  # fmt: skip
        cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": resources}, {"StackName": STACK})
        if failing:
            codedeploy.add_client_error("list_deployments", "AccessDenied", "not authorized")
        else:
            wanted: dict[str, Any] = {
                "applicationName": "gavel-prod-app",
                "deploymentGroupName": "gavel-prod-api-group",
                "includeOnlyStatuses": ["Failed", "Stopped"],
                "createTimeRange": {"start": BEGAN},
            }
            codedeploy.add_response("list_deployments", {"deployments": list(deployments)}, wanted)
        for one in deployments:
            why = {"code": "ALARM_ACTIVE", "message": "Activated alarms: gavel-prod-api-version-7-fails"}
            info = {"deploymentInfo": {"deploymentId": one, "errorInformation": why}}
            codedeploy.add_response("get_deployment", info, {"deploymentId": one})
        return rollouts.stopped(cloudformation.client, codedeploy.client, STACK)


def test_the_reason_is_shown_why_calls_went_back() -> None:
    why = "ALARM_ACTIVE: Activated alarms: gavel-prod-api-version-7-fails"
    assert stopped("d-1") == f"  calls of api went back to the old version (d-1): {why}\n"


def test_a_failure_of_something_else_is_not_blamed_on_calls() -> None:
    assert stopped() == ""


def test_what_cannot_be_found_out_is_said() -> None:
    assert "not authorized" in stopped(failing=True)
