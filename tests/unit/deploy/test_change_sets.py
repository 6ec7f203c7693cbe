"""Change sets as AWS describes them: what it says when there is nothing to do, and what it would do to data.

Answers are in the form of the API's documentation; the emulator's own are tried in tests/integration/ops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import Stubber

from ops.deployment import change_sets
from ops.deployment.change_sets import Change, DeploymentError, Request, propose
from tests.support.stubbed import stubbed

STACK = "gavel-dev-lake"
STACK_ARN = f"arn:aws:cloudformation:eu-west-1:111122223333:stack/{STACK}/1"
ARN = "arn:aws:cloudformation:eu-west-1:111122223333:changeSet/gavel-deploy/2"
TAGS = {"environment": "dev"}
REQUEST = Request(
    STACK, {"TemplateBody": "{}"}, {"Environment": "dev", "Image": None}, ("CAPABILITY_AUTO_EXPAND",), tags=TAGS
)
WHEN = "2026-11-29T10:00:00Z"


@pytest.fixture
def aws() -> Iterator[Stubber]:
    with stubbed("cloudformation") as stub:
        yield stub


def there(aws: Stubber, status: str | None) -> None:
    if status is None:
        aws.add_client_error("describe_stacks", "ValidationError", f"Stack with id {STACK} does not exist", 400)
    else:
        stack = {"StackName": STACK, "StackId": STACK_ARN, "StackStatus": status, "CreationTime": WHEN}
        aws.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": STACK})


def requested(aws: Stubber, kind: str, **more: Any) -> None:
    if kind == "UPDATE":
        aws.add_response("delete_change_set", {}, {"StackName": STACK, "ChangeSetName": "gavel-deploy"})
    expected = {
        "StackName": STACK,
        "ChangeSetName": "gavel-deploy",
        "ChangeSetType": kind,
        "Parameters": [
            {"ParameterKey": "Environment", "ParameterValue": "dev"},
            {"ParameterKey": "Image", "UsePreviousValue": True},
        ],
        "Capabilities": ["CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": "environment", "Value": "dev"}],
        "TemplateBody": "{}",
        **more,
    }
    aws.add_response("create_change_set", {"Id": ARN, "StackId": STACK_ARN}, expected)


def answered(aws: Stubber, **answer: Any) -> None:
    aws.add_response("describe_change_set", {"ChangeSetName": "gavel-deploy", "StackId": STACK_ARN, **answer})


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_nothing_to_do_leaves_nothing_behind(aws: Stubber, reason: str) -> None:
    there(aws, "UPDATE_COMPLETE")
    requested(aws, "UPDATE")
    answered(aws, Status="FAILED", StatusReason=reason, ExecutionStatus="UNAVAILABLE")
    aws.add_response("delete_change_set", {}, {"ChangeSetName": ARN})
    there(aws, "UPDATE_COMPLETE")
    assert propose(aws.client, REQUEST) is None


def test_a_change_set_that_cannot_be_made_says_why_and_takes_its_empty_stack_with_it(aws: Stubber) -> None:
    there(aws, None)
    requested(aws, "CREATE")
    answered(aws, Status="FAILED", StatusReason="Transform AWS::LanguageExtensions failed with: no list")
    aws.add_response("delete_change_set", {}, {"ChangeSetName": ARN})
    there(aws, "REVIEW_IN_PROGRESS")
    aws.add_response("list_change_sets", {"Summaries": []}, {"StackName": STACK})
    aws.add_response("delete_stack", {}, {"StackName": STACK_ARN})
    gone = {"StackName": STACK, "StackStatus": "DELETE_COMPLETE", "CreationTime": WHEN}
    aws.add_response("describe_stacks", {"Stacks": [gone]}, {"StackName": STACK_ARN})
    with pytest.raises(DeploymentError, match=r"gavel-dev-lake: .*Transform AWS::LanguageExtensions failed"):
        propose(aws.client, REQUEST)


def test_an_empty_stack_that_another_person_looks_at_stays(aws: Stubber) -> None:
    aws.add_response("delete_change_set", {}, {"ChangeSetName": ARN})
    there(aws, "REVIEW_IN_PROGRESS")
    aws.add_response("list_change_sets", {"Summaries": [{"ChangeSetName": "by-hand"}]}, {"StackName": STACK})
    change_sets.discard(aws.client, change_sets.ChangeSet(ARN, STACK, True, ()))


def test_an_empty_stack_that_may_not_be_deleted_stays_for_the_next_deployment(aws: Stubber) -> None:
    aws.add_response("delete_change_set", {}, {"ChangeSetName": ARN})
    there(aws, "REVIEW_IN_PROGRESS")
    aws.add_response("list_change_sets", {"Summaries": []}, {"StackName": STACK})
    aws.add_client_error("delete_stack", "AccessDenied", "not authorized to perform cloudformation:DeleteStack", 403)
    change_sets.discard(aws.client, change_sets.ChangeSet(ARN, STACK, True, ()))


def test_cloudformation_is_handed_the_role_that_makes_the_stack(aws: Stubber) -> None:
    there(aws, None)
    role = "arn:aws:iam::111122223333:role/gavel-dev-cloudformation"
    requested(aws, "CREATE", RoleARN=role)
    answered(aws, Status="CREATE_COMPLETE", Changes=[])
    assert propose(aws.client, replace(REQUEST, role=role)) is not None


def test_an_update_is_taken_back_by_alarms_that_are_there_and_do_not_ring(aws: Stubber) -> None:
    named = [("api", "OK"), ("relay", "INSUFFICIENT_DATA"), ("inbound", "ALARM")]
    with stubbed("cloudwatch") as alarms:
        found = [{"AlarmName": n, "AlarmArn": f"arn:aws:cloudwatch:alarm:{n}", "StateValue": s} for n, s in named]
        wanted = {"AlarmNames": ["api", "relay", "inbound", "new"]}
        alarms.add_response("describe_alarms", {"MetricAlarms": found}, wanted)
        watched = change_sets.quiet(alarms.client, wanted["AlarmNames"])
    assert watched == ["arn:aws:cloudwatch:alarm:api", "arn:aws:cloudwatch:alarm:relay"]
    triggers = [{"Arn": arn, "Type": "AWS::CloudWatch::Alarm"} for arn in watched]
    there(aws, "UPDATE_COMPLETE")
    requested(aws, "UPDATE", RollbackConfiguration={"RollbackTriggers": triggers, "MonitoringTimeInMinutes": 10})
    answered(aws, Status="CREATE_COMPLETE", Changes=[])
    assert propose(aws.client, replace(REQUEST, watched=True, alarms=watched)) is not None


def test_what_an_update_replaces_is_kept_for_a_while_even_if_no_alarm_watches_it(aws: Stubber) -> None:
    there(aws, "UPDATE_COMPLETE")
    requested(aws, "UPDATE", RollbackConfiguration={"RollbackTriggers": [], "MonitoringTimeInMinutes": 10})
    answered(aws, Status="CREATE_COMPLETE", Changes=[])
    assert propose(aws.client, replace(REQUEST, watched=True)) is not None


def test_a_new_stack_is_watched_by_no_alarm(aws: Stubber) -> None:
    there(aws, None)
    requested(aws, "CREATE")
    answered(aws, Status="CREATE_COMPLETE", Changes=[])
    assert propose(aws.client, replace(REQUEST, watched=True, alarms=["arn:aws:cloudwatch:alarm:api"])) is not None


def test_changes_are_read_from_every_page(aws: Stubber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.deployment.following.time.sleep", lambda seconds: None)
    there(aws, "REVIEW_IN_PROGRESS")  # a run was killed while its change set waited
    aws.add_response("delete_change_set", {}, {"StackName": STACK, "ChangeSetName": "gavel-deploy"})
    aws.add_response("create_change_set", {"Id": ARN, "StackId": STACK_ARN})
    answered(aws, Status="CREATE_IN_PROGRESS")
    for name, more in (("Orders", {"NextToken": "more"}), ("Bids", {})):
        change = {"Action": "Add", "LogicalResourceId": name, "ResourceType": "AWS::Glue::Table"}
        answered(aws, Status="CREATE_COMPLETE", Changes=[{"Type": "Resource", "ResourceChange": change}], **more)
    made = propose(aws.client, REQUEST)
    assert made is not None
    assert made.creates
    assert [change.resource for change in made.changes] == ["Orders", "Bids"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationError", "Stack:arn is in UPDATE_IN_PROGRESS state and can not be updated."),
        ("ChangeSetNotFound", "ChangeSet [arn] does not exist"),
        ("InvalidChangeSetStatus", "ChangeSet [arn] is in EXECUTE_IN_PROGRESS status"),
        ("AlreadyExistsException", "ChangeSet gavel-deploy already exists"),
    ],
)
def test_what_another_run_does_at_the_same_time_is_said(aws: Stubber, code: str, message: str) -> None:
    aws.add_client_error("execute_change_set", code, message, 400)
    with (
        pytest.raises(DeploymentError, match="another run deploys it at this moment"),
        change_sets.refusals(STACK),
    ):
        aws.client.execute_change_set(ChangeSetName=ARN)


def test_other_refusals_are_shown_as_they_are(aws: Stubber) -> None:
    aws.add_client_error("execute_change_set", "InsufficientCapabilitiesException", "Requires capabilities", 400)
    with pytest.raises(DeploymentError, match=r"refuses it: .*Requires capabilities"), change_sets.refusals(STACK):
        aws.client.execute_change_set(ChangeSetName=ARN)


@pytest.mark.parametrize(
    ("change", "line", "loses"),
    [
        (Change("Add", "Table", "AWS::DynamoDB::Table", "False", "", ()), "add", False),
        (Change("Modify", "Table", "AWS::DynamoDB::Table", "False", "", ("Tags",)), "change", False),
        (
            Change("Modify", "Table", "AWS::DynamoDB::Table", "True", "ReplaceAndRetain", ("KeySchema",)),
            "REPLACE",
            True,
        ),
        (Change("Modify", "Database", "AWS::RDS::DBInstance", "Conditional", "", ("Engine",)), "MAY REPLACE", True),
        (Change("Remove", "Key", "AWS::KMS::Key", "False", "Retain", ()), "REMOVE", True),
        (Change("Remove", "Pool", "AWS::Cognito::UserPool", "False", "Delete", ()), "REMOVE", True),
        (Change("Modify", "Role", "AWS::IAM::Role", "True", "", ("RoleName",)), "REPLACE", False),
        (Change("Remove", "Alarm", "AWS::CloudWatch::Alarm", "False", "", ()), "REMOVE", False),
    ],
)
def test_what_happens_to_data_is_marked(change: Change, line: str, loses: bool) -> None:
    assert change.line().startswith(line.ljust(12) + change.resource)
    assert change.loses_data is loses
    assert ("HOLDS DATA" in change.line()) is loses
    assert ("stays behind" in change.line()) is (loses and "Retain" in change.policy)
    assert change.kind in change.line()
