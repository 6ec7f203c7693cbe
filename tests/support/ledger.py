"""Every right that the templates give, a line each, as production has it: what a change of policies is read by.

`python -m tests.support.ledger` prints all lines, for `tests/unit/deploy/rights.txt`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.expanded import CODEPIPELINE, expanded, expanded_file, expanded_stack
from tests.support.iam import listed

KNOWN = {
    "AWS::Partition": "aws",
    "AWS::Region": "REGION",
    "AWS::AccountId": "ACCOUNT",
    "AWS::URLSuffix": "amazonaws.com",
    "Environment": "prod",
}
Found = tuple[str, Mapping[str, Any]]
"""Where a statement stands, as `stack.resource.part`, and the statement."""


def stacks() -> dict[str, Mapping[str, Any]]:
    """The resources of each template, by its name."""
    from ops.deployment.templates import FILES

    found = {
        name: (expanded("prod") if name == "realtime" else expanded_stack(name, "prod"))["Resources"]
        for name in sorted({*FILES, "realtime"})
    }
    return {**found, "codepipeline": expanded_file(CODEPIPELINE)["Resources"]}


def statements() -> list[Found]:
    """All statements of all policies, wherever in a resource they stand."""
    return [
        (f"{stack}.{name}{part}", statement)
        for stack, resources in stacks().items()
        for name, resource in sorted(resources.items())
        for part, statement in _in(resource.get("Properties", {}), "")
    ]


def _in(value: Any, part: str) -> Iterator[Found]:
    if isinstance(value, list):
        for one in value:
            yield from _in(one, part)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("Statement"), list):  # a firewall's rules have one as well, and no list
        for number, one in enumerate(value["Statement"]):
            for statement in one["Fn::If"][1:] if "Fn::If" in one else [one]:
                if statement != {"Ref": "AWS::NoValue"}:
                    yield f"{part} {statement.get('Sid', number)}", statement
        return
    for name, below in value.items():
        of = value.get("PolicyName") if name == "PolicyDocument" else name
        yield from _in(
            below, f"{part}.{of}" if isinstance(of, str) and of not in ("Policies", "PolicyDocument") else part
        )


def lines() -> list[str]:
    """Each statement, and each policy of others that a role or a function's permission names."""
    found = [f"{where}: {said(statement)}" for where, statement in statements()]
    for stack, resources in stacks().items():
        for name, resource in sorted(resources.items()):
            own = resource.get("Properties", {})
            found += [f"{stack}.{name} holds {text(arn)}" for arn in own.get("ManagedPolicyArns", ())]
            if resource["Type"] == "AWS::Lambda::Permission":
                bound = ", ".join(f"{k} {text(own[k])}" for k in ("SourceArn", "SourceAccount") if k in own)
                found.append(
                    f"{stack}.{name}: {text(own['Principal'])} may {own['Action']}, bound by {bound or 'nothing'}"
                )
    return found


def said(statement: Mapping[str, Any]) -> str:
    """One statement as a line."""
    parts = [str(statement["Effect"])]
    for name in ("Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource"):
        if name in statement:
            parts.append(f"{name} {', '.join(sorted(text(one) for one in listed(statement[name])))}")
    if "Condition" in statement:
        parts.append(f"if {text(statement['Condition'])}")
    return "; ".join(parts)


def text(value: Any) -> str:
    """A part of a template as text; what only AWS knows stays `${Name}`."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((function, given),) = value.items()
        if function == "Ref":
            return KNOWN.get(given, f"${{{given}}}")
        if function == "Fn::GetAtt":
            return f"${{{'.'.join(listed(given)).removesuffix('.Arn')}}}"
        if function == "Fn::Sub":
            written = given if isinstance(given, str) else given[0]
            return re.sub(r"\$\{([\w:.]+)\}", lambda f: KNOWN.get(f[1], f"${{{f[1].removesuffix('.Arn')}}}"), written)
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("Ref", "Fn::GetAtt", "Fn::Sub"):
        return text(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lines()))
