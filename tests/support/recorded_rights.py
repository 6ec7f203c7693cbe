"""Files of recorded calls: what roles were heard to ask for, and the rights that no call needed, each with its reason.

`calls` has each role's calls, as `action ARN`, with `key=value` behind it for what else AWS knows of the call.
`documented`, where there are any, has calls that only AWS's own machines make, each with who makes it, as AWS documents
it. `without_call` has the statements that no call needed, as `role.Sid`, or `policy.Sid` for those of a policy that the
role shares; `actions_without_call` what of a statement with calls was not called, as `role.Sid action`. A reason that
is not needed is as wrong as one that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.iam import Request, Rights, Statement, decided, listed, permits
from tests.support.policies import ACCOUNT

Named = Sequence[tuple[str, Statement]]
"""What a role's policies say, each statement with its name, as a file has it."""


@dataclass(frozen=True)
class Recorded:
    """One file. Calls have `{environment}` and `{account}` where these stand."""

    calls: Mapping[str, Sequence[str]]
    documented: Mapping[str, Mapping[str, str]]
    without: Mapping[str, str]
    spare: Mapping[str, str]

    @property
    def roles(self) -> set[str]:
        """The roles that the file has calls of."""
        return {*self.calls, *self.documented}

    def requests(self, role: str) -> list[Request]:
        """What a role, or AWS in its name, asks for, in production's names."""
        return [_request(call) for call in (*self.calls.get(role, ()), *self.documented.get(role, {}))]


def read(path: Path) -> Recorded:
    """The file under a path."""
    content = yaml.safe_load(path.read_text("utf-8"))
    documented = content.get("documented", {})
    return Recorded(content["calls"], documented, content["without_call"], content["actions_without_call"])


def refused(recorded: Recorded, role: str, rights: Named, boundary: Sequence[Statement]) -> list[Request]:
    """The calls of a role that its policies and its boundary do not allow."""
    own = Rights([statement for _, statement in rights], boundary)
    return [request for request in recorded.requests(role) if not permits(own, request)]


def unexplained(recorded: Recorded, rights: Mapping[str, Named]) -> list[str]:
    """Rights that no call needs and no reason explains, and reasons that nothing needs or that say nothing. `rights` by
    role, of all roles that the file is about."""
    statements, actions = not_called(rights, recorded)
    reasons = [*recorded.without.items(), *recorded.spare.items()]
    reasons += [(f"{role}: {call}", reason) for role, of in recorded.documented.items() for call, reason in of.items()]
    return [
        *(
            f"nothing calls for {name}"
            for name in sorted({*statements, *actions} - {*recorded.without, *recorded.spare})
        ),
        *(f"{name} is called for" for name in sorted({*recorded.without} - statements | {*recorded.spare} - actions)),
        *(f"no such role: {role}" for role in sorted(recorded.roles - set(rights))),
        *(f"{name}: expected a reason, found {reason!r}" for name, reason in reasons if len(reason) <= 20),
    ]


def not_called(rights: Mapping[str, Named], recorded: Recorded) -> tuple[set[str], set[str]]:
    """The statements, and the actions of others, that allow nothing of what was recorded. `rights` by role. A call on
    Glue's catalog counts for none: each statement about tables names it."""
    statements, actions = set(), set()
    for role, named in rights.items():
        for name, statement in named:
            requests = [r for r in recorded.requests(role) if not r.resource.endswith(":catalog")]
            called = {r.action for r in requests if decided([statement], r, "Allow")}
            if called:
                actions |= {f"{name} {action}" for action in listed(statement["Action"]) if action not in called}
            else:
                statements.add(name)
    return statements, actions


def unnamed(arn: str) -> str:
    """An ARN of a laptop's stack, with `{environment}` and `{account}` where these stand."""
    plain = re.sub(r"\b\d{12}\b", "{account}", arn).replace("gavel-local", "gavel-{environment}")
    return re.sub(r"\b(gavel(?:_\w+)?)_local\b", r"\1_{environment}", plain)


def _request(call: str) -> Request:
    action, resource, *known = call.replace("{environment}", "prod").replace("{account}", ACCOUNT).split(" ")
    context = dict(one.split("=", 1) for one in known)
    if action == "s3:ListBucket":
        resource, _, context["s3:prefix"] = resource.partition("/")
    if action == "cloudwatch:PutMetricData":
        context["cloudwatch:namespace"] = "Gavel"  # `orchestration` has no other one
    return Request(action, resource, {key: value for key, value in context.items() if value})
