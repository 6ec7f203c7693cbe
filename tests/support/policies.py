"""What IAM policies of a template allow, with their conditions: an evaluator of what the rules of `deploy/` use.

`rights.py` decides by moto, which knows no conditions of denials and no `NotAction`; both are what bounds the roles of
deployments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

ACCOUNT, REGION = "111122223333", "eu-west-1"
Statement = Mapping[str, Any]


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


def allowed(statements: Sequence[Statement], action: str, resource: str, **context: str) -> bool:
    """Whether statements allow an action on an ARN: one allows it, and none denies it. `context` has condition keys,
    `__` for `:` and `_` for `-`."""
    known = {name.replace("__", ":").lower(): value for name, value in context.items()}
    found = [s for s in statements if _about(s, action, resource) and _holds(s.get("Condition", {}), known)]
    return {s["Effect"] for s in found} == {"Allow"}


def listed(value: Any) -> list[Any]:
    """A value that may stand alone or in a list, as a list."""
    return value if isinstance(value, list) else [value]


def _about(statement: Statement, action: str, resource: str) -> bool:
    return _matches(statement, "Action", action.lower()) and _matches(statement, "Resource", resource)


def _matches(statement: Statement, what: str, text: str) -> bool:
    patterns = listed(statement.get(what, statement.get(f"Not{what}")))
    hit = any(fnmatchcase(text, p.lower() if what == "Action" else p) for p in patterns)
    return hit == (what in statement)


_OPERATORS = {"StringEquals": str.__eq__, "StringLike": fnmatchcase, "ArnLike": fnmatchcase, "ArnEquals": fnmatchcase}


def _holds(conditions: Mapping[str, Any], known: Mapping[str, str]) -> bool:
    return all(
        _one(operator, listed(wanted), known.get(key.lower().replace("-", "_")))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _one(operator: str, wanted: Sequence[str], given: str | None) -> bool:
    if operator.startswith("ForAllValues:"):  # true of what is not there
        return given is None or _one(operator.partition(":")[2], wanted, given)
    if operator.startswith("StringNot"):  # of what is not there a negation is true
        return given is None or not _one(operator.replace("Not", ""), wanted, given)
    return given is not None and any(_OPERATORS[operator](given, one) for one in wanted)


def documents(role: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The policies of a role: its own, and those that it names and that are in the same template."""
    own = role["Properties"]
    yield from (policy["PolicyDocument"] for policy in own.get("Policies", ()))
    for one in own.get("ManagedPolicyArns", ()):
        if isinstance(one, dict) and one.get("Ref") in resources:
            yield resources[one["Ref"]]["Properties"]["PolicyDocument"]
