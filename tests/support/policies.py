"""Policies of templates, with their references resolved, as `tests.support.iam` decides by them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.expanded import expanded_stack
from tests.support.iam import Request, Statement, Value, allows, listed

__all__ = [
    "ACCOUNT",
    "REGION",
    "Statement",
    "allowed",
    "arns",
    "boundary",
    "documents",
    "listed",
    "request",
    "resolved",
]

ACCOUNT, REGION = "111122223333", "eu-west-1"


def resolved(value: Any, names: Mapping[str, str]) -> Any:
    """A part of a template with `Ref`, `Fn::Sub` and `Fn::GetAtt` replaced; `names` has what each resource's ARN or a
    parameter's value is."""
    known = {
        "AWS::Partition": "aws",
        "AWS::Region": REGION,
        "AWS::AccountId": ACCOUNT,
        "AWS::URLSuffix": "amazonaws.com",
    }
    facts = {**known, **names}
    if isinstance(value, list):
        return [resolved(part, names) for part in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return facts[value["Ref"]]
    if "Fn::GetAtt" in value:
        return facts[listed(value["Fn::GetAtt"])[0]]
    if "Fn::Sub" in value and isinstance(value["Fn::Sub"], str):
        return re.sub(r"\$\{([\w:]+)(?:\.Arn)?\}", lambda found: facts[found[1]], value["Fn::Sub"])
    return {name: resolved(part, names) for name, part in value.items()}


def allowed(statements: Sequence[Statement], action: str, resource: str, **context: Value) -> bool:
    """Whether statements allow an action on an ARN: one allows it, and none denies it. `context` has condition keys,
    `__` for `:`, and `_` for `-` in keys of S3."""
    return allows(statements, request(action, resource, **context))


def request(action: str, resource: str, **context: Value) -> Request:
    """What is wanted for, with condition keys written as `allowed` takes them."""
    known = {name.replace("__", ":"): value for name, value in context.items()}
    return Request(action, resource, {n.replace("_", "-") if n.startswith("s3:") else n: v for n, v in known.items()})


def boundary() -> list[Statement]:
    """What the policy says that bounds the roles of the stacks, in production."""
    policy = expanded_stack("delivery", "prod")["Resources"]["Boundary"]["Properties"]["PolicyDocument"]
    found: list[Statement] = resolved(policy["Statement"], {"Environment": "prod"})
    return found


def documents(role: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The policies of a role: its own, and those that it names and that are in the same template."""
    own = role["Properties"]
    yield from (policy["PolicyDocument"] for policy in own.get("Policies", ()))
    for one in own.get("ManagedPolicyArns", ()):
        if isinstance(one, dict) and one.get("Ref") in resources:
            yield resources[one["Ref"]]["Properties"]["PolicyDocument"]


_NAMED = {
    "AWS::DynamoDB::Table": ("TableName", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/"),
    "AWS::Events::EventBus": ("Name", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/"),
    "AWS::IAM::Role": ("RoleName", f"arn:aws:iam::{ACCOUNT}:role/"),
    "AWS::KMS::Key": ("Key", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/"),
    "AWS::Logs::LogGroup": ("LogGroupName", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"),
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::"),
    "AWS::SNS::Topic": ("TopicName", f"arn:aws:sns:{REGION}:{ACCOUNT}:"),
    "AWS::SQS::Queue": ("QueueName", f"arn:aws:sqs:{REGION}:{ACCOUNT}:"),
}
"""How the ARN of a resource begins, and which property goes on."""


def arns(resources: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """The ARNs of a template's resources, beside the names that are known and what it takes of other stacks."""
    found = {
        **names,
        "DataKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
        "Database": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1",
        "Cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/gavel-prod",
    }
    for name, resource in resources.items():
        if resource["Type"] in _NAMED:
            called, start = _NAMED[resource["Type"]]
            found[name] = start + str(resolved(resource["Properties"].get(called, name), names))
    return found
