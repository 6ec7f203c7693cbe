"""The roles of functions hold what their calls need, and nothing that no call needs.

The calls are those that an emulator heard, and allowed, when functions did their work
(`tests/integration/realtime/test_rights.py`, which compares them with the file in every run).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.expanded import expanded, expanded_stack
from tests.support.iam import Rights, Statement, permits
from tests.support.policies import arns, documents, resolved
from tests.support.recorded_rights import Named, not_called, read

RECORDED = read(Path(__file__).with_name("recorded_calls.yaml"))
RESOURCES = dict(expanded("prod")["Resources"])
BOUNDARY: list[Statement] = resolved(
    expanded_stack("delivery", "prod")["Resources"]["Boundary"]["Properties"]["PolicyDocument"]["Statement"],
    {"Environment": "prod"},
)
ROLES = sorted(name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::IAM::Role")


def rights(role: str) -> Named:
    names = arns(RESOURCES, {"Environment": "prod"})
    statements = [s for d in documents(RESOURCES[role], RESOURCES) for s in resolved(d["Statement"], names)]
    return [(f"{role}.{s.get('Sid', number)}", s) for number, s in enumerate(statements)]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_was_heard_to_do(role: str) -> None:
    own = Rights([statement for _, statement in rights(role)], BOUNDARY)
    assert [r for r in RECORDED.requests(role) if not permits(own, r)] == []


def test_every_statement_has_a_call_or_a_reason() -> None:
    """A right that no call needs is taken away, or its reason is written down; a reason that is not needed goes."""
    statements, _ = not_called({role: rights(role) for role in ROLES}, RECORDED)
    assert statements == set(RECORDED.without)


def test_every_right_of_a_statement_with_calls_is_called() -> None:
    """An action more in a statement is a right as well."""
    _, actions = not_called({role: rights(role) for role in ROLES}, RECORDED)
    assert actions == set(RECORDED.spare)


def test_the_file_says_of_each_role_what_was_heard() -> None:
    assert set(RECORDED.calls) <= set(ROLES)
    assert all(len(reason) > 20 for reason in [*RECORDED.without.values(), *RECORDED.spare.values()])
