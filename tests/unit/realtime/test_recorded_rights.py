"""The roles of functions hold what their calls need, and nothing that no call needs.

The calls are those that an emulator heard, and allowed, when functions did their work
(`tests/integration/realtime/test_rights.py`, which compares them with the file in every run).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.expanded import expanded, expanded_stack
from tests.support.iam import Request, Rights, Statement, decided, listed, permits
from tests.support.policies import ACCOUNT, arns, documents, resolved

FILE = Path(__file__).with_name("recorded_calls.yaml")
RECORDED: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
CALLS: dict[str, list[str]] = RECORDED["calls"]
WITHOUT: dict[str, str] = RECORDED["without_call"]
SPARE: dict[str, str] = RECORDED["actions_without_call"]
RESOURCES = dict(expanded("prod")["Resources"])
BOUNDARY: list[Statement] = resolved(
    expanded_stack("delivery", "prod")["Resources"]["Boundary"]["Properties"]["PolicyDocument"]["Statement"],
    {"Environment": "prod"},
)
ROLES = sorted(name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::IAM::Role")


def rights(role: str) -> list[Statement]:
    names = arns(RESOURCES, {"Environment": "prod"})
    return [s for d in documents(RESOURCES[role], RESOURCES) for s in resolved(d["Statement"], names)]


def requests(role: str) -> Iterator[Request]:
    """What a role was heard to ask for, in production's names."""
    for call in CALLS.get(role, ()):
        action, _, resource = call.partition(" ")
        resource = resource.replace("{environment}", "prod").replace("{account}", ACCOUNT)
        context = {}
        if action == "s3:ListBucket":
            resource, _, context["s3:prefix"] = resource.partition("/")
        yield Request(action, resource, {k: v for k, v in context.items() if v})


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_was_heard_to_do(role: str) -> None:
    own = Rights(rights(role), BOUNDARY)
    assert [r for r in requests(role) if not permits(own, r)] == []


def table() -> dict[str, int]:
    """How many recorded calls each statement allows, by role and Sid."""
    found = {}
    for role in ROLES:
        for number, statement in enumerate(rights(role)):
            name = f"{role}.{statement.get('Sid', number)}"
            found[name] = sum(bool(decided([statement], r, "Allow")) for r in requests(role))
    return found


def test_every_statement_has_a_call_or_a_reason() -> None:
    """A right that no call needs is taken away, or its reason is written down; a reason that is not needed goes."""
    counted = table()
    assert {name for name, calls in counted.items() if not calls} == set(WITHOUT)
    assert all(len(reason) > 20 for reason in [*WITHOUT.values(), *SPARE.values()])


def test_every_right_of_a_statement_with_calls_is_called() -> None:
    """An action more in a statement is a right as well."""
    spare = set()
    for role in ROLES:
        for statement in rights(role):
            called = {r.action for r in requests(role) if decided([statement], r, "Allow")}
            if called:
                spare |= {f"{role}.{statement['Sid']} {a}" for a in listed(statement["Action"]) if a not in called}
    assert spare == set(SPARE)


def test_the_file_says_of_each_role_what_was_heard() -> None:
    assert set(CALLS) <= set(ROLES)
    assert [call for calls in CALLS.values() for call in calls if call.count(" ") != 1] == []
