"""What Dagster's daemon and web server ask of AWS in production, as files of recorded calls have it.

Heard is every operation of every client of boto3 in this process. What IAM decides about for each operation says
`lines`; an operation that nobody mapped raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from botocore.client import BaseClient

from tests.support import recorded_calls
from tests.support.expanded import expanded_stack
from tests.support.policies import resolved
from tests.support.recorded_rights import unnamed

Operation = tuple[str, str, Mapping[str, Any]]
"""A client's service, the operation and its parameters."""


@contextmanager
def heard() -> Iterator[list[Operation]]:
    """Gives what is called meanwhile."""
    calls: list[Operation] = []
    with pytest.MonkeyPatch.context() as patch:
        call = BaseClient._make_api_call  # type: ignore[attr-defined]

        def listening(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
            calls.append((client.meta.service_model.service_name, operation, parameters))
            return call(client, operation, parameters)

        patch.setattr(BaseClient, "_make_api_call", listening)
        yield calls


def lines(service: str, operation: str, given: Mapping[str, Any]) -> set[str]:
    """What IAM decides about for one operation; raises `KeyError` for one that nobody mapped."""
    if service == "s3":
        return {_plain(recorded_calls.general(call)) for call in recorded_calls.calls_of(service, operation, given)}
    return {_plain(line) for line in _OF[f"{service}.{operation}"](given)}


def _plain(line: str) -> str:
    return re.sub(r"(/gavel/|gavel-)(local|prod)\b", r"\1{environment}", unnamed(line))


def _run_task(given: Mapping[str, Any]) -> Iterator[str]:
    """`RunTask` hands over the roles that the task's definition names, and marks what it starts by `tags`."""
    yield f"ecs:RunTask {_arn('ecs', given['taskDefinition'], 'task-definition/')} ecs:cluster={_cluster(given)}"
    for role in _handed_over():
        yield f"iam:PassRole {role} iam:PassedToService=ecs-tasks.amazonaws.com"
    if given.get("tags"):
        yield f"ecs:TagResource {_cluster(given).replace(':cluster/', ':task/')}/x ecs:CreateAction=RunTask"


@cache
def _handed_over() -> tuple[str, ...]:
    names = {"Environment": "prod", "Role": "runs", "StartRole": "arn:aws:iam::111122223333:role/gavel-prod-start"}
    definition = expanded_stack("pipeline", "prod")["Resources"]["Taskrun"]["Properties"]
    text, _ = definition["TaskRoleArn"]["Fn::Sub"]
    return tuple(resolved(part, names) for part in ({"Fn::Sub": text}, definition["ExecutionRoleArn"]))


def _cluster(given: Mapping[str, Any]) -> str:
    return _arn("ecs", given["cluster"], "cluster/")


def _arn(service: str, name: str, kind: str) -> str:
    return name if name.startswith("arn:") else f"arn:aws:{service}:eu-west-1:{{account}}:{kind}{name}"


def _describe_tasks(given: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"ecs:DescribeTasks {_task(arn)}" for arn in given["tasks"])


def _stop_task(given: Mapping[str, Any]) -> Iterator[str]:
    yield f"ecs:StopTask {_task(given['task'])}"


def _task(arn: str) -> str:
    """A task's ARN without its id, which ECS makes."""
    return re.sub(r"(:task/.+)/[^/]+$", r"\1/x", arn)


def _log_events(given: Mapping[str, Any]) -> Iterator[str]:
    stream = f"{given['logStreamName'].rpartition('/')[0]}/x"
    yield f"logs:GetLogEvents {_arn('logs', given['logGroupName'], 'log-group:')}:log-stream:{stream}"


_OF: dict[str, Any] = {
    "ec2.DescribeNetworkInterfaces": lambda given: ["ec2:DescribeNetworkInterfaces *"],
    "ecs.DescribeTaskDefinition": lambda given: ["ecs:DescribeTaskDefinition *"],
    "ecs.DescribeTasks": _describe_tasks,
    "ecs.RunTask": _run_task,
    "ecs.StopTask": _stop_task,
    "logs.GetLogEvents": _log_events,
}
