"""How a deployment follows CloudFormation: events as they come, each once, and an end that is that of what it began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from ops.deployment import following
from ops.deployment.deploying import BROKEN
from tests.support.stubbed import stubbed

ARN = "arn:aws:cloudformation:eu-west-1:111122223333:stack/gavel-dev/1"
WHEN = "2026-11-29T10:00:00Z"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    monkeypatch.setattr("ops.deployment.following.time.sleep", lambda seconds: None)
    with stubbed("cloudformation") as stub:
        yield stub


def event(number: int, resource: str, status: str, reason: str | None = None) -> dict[str, Any]:
    return {
        "EventId": str(number),
        "StackId": ARN,
        "StackName": "gavel-dev",
        "LogicalResourceId": resource,
        "PhysicalResourceId": ARN if resource == "gavel-dev" else f"physical-{resource}",
        "ResourceType": "AWS::CloudFormation::Stack" if resource == "gavel-dev" else "AWS::DynamoDB::Table",
        "Timestamp": WHEN,
        "ResourceStatus": status,
        **({"ResourceStatusReason": reason} if reason else {}),
    }


def look(aws: Stubber, status: str, events: list[dict[str, Any]]) -> None:
    stack = {"StackName": "gavel-dev", "StackStatus": status, "CreationTime": WHEN}
    aws.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": ARN})
    listed(aws, events)


def listed(aws: Stubber, events: list[dict[str, Any]]) -> None:
    aws.add_response("describe_stack_events", {"StackEvents": events[::-1]}, {"StackName": ARN})


def test_an_update_has_not_ended_while_the_status_is_the_one_from_before_it(aws: Stubber) -> None:
    """CloudFormation answers from several places, which learn of a request one after the other."""
    events = [event(1, "gavel-dev", "CREATE_COMPLETE"), event(2, "gavel-dev", "UPDATE_COMPLETE")]
    look(aws, "UPDATE_COMPLETE", events)
    events.append(event(3, "gavel-dev", "UPDATE_IN_PROGRESS", "User Initiated"))
    look(aws, "UPDATE_COMPLETE", events)
    events += [event(4, "Table", "UPDATE_IN_PROGRESS"), event(5, "Table", "UPDATE_COMPLETE")]
    look(aws, "UPDATE_IN_PROGRESS", events)
    look(aws, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", events)
    events.append(event(6, "gavel-dev", "UPDATE_COMPLETE"))
    look(aws, "UPDATE_COMPLETE", events)
    listed(aws, events)
    said: list[str] = []
    ended = following.follow(aws.client, ARN, said.append, "2", requested=True)
    assert ended == following.Ended("UPDATE_COMPLETE", "")
    assert [line.split()[:2] for line in said] == [
        ["UPDATE_IN_PROGRESS", "gavel-dev"],
        ["UPDATE_IN_PROGRESS", "Table"],
        ["UPDATE_COMPLETE", "Table"],
        ["UPDATE_COMPLETE", "gavel-dev"],
    ]


def test_an_end_that_comes_between_two_answers_is_an_end(aws: Stubber) -> None:
    events = [event(1, "gavel-dev", "UPDATE_IN_PROGRESS"), event(2, "gavel-dev", "UPDATE_COMPLETE")]
    look(aws, "UPDATE_IN_PROGRESS", events)
    look(aws, "UPDATE_COMPLETE", events)
    listed(aws, events)
    assert following.follow(aws.client, ARN, print, None, requested=True).status == "UPDATE_COMPLETE"


def test_a_failure_before_the_roll_back_is_no_end(aws: Stubber) -> None:
    """What CloudFormation refuses before it begins fails first, and is rolled back then."""
    events = [event(1, "gavel-dev", "CREATE_IN_PROGRESS"), event(2, "gavel-dev", "CREATE_FAILED", "Validation failed")]
    look(aws, "ROLLBACK_IN_PROGRESS", events)
    events.append(event(3, "gavel-dev", "ROLLBACK_COMPLETE"))
    look(aws, "ROLLBACK_COMPLETE", events)
    listed(aws, events)
    ended = following.follow(aws.client, ARN, print, None, requested=True)
    assert ended == following.Ended("ROLLBACK_COMPLETE", "  gavel-dev (AWS::CloudFormation::Stack): Validation failed")


def test_the_first_failure_of_the_last_operation_is_the_reason(aws: Stubber) -> None:
    events = [
        event(1, "gavel-dev", "UPDATE_IN_PROGRESS", "User Initiated"),
        event(2, "Old", "UPDATE_FAILED", "a failure of last week"),
        event(3, "gavel-dev", "UPDATE_ROLLBACK_COMPLETE"),
        event(4, "gavel-dev", "UPDATE_IN_PROGRESS", "User Initiated"),
        event(5, "Table", "UPDATE_FAILED", "Subscriber limit exceeded"),
        event(6, "Bids", "UPDATE_FAILED", "Resource update cancelled"),
        event(7, "gavel-dev", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Table]."),
        event(8, "gavel-dev", "UPDATE_ROLLBACK_COMPLETE"),
    ]
    look(aws, "UPDATE_ROLLBACK_COMPLETE", events)
    listed(aws, events)
    said: list[str] = []
    ended = following.follow(aws.client, ARN, said.append, "4", requested=True)
    assert ended.reasons == "  Table (AWS::DynamoDB::Table): Subscriber limit exceeded"
    assert said[0].endswith(": Subscriber limit exceeded")


def test_what_is_said_twice_is_shown_once(aws: Stubber) -> None:
    events = [
        event(1, "Table", "CREATE_IN_PROGRESS"),
        event(2, "Table", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
        event(3, "gavel-dev", "CREATE_COMPLETE"),
    ]
    look(aws, "CREATE_COMPLETE", events)
    listed(aws, events)
    said: list[str] = []
    following.follow(aws.client, ARN, said.append, None)
    assert len(said) == 2


def test_pauses_grow_to_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("ops.deployment.following.time.sleep", slept.append)
    assert following.until(lambda: "found" if len(slept) == 15 else None) == "found"
    assert slept == sorted(slept)
    assert (slept[0], slept[-1]) == (0.1, 5.0)


def test_every_status_that_cloudformation_has_is_waited_for_refused_or_deployed_on() -> None:
    with stubbed("cloudformation") as stub:
        service = stub.client.meta.service_model
    statuses = set(service.shape_for("StackStatus").enum)
    waited = {status for status in statuses if following.in_progress(status)}
    ended = {"DELETE_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"}  # as if there were none
    updated = {s for s in statuses - ended if s.endswith("_COMPLETE")}
    assert statuses - waited - ended - updated == BROKEN.keys()


def test_an_end_that_is_listed_behind_what_is_known_is_seen(aws: Stubber) -> None:
    """Events of one moment have no order of their own."""
    begun, last = event(1, "gavel-dev", "UPDATE_IN_PROGRESS"), event(2, "Table", "UPDATE_COMPLETE")
    look(aws, "UPDATE_IN_PROGRESS", [begun, last])
    events = [begun, event(3, "gavel-dev", "UPDATE_COMPLETE"), last]
    look(aws, "UPDATE_COMPLETE", events)
    listed(aws, events)
    said: list[str] = []
    following.follow(aws.client, ARN, said.append, None, requested=True)
    assert [line.split()[:2] for line in said] == [
        ["UPDATE_IN_PROGRESS", "gavel-dev"], ["UPDATE_COMPLETE", "Table"], ["UPDATE_COMPLETE", "gavel-dev"],
    ]  # fmt: skip
