"""How calls of functions go over to their new versions: said before, and where CodeDeploy stopped it, why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.deployment.change_sets import ChangeSet, described
from ops.deployment.given import Planned
from ops.deployment.templates import declared

ALIAS = "AWS::Lambda::Alias"
PARAMETER = "Rollout"
SHARED = {"AWS::IAM::Role": "Policies", "AWS::DynamoDB::Table": "GlobalSecondaryIndexes"}
"""What both versions of a function use, by type of resource and property: it is the new one from the beginning."""
_FUNCTION = re.compile(r"(\w+)FunctionAlias\w+")
_SHIFTS = re.compile(r"\w+\.Lambda(?:(AllAtOnce)|(Canary|Linear)(\d+)Percent(Every)?(\d+)Minutes?)")


def announced(made: ChangeSet, planned: Planned) -> Iterator[str]:
    """What a change set does to the calls of functions, a line each; nothing if their versions stay."""
    shifted = [c.resource for c in made.changes if c.kind == ALIAS and c.action == "Modify"]
    if not shifted:
        return
    names = [found[1] for name in shifted if (found := _FUNCTION.fullmatch(name))]
    default = declared(planned.stack.key)[PARAMETER]["Default"]
    how = in_words(planned.values.get(PARAMETER) or default)
    yield f"Calls go over to new versions: {', '.join(sorted(name.lower() for name in names))}. {how}"
    yield "Functions that read changes go first, then inbound, then api. If an alarm of a new version rings, the calls"
    yield "go back to the old one at once, and CloudFormation takes back the whole update."
    roles = {f"{name}Role" for name in names}
    changed = [c for c in made.changes if c.action == "Modify" and SHARED.get(c.kind) in c.properties]
    shared = sorted(c.resource for c in changed if c.resource in roles or c.kind != "AWS::IAM::Role")
    if shared:
        yield f"Both versions get what is changed of {', '.join(shared)} before any call goes over: if that takes away"
        yield "what the old one uses, say no, and take it away with a later deployment than that of the code."


def in_words(rollout: str) -> str:
    """The parameter's value, for people."""
    found = _SHIFTS.fullmatch(rollout)
    if not found:
        return f"How: {rollout}."
    at_once, kind, percent, _, minutes = found.groups()
    if at_once:
        return "All of them at once."
    if kind == "Canary":
        return f"{percent} % of them for {minutes} min, then all."
    return f"{percent} % of them more every {minutes} min."


def stopped(cloudformation: Any, codedeploy: Any, stack: str) -> str:
    """Why CodeDeploy took calls back to an old version in the last update of a stack (its ARN), a line each with its
    end; empty if it did not. What cannot be found out is said, and hides nothing."""
    try:
        return "".join(f"  {line}\n" for line in _stopped(cloudformation, codedeploy, stack))
    except (ClientError, BotoCoreError) as error:
        return f"  Whether CodeDeploy took calls back could not be found out: {error}\n"


def _stopped(cloudformation: Any, codedeploy: Any, stack: str) -> Iterator[str]:
    began = (described(cloudformation, stack) or {}).get("LastUpdatedTime")
    if began is None:  # a new stack has nothing to go over from
        return
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [one for page in pages for one in page["StackResourceSummaries"] if one.get("PhysicalResourceId")]
    applications = [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::CodeDeploy::Application"]
    groups = [r for r in resources if r["ResourceType"] == "AWS::CodeDeploy::DeploymentGroup"]
    for group in groups if applications else ():
        found = codedeploy.list_deployments(
            applicationName=applications[0],
            deploymentGroupName=group["PhysicalResourceId"],
            includeOnlyStatuses=["Failed", "Stopped"],
            createTimeRange={"start": began},
        )["deployments"]
        for deployment in found:
            info = codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
            why = info.get("errorInformation", {})
            name = group["LogicalResourceId"].removesuffix("FunctionDeploymentGroup").lower()
            reason = f"{why.get('code')}: {why.get('message')}"
            yield f"calls of {name} went back to the old version ({deployment}): {reason}"
