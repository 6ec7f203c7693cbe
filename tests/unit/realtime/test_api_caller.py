"""Who calls: what the gateway's authorizers found out, and nobody else's word."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from realtime.api.caller import Caller
from realtime.api.problems import ApiError


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
        (claims(**{"cognito:groups": "auditor", "custom:party_id": "c-1"}), Caller("user s-1", "auditor", None, None)),
        (claims(**{"cognito:groups": "[party auditor]"}), Caller("user s-1", "auditor", None, None)),
        (claims(**{"cognito:groups": "auditor,party,staff"}), Caller("user s-1", "staff", None, None)),
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
    with pytest.raises(ApiError) as refused:
        Caller.of(given)
    assert refused.value.status == 403


names = st.one_of(
    st.sampled_from(
        ["staff", "party", "auditor", "x,staff", "party,staff", "[staff]", "staff ", "[party", "staff]", "x"]
    ),
    st.text(st.sampled_from("staffpry,[] "), min_size=1, max_size=12),
)
joins = st.sampled_from([",".join, lambda found: f"[{' '.join(found)}]"])


def token(groups: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"sub": "s-1", "cognito:groups": groups}).encode()).decode()
    return f"Bearer e30.{payload.rstrip('=')}.c2ln"


def is_staff(given: dict[str, Any]) -> bool:
    try:
        return Caller.of(given).group == "staff"
    except ApiError:
        return False


@for_all(st.lists(names, min_size=1, max_size=3), joins)
def test_only_a_group_of_that_very_name_makes_staff(groups: list[str], join: Callable[[list[str]], str]) -> None:
    """Names of groups may hold what a gateway puts between them."""
    given = claims(**{"cognito:groups": join(groups), "custom:party_id": "c-1"})
    with_token = given | {"headers": {"authorization": token(groups)}}
    if join(groups) != "staff":
        assert is_staff(with_token) == ("staff" in groups)
    several = {"multiValueHeaders": {"Authorization": [token(["staff", *groups]), token(groups)]}}
    assert not is_staff(given | several) or join(groups) == "staff"
    assert not is_staff(given | {"headers": {"Authorization": token(["staff", *groups])}}) or "staff" in groups


@pytest.mark.parametrize("text", ["x,staff", "[x staff]", "staff,x", "x staff", "[x,staff]"])
@pytest.mark.parametrize("authorization", [None, "Bearer junk", "Bearer a.b.c", token("staff"), token(["staff", 7])])
def test_a_name_that_may_be_part_of_another_makes_no_staff(text: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"headers": {"Authorization": authorization}}
    assert not is_staff(claims(**{"cognito:groups": text}) | headers)
    assert not is_staff(event({"tenant": "acme", "group": text}))


@for_all(st.lists(names, min_size=1, max_size=3), joins)
def test_without_a_token_only_known_names_in_one_of_two_forms_count(
    groups: list[str], join: Callable[..., str]
) -> None:
    text = join(groups)
    several = [g for count in (2, 3) for g in permutations(("staff", "auditor", "party"), count) if "staff" in g]
    exact = {"staff"} | {form for g in several for form in (",".join(g), f"[{' '.join(g)}]")}
    assert is_staff(claims(**{"cognito:groups": text})) == (text in exact)


def test_a_user_and_a_tenant_of_one_name_are_two_callers() -> None:
    user = Caller.of(event({"claims": {"sub": "acme", "cognito:groups": "staff"}}))
    tenant = Caller.of(event({"tenant": "acme", "group": "staff"}))
    assert user.name != tenant.name


def test_of_several_tokens_none_is_believed() -> None:
    """Who knows which of them the gateway has verified: a forged one can split the claim's text in another way."""
    given = claims(**{"cognito:groups": "party,staff", "custom:party_id": "c-1"})
    forged, verified = token(["party", "staff"]), token(["party,staff"])
    assert not is_staff(given | {"multiValueHeaders": {"Authorization": [forged, verified]}})
