"""Change sets: what a deployment would do to a stack, as CloudFormation says, before it is done.

There is one of ours for a stack at a time, by its name: what a killed run left is removed. It is carried out by its
ARN, so that nobody carries out a change set that another run has put in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ops.deployment.following import gone, refused_beforehand, until
from ops.deployment.stacks import HOLDS_DATA
from ops.environment import OpsError

NAME = "gavel-deploy"
WATCHED_MINUTES = 10
"""How long an update is watched once it is made: two periods of the alarms."""
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
"""How CloudFormation says in a change set's reason that there is nothing to do; the AWS CLI knows it by the same."""


class DeploymentError(OpsError):
    """A stack could not be brought to what is here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a stack is to be: `template` is its `TemplateBody` or `TemplateURL`; None as a value keeps the value that
    the stack has. `role` is the ARN of the role that makes it; empty: the one that the stack has, or the caller's. An
    update that is `watched` is taken back when one of the `alarms` (ARNs) rings while it is made, or in the minutes
    after it; until these are over, what it replaces is kept. `tags` are the stack's, which CloudFormation gives to all
    that it makes and that has tags."""

    stack: str
    template: Mapping[str, str]
    parameters: Mapping[str, str | None]
    capabilities: Sequence[str]
    role: str = ""
    watched: bool = False
    alarms: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What would be done to one resource. `replacement` is "True", "False" or "Conditional"."""

    action: str
    resource: str
    kind: str
    replacement: str
    policy: str
    properties: tuple[str, ...]

    @property
    def replaces(self) -> bool:
        """Whether a new resource takes, or may take, the place of the one that is there."""
        return self.action == "Modify" and self.replacement in ("True", "Conditional")

    @property
    def loses_data(self) -> bool:
        """Whether a resource that holds data is, or may be, removed or replaced."""
        return self.kind in HOLDS_DATA and (self.action in ("Remove", "Dynamic") or self.replaces)

    def line(self) -> str:
        """What a person reads."""
        verb = {"Add": "add", "Modify": "change", "Remove": "REMOVE", "Import": "import"}.get(self.action, self.action)
        if self.replaces:
            verb = "REPLACE" if self.replacement == "True" else "MAY REPLACE"
        line = f"{verb:<12}{self.resource:<34}{self.kind}"
        if self.properties and self.action == "Modify":
            line += f" ({', '.join(self.properties)})"
        if self.loses_data:
            line += "  <-- HOLDS DATA"
            if "Retain" in self.policy or "Snapshot" in self.policy:
                line += ": what is there stays behind, outside of the stack"
        return line


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set that can be carried out."""

    arn: str
    stack: str
    creates: bool
    changes: tuple[Change, ...]


def described(cloudformation: Any, stack: str) -> dict[str, Any] | None:
    """A stack (name or ARN) as `DescribeStacks` has it; None if there is none."""
    try:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def propose(cloudformation: Any, request: Request) -> ChangeSet | None:
    """A change set that brings the stack to what is requested; None if it is that already, and nothing is left behind.

    Raises `DeploymentError` with CloudFormation's reason.
    """
    there = described(cloudformation, request.stack)
    creates = there is None or there["StackStatus"] == "REVIEW_IN_PROGRESS"
    with refusals(request.stack):
        if there is not None:  # what a run left that was killed before an answer
            cloudformation.delete_change_set(StackName=request.stack, ChangeSetName=NAME)
        arn = cloudformation.create_change_set(
            StackName=request.stack,
            ChangeSetName=NAME,
            ChangeSetType="CREATE" if creates else "UPDATE",
            Parameters=[
                {"ParameterKey": name, **({"UsePreviousValue": True} if value is None else {"ParameterValue": value})}
                for name, value in request.parameters.items()
            ],
            Capabilities=list(request.capabilities),
            Tags=[{"Key": name, "Value": value} for name, value in request.tags.items()],
            **({"RoleARN": request.role} if request.role else {}),
            **({} if creates or not request.watched else _taken_back_by(request.alarms)),
            **request.template,
        )["Id"]
        pages = _made(cloudformation, arn)
    changes = tuple(_change(c["ResourceChange"]) for p in pages for c in p.get("Changes", ()) if "ResourceChange" in c)
    made = ChangeSet(arn, request.stack, creates, changes)
    if pages[0]["Status"] != "FAILED":
        return made
    reason = pages[0].get("StatusReason", "")
    reason += refused_beforehand(cloudformation, reason, ChangeSetName=arn)
    discard(cloudformation, made)
    if any(text in reason for text in NO_CHANGES):
        return None
    raise DeploymentError(f"{request.stack}: CloudFormation cannot make the change set: {reason}")


