"""What the roles of pipeline and people may do, decided by `tests.support.iam` over expanded templates.

Resources are written as in `tests.support.recorded_calls`: `glue:table/gavel_prod/orders` for an ARN without partition,
region and account.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from tests.support.expanded import expanded, expanded_stack
from tests.support.iam import Value, allows, listed
from tests.support.policies import request

ACCOUNT = "000000000000"
ROLES = {"start": "StartRole", "web": "WebRole", "daemon": "DaemonRole", "code": "CodeRole", "runs": "RunRole"}
PEOPLE = {"analyst": "AnalystRole", "staff": "StaffRole", "engineer": "EngineerRole", "auditor": "AuditorRole"}
MANAGED = {"builds": "BuildsPolicy", "exports": "ExportPolicy", "samples": "SamplePolicy", "signing": "SigningPolicy",
    "summaries": "SummariesPolicy"}  # fmt: skip
"""The real-time path's policies, by the last part of their names."""
_RESOURCES = ("Resource", "NotResource")


def may(role: str, environment: str, action: str, resource: str, **context: Value) -> bool:
    """Whether a role may do something. `context` has condition keys, `:` written as `__`; ARNs of it short, too."""
    return permitted(statements(role, environment), action, resource, **context)


def permitted(found: Sequence[Mapping[str, Any]], action: str, resource: str, **context: Value) -> bool:
    """Whether these statements allow something, as `may` writes it."""
    wanted = request(action, _long(resource), **{k: _long(v) if isinstance(v, str) else v for k, v in context.items()})
    return allows([_in_full(s) for s in found], wanted)


def _in_full(statement: Mapping[str, Any]) -> dict[str, Any]:
    """A statement with its short ARNs written as AWS would, without region and account."""
    conditions = {
        operator: {key: [_long(v) for v in listed(values)] for key, values in keys.items()}
        for operator, keys in statement.get("Condition", {}).items()
    }
    resources = {name: [_long(r) for r in statement[name]] for name in _RESOURCES if name in statement}
    return {**statement, **resources, "Condition": conditions}


def _long(text: str) -> str:
    if text.startswith("s3:::"):
        return f"arn:aws:{text}"
    found = re.fullmatch(r"([a-z]+):(.+)", text)
    return f"arn:aws:{found[1]}:::{found[2]}" if found and found[1] != "arn" else text


@cache
def statements(role: str, environment: str) -> tuple[dict[str, Any], ...]:
    """All that a role's policies say, with their references resolved to names."""
    stack, name = ("governance", PEOPLE[role]) if role in PEOPLE else ("pipeline", ROLES[role])
    resources = expanded_stack(stack, "prod")["Resources"]
    own = resources[name]["Properties"]
    documents = [p["PolicyDocument"] for p in own["Policies"]]
    documents += [
        r["Properties"]["PolicyDocument"]
        for r in resources.values()
        if r["Type"] == "AWS::IAM::ManagedPolicy" and {"Ref": name} in r["Properties"].get("Roles", ())
    ]
    for arn in own.get("ManagedPolicyArns", ()):
        name = json.dumps(arn).rpartition("-")[2].rstrip('"}')
        documents.append(expanded("prod")["Resources"][MANAGED[name]]["Properties"]["PolicyDocument"])
    found = [_resolved(s, environment) for d in documents for s in d["Statement"]]
    return tuple({name: listed(v) if name in ("Action", *_RESOURCES) else v for name, v in s.items()} for s in found)


def _resolved(value: Any, environment: str) -> Any:
    names = {
        "AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": ACCOUNT, "Environment": environment,
        "DataBucket": f"arn:aws:s3:::gavel-{environment}-data-{ACCOUNT}",
        "SummariesTable": f"arn:aws:dynamodb:::table/gavel-{environment}-summaries",
        "Table": f"arn:aws:dynamodb:::table/gavel-{environment}",
        "Key": "arn:aws:kms:::key/data", "DataKey": "arn:aws:kms:::key/data",
        "SigningKey": "arn:aws:kms:::key/signing",
        "Cluster": f"arn:aws:ecs:::cluster/gavel-{environment}",
        **{name: f"arn:aws:iam:::role/gavel-{environment}-{role}" for role, name in ROLES.items()},
        "Database": "arn:aws:secretsmanager:::secret:rds!db-1",
        "Results": f"arn:aws:s3:::gavel-{environment}-results-{ACCOUNT}",
        "TrailBucket": f"arn:aws:s3:::gavel-{environment}-trail-{ACCOUNT}",
    }  # fmt: skip
    if isinstance(value, list):
        return [_resolved(part, environment) for part in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return _short(names[value["Ref"]])
    if "Fn::GetAtt" in value:
        return _short(names[".".join(listed(value["Fn::GetAtt"])).partition(".")[0]])
    if "Fn::Sub" in value:
        text, own = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
        known = {**names, **_resolved(own, environment)}
        return _short(re.sub(r"\$\{([\w:]+)(?:\.Arn)?\}", lambda found: known[found[1]], text))
    if "Fn::FindInMap" in value:
        mapping, first, second = value["Fn::FindInMap"]
        return expanded_stack("governance", "prod")["Mappings"][mapping][first][second]
    return {name: _resolved(part, environment) for name, part in value.items()}


def _short(arn: str) -> str:
    found = re.fullmatch(r"arn:aws:(\w+):[^:]*:[^:]*:(.*)", arn)
    if found is None:
        return arn
    return f"s3:::{found[2]}" if found[1] == "s3" else f"{found[1]}:{found[2]}"


def denied(role: str, environment: str, calls: set[tuple[str, str]]) -> Iterator[str]:
    """The calls that a role may not make, as `action on resource`."""
    for action, resource in sorted(calls):
        if not may(role, environment, action, resource, cloudwatch__namespace="Gavel"):
            yield f"{action} on {resource}"
