"""The roles of functions hold what their calls need, and nothing that no call needs.

The calls are those that an emulator heard, and allowed, when functions did their work
(`tests/integration/realtime/test_rights.py`, which compares them with the file in every run).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.expanded import expanded
from tests.support.policies import arns, boundary, documents, resolved
from tests.support.recorded_rights import Named, read, refused, unexplained

RECORDED = read(Path(__file__).with_name("recorded_calls.yaml"))
RESOURCES = dict(expanded("prod")["Resources"])
ROLES = sorted(name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::IAM::Role")


def rights(role: str) -> Named:
    names = arns(RESOURCES, {"Environment": "prod"})
    statements = [s for d in documents(RESOURCES[role], RESOURCES) for s in resolved(d["Statement"], names)]
    return [(f"{role}.{s.get('Sid', number)}", s) for number, s in enumerate(statements)]


@pytest.mark.parametrize("role", ROLES)
def test_a_function_may_do_what_it_was_heard_to_do(role: str) -> None:
    assert refused(RECORDED, role, rights(role), boundary()) == []


def test_every_right_of_functions_is_called_or_has_its_reason() -> None:
    assert unexplained(RECORDED, {role: rights(role) for role in ROLES}) == []