def quiet(cloudwatch: Any, names: Sequence[str]) -> list[str]:
    """The ARNs of the alarms of these names that are there and do not ring: what rings already says nothing of a
    change, and a missing one would end the update."""
    found = cloudwatch.describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    return [str(alarm["AlarmArn"]) for alarm in found if alarm["StateValue"] != "ALARM"]


def _taken_back_by(alarms: Sequence[str]) -> dict[str, Any]:
    """Of an update; triggers that an earlier one was made with count no more. Without any, CloudFormation still waits
    before it removes what was replaced: versions of functions, to which the last calls may be on their way."""
    triggers = [{"Arn": arn, "Type": "AWS::CloudWatch::Alarm"} for arn in alarms]
    return {"RollbackConfiguration": {"RollbackTriggers": triggers, "MonitoringTimeInMinutes": WATCHED_MINUTES}}


def _made(cloudformation: Any, arn: str) -> list[dict[str, Any]]:
    """The pages of a change set once CloudFormation has worked it out."""

    def look() -> list[dict[str, Any]] | None:
        pages = list(cloudformation.get_paginator("describe_change_set").paginate(ChangeSetName=arn))
        return None if pages[0]["Status"] in ("CREATE_PENDING", "CREATE_IN_PROGRESS") else pages

    return until(look)


def _change(change: Mapping[str, Any]) -> Change:
    targets = [detail["Target"] for detail in change.get("Details", ())]
    return Change(
        change["Action"],
        change["LogicalResourceId"],
        change["ResourceType"],
        change.get("Replacement", "False"),
        change.get("PolicyAction", ""),
        tuple(dict.fromkeys(t.get("Name") or t.get("Attribute", "") for t in targets)),
    )


def discard(cloudformation: Any, made: ChangeSet) -> None:
    """Delete a change set, and with it the empty stack that CloudFormation made for it. An empty stack stays if
    somebody else has a change set for it, or who deploys may delete no stack: the next deployment fills it."""
    with refusals(made.stack):
        cloudformation.delete_change_set(ChangeSetName=made.arn)
        there = described(cloudformation, made.stack)
        if there is None or there["StackStatus"] != "REVIEW_IN_PROGRESS":
            return
        if not cloudformation.list_change_sets(StackName=made.stack)["Summaries"]:
            try:
                remove(cloudformation, there["StackId"])
            except ClientError as error:
                if error.response["Error"]["Code"] != "AccessDenied":
                    raise


def remove(cloudformation: Any, arn: str) -> None:
    """Delete a stack and wait until it is gone. Raises `DeploymentError` if it is not."""
    cloudformation.delete_stack(StackName=arn)
    if not gone(cloudformation, arn):
        raise DeploymentError(f"{arn} could not be removed; its events say why")


@contextmanager
def refusals(stack: str) -> Iterator[None]:
    """What CloudFormation refuses, in words that say what to do."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("ChangeSetNotFound", "InvalidChangeSetStatus", "OperationInProgressException") or (
            "_IN_PROGRESS state" in str(error) or "AlreadyExists" in code
        ):
            raise DeploymentError(
                f"{stack}: another run deploys it at this moment, and CloudFormation takes one at a time. Nothing was "
                f"done to it by this one; run it again when the other has ended. ({error})"
            ) from error
        raise DeploymentError(f"{stack}: CloudFormation refuses it: {error}") from error
