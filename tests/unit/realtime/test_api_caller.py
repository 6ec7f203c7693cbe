"""Who calls: what the gateway's authorizers found out, and nobody else's word."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.api.caller import Caller
from realtime.api.problems import Refusal


def event(authorizer: dict[str, Any] | None) -> dict[str, Any]:
    return {"requestContext": {"authorizer": authorizer}}


def claims(**more: Any) -> dict[str, Any]:
    return event({"claims": {"sub": "s-1", **more}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (claims(**{"cognito:groups": "staff"}), Caller("user s-1", "staff", None, None)),
        (claims(**{"cognito:groups": "[party staff]"}), Caller("user s-1", "staff", None, None)),
        (
            claims(**{"cognito:groups": "party,staff", "custom:party_id": "c-1"}),
            Caller("user s-1", "staff", None, None),
        ),
        (claims(**{"cognito:groups": "party", "custom:party_id": "c-1"}), Caller("user s-1", "party", "c-1", None)),
        (event({"tenant": "acme", "group": "staff"}), Caller("tenant acme", "staff", None, "acme")),
        (
            event({"tenant": "acme", "group": "party", "party_id": "c-1", "principalId": "x", "integrationLatency": 3}),
            Caller("tenant acme", "party", "c-1", "acme"),
        ),
    ],
)
def test_a_caller_is_who_the_authorizer_says(given: dict[str, Any], expected: Caller) -> None:
    assert Caller.of(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        {},
        event(None),
        event({}),
        event({"claims": {"sub": "s-1"}}),
        claims(**{"cognito:groups": ""}),
        claims(**{"cognito:groups": "staffs"}),
        claims(**{"cognito:groups": "STAFF"}),
        claims(**{"cognito:groups": {"staff": True}}),
        claims(**{"cognito:groups": "not-staff"}),
        claims(**{"cognito:groups": "party"}),
        claims(**{"cognito:groups": "party", "custom:party_id": ""}),
        claims(**{"cognito:groups": "party", "custom:party_id": None}),
        event({"group": "staff"}),
        event({"tenant": "", "group": "staff"}),
        event({"tenant": "acme"}),
        event({"tenant": "acme", "group": "party"}),
        {"headers": {"tenant": "acme", "group": "staff"}, "requestContext": {}},
    ],
)
def test_whoever_is_in_no_group_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        Caller.of(given)
    assert refused.value.status == 403


def test_a_user_and_a_tenant_of_one_name_are_two_callers() -> None:
    user = Caller.of(event({"claims": {"sub": "acme", "cognito:groups": "staff"}}))
    tenant = Caller.of(event({"tenant": "acme", "group": "staff"}))
    assert user.name != tenant.name
