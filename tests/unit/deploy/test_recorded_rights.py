"""The roles of the pipeline hold what their calls need, and nothing that no call needs.

The calls are those that jobs and sensors made on a laptop's stack (`tests/integration/orchestration/test_rights.py`),
and Dagster's daemon and web server with ECS emulated (`tests/unit/orchestration/test_instance.py`). Both compare them
with the file in every run. What ECS does before a task begins, nobody here can hear: AWS documents it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.expanded import expanded, expanded_stack
from tests.support.policies import arns, boundary, resolved
from tests.support.recorded_rights import Named, read, refused, unexplained
from tests.support.rights import MANAGED, ROLES

RECORDED = read(Path(__file__).with_name("recorded_calls.yaml"))
PIPELINE, REALTIME = (dict(s["Resources"]) for s in (expanded_stack("pipeline", "prod"), expanded("prod")))
ENVIRONMENT = {"Environment": "prod"}


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


@pytest.mark.parametrize("role", ROLES.values())
def test_a_role_may_do_what_it_was_heard_to_do(role: str) -> None:
    assert RECORDED.requests(role)
    assert refused(RECORDED, role, rights(role), boundary()) == []


def test_every_right_of_a_task_is_called_or_has_its_reason() -> None:
    assert unexplained(RECORDED, {role: rights(role) for role in ROLES.values()}) == []
