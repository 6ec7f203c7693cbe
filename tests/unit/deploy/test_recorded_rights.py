"""The roles of runs and of the code server hold what their calls need, and nothing that no call needs.

The calls are those that jobs and sensors made on a laptop's stack (`tests/integration/orchestration/test_rights.py`,
which compares them with the file in every run).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.expanded import expanded, expanded_stack
from tests.support.iam import Rights, Statement, permits
from tests.support.policies import arns, resolved
from tests.support.recorded_rights import Named, not_called, read
from tests.support.rights import MANAGED

RECORDED = read(Path(__file__).with_name("recorded_calls.yaml"))
PIPELINE, REALTIME = (dict(s["Resources"]) for s in (expanded_stack("pipeline", "prod"), expanded("prod")))
ENVIRONMENT = {"Environment": "prod"}
BOUNDARY: list[Statement] = resolved(
    expanded_stack("delivery", "prod")["Resources"]["Boundary"]["Properties"]["PolicyDocument"]["Statement"],
    ENVIRONMENT,
)
ROLES = ("CodeRole", "RunRole")


def rights(role: str) -> Named:
    """What a role's own policies say, and those of the real-time path that are attached to it."""
    own = PIPELINE[role]["Properties"]
    found = [(role, p["PolicyDocument"], PIPELINE) for p in own["Policies"]]
    for arn in own.get("ManagedPolicyArns", ()):
        name = MANAGED[json.dumps(arn).rpartition("-")[2].rstrip('"}')]
        found.append((name, REALTIME[name]["Properties"]["PolicyDocument"], REALTIME))
    return [
        (f"{name}.{statement['Sid']}", statement)
        for name, document, resources in found
        for statement in resolved(document["Statement"], arns(resources, ENVIRONMENT))
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_was_heard_to_do(role: str) -> None:
    own = Rights([statement for _, statement in rights(role)], BOUNDARY)
    assert len(RECORDED.calls[role]) > 10
    assert [r for r in RECORDED.requests(role) if not permits(own, r)] == []


def test_every_statement_has_a_call_or_a_reason() -> None:
    """A right that no call needs is taken away, or its reason is written down; a reason that is not needed goes."""
    statements, _ = not_called({role: rights(role) for role in ROLES}, RECORDED)
    assert statements == set(RECORDED.without)


def test_every_right_of_a_statement_with_calls_is_called() -> None:
    """An action more in a statement is a right as well."""
    _, actions = not_called({role: rights(role) for role in ROLES}, RECORDED)
    assert actions == set(RECORDED.spare)


def test_the_file_says_why_of_each() -> None:
    assert set(RECORDED.calls) == set(ROLES)
    assert all(len(reason) > 20 for reason in [*RECORDED.without.values(), *RECORDED.spare.values()])
