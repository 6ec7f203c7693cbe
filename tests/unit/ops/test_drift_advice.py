"""What a finding of the look for drift says to do is what helps: deploying undoes nothing that was done by hand."""

from __future__ import annotations

from typing import Any

from contracts import Contracts
from lakehouse.drift.back import Back
from lakehouse.drift.findings import Drifted
from ops.deployment.given import Place
from ops.deployment.stacks import STACKS
from ops.drift.looking import stack_policies
from ops.drift.resolving import Resource
from ops.drift.stacks import SET_BACK, Deployed, _resource, changed_parameters, changed_resources
from ops.environment import Environment

PLACE = Place("dev", "111122223333", "eu-west-1", "aws")


class Service:
    """Answers of CloudFormation, which found a queue that was changed behind it, and of SQS."""

    def detect_stack_drift(self, **_: Any) -> dict[str, str]:
        return {"StackDriftDetectionId": "1"}

    def describe_stack_drift_detection_status(self, **_: Any) -> dict[str, str]:
        return {"DetectionStatus": "DETECTION_COMPLETE"}

    def describe_stack_resource_drifts(self, **_: Any) -> dict[str, Any]:
        difference = {"PropertyPath": "/DelaySeconds", "ExpectedValue": "0", "ActualValue": "7"}
        of = {"LogicalResourceId": "Letters", "ResourceType": "AWS::SQS::Queue", "PhysicalResourceId": "letters"}
        found = {**of, "StackResourceDriftStatus": "MODIFIED", "PropertyDifferences": [difference]}
        return {"StackResourceDrifts": [found]}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        opened = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
        return {"Attributes": {"Policy": {"Statement": [opened]}}}


def deployed() -> Deployed:
    foundation = next(stack for stack in STACKS if stack.key == "foundation")
    one = Deployed(Environment("dev", lambda _: Service()), foundation, PLACE, {"MonthlyUsd": "400"}, Contracts({}))
    known = {"Environment": "dev", "MonthlyUsd": "1", "AlertEmail": ""}
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in known.items()]
    one.__dict__["described"] = {"StackStatus": "UPDATE_COMPLETE", "Parameters": parameters}
    one.__dict__["resources"] = [Resource("Letters", "letters", "AWS::SQS::Queue", {})]
    return one


def test_what_was_changed_behind_a_stack_is_set_back_by_a_repair() -> None:
    """CloudFormation compares templates, so a deployment of the same one looks at no resource."""
    (resource,) = changed_resources(deployed())
    (policy,) = stack_policies(deployed())
    assert isinstance(resource, Drifted)
    assert [resource.do, policy.do] == [SET_BACK, SET_BACK]
    assert "gavel ops drift --repair" in SET_BACK


def test_another_parameter_comes_back_by_deploying() -> None:
    (parameter,) = changed_parameters(deployed(), {})
    assert (parameter.what, parameter.found) == ("parameter MonthlyUsd", "1")
    assert "gavel deploy dev" in parameter.do


def repaired(path: str, **more: str) -> Back | None:
    """What takes back a property of the queue that CloudFormation found changed."""
    properties = {"MessageRetentionPeriod": 60, "Tags": [{"Key": "domain", "Value": "bids"}], "DelaySeconds": 5}
    one = deployed()
    one.__dict__["resources"] = [Resource("Letters", "letters", "AWS::SQS::Queue", properties)]
    difference = {"PropertyPath": path, "ExpectedValue": "60", **more}
    found = {"LogicalResourceId": "Letters", "ResourceType": "AWS::SQS::Queue", "PhysicalResourceId": "letters"}
    found |= {"StackResourceDriftStatus": "MODIFIED", "PropertyDifferences": [difference]}  # type: ignore[dict-item]
    (said,) = _resource(one, found)
    assert isinstance(said, Drifted)
    return said.back


def test_a_repair_lets_a_queue_forget_nothing() -> None:
    """Messages that are older than the queue keeps them are deleted."""
    shorter, longer = (repaired("/MessageRetentionPeriod", ActualValue=days) for days in ("1209600", "30"))
    assert shorter is not None
    assert longer is not None
    assert (shorter.person, longer.person) == (True, False)


def test_a_tag_that_somebody_added_is_left_to_a_change_set() -> None:
    """To tag once more takes no tag away."""
    added = repaired("/Tags/1", ActualValue='{"Key":"more","Value":"1"}', DifferenceType="ADD")
    assert added is not None
    assert added.person
    changed = repaired("/Tags/0/Value", ActualValue="lots", DifferenceType="NOT_EQUAL")
    assert changed is not None
    assert [one.operation for one in changed.calls] == ["tag_queue"]
