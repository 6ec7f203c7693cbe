"""The authorizer function: what the gateway learns of a caller, and what nobody learns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest

from local.home import REPOSITORY
from ops.commands.tenants import add_tenant
from realtime.api.caller import Caller
from realtime.authorizer.handler import Authorizer, CannotTell
from realtime.authorizer.keys import KeysUnavailable
from realtime.authorizer.settings import Settings
from realtime.authorizer.tenants import Tenant, TenantStore
from realtime.authorizer.tokens import Refused
from realtime.environment import read_settings

METHOD = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/prod/GET/orders/o-1"
EVERY_METHOD = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/prod/*"
STAFF = Tenant("erp", "premium", "staff", None, "id-1", "value-of-erp")
PARTY = Tenant("acme|1", "basic", "party", "c-1", "id-2", "value-of-acme")
OPEN = {
    "GAVEL_ENV": "prod",
    "GAVEL_TENANTS_TABLE": "t",
    "GAVEL_TENANT_ISSUER": "https://login.example/",
    "GAVEL_TENANT_AUDIENCE": "https://api.example",
    "GAVEL_TENANT_KEYS_URL": "https://login.example/keys",
    "GAVEL_TENANT_ALGORITHM": "RS256",
    "GAVEL_TENANT_CLAIM": "sub",
}
SHUT = {name: "" if name.startswith("GAVEL_TENANT_") else value for name, value in OPEN.items()}


class Named:
    """Stands for the check of tokens: a token is the tenant's name, or what goes wrong."""

    def __init__(self, **wrong: Exception) -> None:
        self.wrong = wrong
        self.requested: list[str] = []

    def tenant_of(self, token: str) -> str:
        self.requested.append(token)
        if token in self.wrong:
            raise self.wrong[token]
        return token


@pytest.fixture
def store(dynamodb: Any, template: dict[str, Any]) -> Iterator[TenantStore]:
    definition = template["Resources"]["TenantsTable"]["Properties"]
    table = dynamodb.create_table(
        TableName="tenants",
        BillingMode="PAY_PER_REQUEST",
        **{k: definition[k] for k in ("AttributeDefinitions", "KeySchema")},
    )
    for tenant in (STAFF, PARTY):
        dynamodb.plain.put_item(TableName="tenants", Item=tenant.item())
    yield TenantStore(dynamodb.plain, "tenants")
    table.delete()


def authorizer(store: TenantStore, verifier: Named, environment: dict[str, str] = OPEN) -> Authorizer:
    return Authorizer(read_settings(Settings, environment), verifier, store)  # type: ignore[arg-type]


def ask(door: Authorizer, authorization: str) -> dict[str, Any]:
    return door.answer({"type": "TOKEN", "authorizationToken": authorization, "methodArn": METHOD})


def effect(answer: dict[str, Any]) -> tuple[str, str]:
    (statement,) = answer["policyDocument"]["Statement"]
    assert statement["Action"] == "execute-api:Invoke"
    return statement["Effect"], statement["Resource"]


@pytest.mark.parametrize("tenant", [STAFF, PARTY])
def test_a_tenant_comes_in_with_its_key_and_as_a_caller_that_the_api_knows(store: TenantStore, tenant: Tenant) -> None:
    answer = ask(authorizer(store, Named()), f"Bearer {tenant.name}")
    assert effect(answer) == ("Allow", EVERY_METHOD)
    assert answer["usageIdentifierKey"] == tenant.key_value
    assert tenant.key_value not in json.dumps(answer["context"])
    assert all(isinstance(value, str) for value in answer["context"].values())
    caller = Caller.of({"requestContext": {"authorizer": {**answer["context"], "principalId": answer["principalId"]}}})
    assert (caller.tenant, caller.group, caller.party_id) == (tenant.name, tenant.group, tenant.party_id)


def test_a_refused_token_is_denied_everywhere_with_a_reason_and_without_a_key(store: TenantStore) -> None:
    answer = ask(authorizer(store, Named(old=Refused("expired"))), "Bearer old")
    assert effect(answer) == ("Deny", EVERY_METHOD)
    assert answer["context"] == {"reason": "expired"}
    assert "usageIdentifierKey" not in answer


def test_a_good_token_of_no_tenant_is_denied(store: TenantStore) -> None:
    answer = ask(authorizer(store, Named()), "Bearer stranger")
    assert effect(answer)[0] == "Deny"
    assert answer["context"] == {"reason": "tenant"}


@pytest.mark.parametrize("authorization", ["", "erp", "Basic erp", "Bearererp", "Token erp"])
def test_only_a_bearer_token_is_looked_at(store: TenantStore, authorization: str) -> None:
    verifier = Named()
    answer = ask(authorizer(store, verifier), authorization)
    assert effect(answer)[0] == "Deny"
    assert verifier.requested == []


def test_a_shut_door_looks_at_no_token(store: TenantStore) -> None:
    verifier = Named()
    assert effect(ask(authorizer(store, verifier, SHUT), "Bearer erp"))[0] == "Deny"
    assert verifier.requested == []


@pytest.mark.parametrize("wrong", [KeysUnavailable("keys"), RuntimeError("text that quotes a token")])
def test_who_cannot_tell_fails_and_says_nothing_of_the_caller(
    store: TenantStore, wrong: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CannotTell) as raised:
        ask(authorizer(store, Named(token=wrong)), "Bearer token")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert "quotes" not in str(raised.value) + capsys.readouterr().out


def test_a_table_that_is_not_there_is_no_refusal(dynamodb: Any) -> None:
    with pytest.raises(CannotTell):
        ask(authorizer(TenantStore(dynamodb.plain, "nowhere"), Named()), "Bearer erp")


def test_a_half_written_tenant_is_no_refusal_and_no_entrance(store: TenantStore, dynamodb: Any) -> None:
    item = {**PARTY.item(), "pk": {"S": "half"}}
    del item["party_id"]
    dynamodb.plain.put_item(TableName="tenants", Item=item)
    with pytest.raises(CannotTell):
        ask(authorizer(store, Named()), "Bearer half")


def test_the_log_names_neither_tenant_nor_token_nor_key(store: TenantStore, capsys: pytest.CaptureFixture[str]) -> None:
    door = authorizer(store, Named(secret=Refused("signature")))
    for name in ("acme|1", "stranger", "secret"):
        ask(door, f"Bearer {name}")
    lines = capsys.readouterr().out
    assert not [word for word in ("acme", "c-1", "value-of", "id-2", "stranger", "secret") if word in lines]
    found = [json.loads(line) for line in lines.splitlines()]
    assert [line["message"] for line in found if "message" in line] == ["authorized", "refused", "refused"]
    assert [line["reason"] for line in found if "TokensRefused" in line] == ["tenant", "signature"]


def test_a_tenant_is_kept_as_it_is_and_its_key_is_not_shown() -> None:
    for tenant in (STAFF, PARTY):
        assert Tenant.of(tenant.item()) == tenant
        assert tenant.key_value not in repr(tenant)


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"GAVEL_TENANT_KEYS_URL": "http://login.example/keys"}, "https"),
        ({"GAVEL_TENANT_KEYS_URL": "http://127.0.0.1:4566/keys"}, "https"),
        ({"GAVEL_TENANT_KEYS_URL": ""}, "https"),
        ({"GAVEL_TENANT_AUDIENCE": ""}, "TenantAudience"),
        ({"GAVEL_TENANT_CLAIM": ""}, "TenantClaim"),
        ({"GAVEL_TENANT_ALGORITHM": "HS256"}, "TenantAlgorithm"),
        ({"GAVEL_TENANT_ALGORITHM": "none"}, "TenantAlgorithm"),
    ],
)
def test_half_a_configuration_opens_no_door(wrong: dict[str, str], reported: str) -> None:
    with pytest.raises(ValueError, match=reported):
        read_settings(Settings, {**OPEN, **wrong})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="GAVEL_TENANT_ISSUER"):
        read_settings(Settings, {"GAVEL_ENV": "prod", "GAVEL_TENANTS_TABLE": "t"})


# ---- the template ---------------------------------------------------------------------------------------------------


def routes(template: dict[str, Any], api: str) -> set[tuple[str, str]]:
    events = template["Resources"]["ApiFunction"]["Properties"]["Events"].values()
    found = [event["Properties"] for event in events]
    return {(p["Path"], p["Method"]) for p in found if p["RestApiId"] == {"Ref": api}}


def test_both_doors_lead_to_the_same_routes(template: dict[str, Any]) -> None:
    assert routes(template, "TenantApi") == routes(template, "Api") != set()


def test_the_gateway_takes_the_key_from_the_authorizer_and_writes_neither_down(template: dict[str, Any]) -> None:
    api = template["Resources"]["TenantApi"]["Properties"]
    assert api["ApiKeySourceType"] == "AUTHORIZER"
    assert api["Auth"]["ApiKeyRequired"] is True
    assert api["Auth"]["DefaultAuthorizer"] == "Tenants"
    assert [s["DataTraceEnabled"] for s in api["MethodSettings"]] == [False]


def test_every_tier_has_a_plan_with_limits(template: dict[str, Any]) -> None:
    _, tiers, plans = template["Resources"]["Fn::ForEach::UsagePlans"]
    assert set(tiers) == set(template["Mappings"]["Tiers"])
    (plan,) = plans.values()
    assert {"Throttle", "Quota"} <= set(plan["Properties"])


def test_pages_and_the_command_name_the_tiers_of_the_template(template: dict[str, Any]) -> None:
    tiers = template["Mappings"]["Tiers"]
    rows = [f"| `{n}` | {t['Rate']} | {t['Burst']} | {t['PerDay']:,} |" for n, t in tiers.items()]
    assert "|---|---|---|---|\n" + "\n".join(rows) + "\n\n" in (REPOSITORY / "docs" / "realtime.md").read_text("utf-8")
    *others, last = tiers
    tier = signature(add_tenant).parameters["tier"]
    assert f": {', '.join(others)} or {last}." in str(tier.annotation)
    assert tier.default in tiers


def test_the_door_is_shut_unless_an_issuer_is_named(template: dict[str, Any]) -> None:
    assert template["Parameters"]["TenantIssuer"]["Default"] == ""
    assert set(template["Parameters"]["TenantAlgorithm"]["AllowedValues"]) == {"RS256", "PS256", "ES256", "EdDSA"}


def test_only_the_authorizer_reads_the_tenants_and_no_function_writes_them(template: dict[str, Any]) -> None:
    may: dict[str, set[str]] = {}
    for name, resource in template["Resources"].items():
        if name.startswith("Fn::") or resource["Type"] != "AWS::IAM::Role":
            continue
        for policy in resource["Properties"].get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                if "TenantsTable" in json.dumps(statement["Resource"]):
                    actions = statement["Action"]
                    may.setdefault(name, set()).update([actions] if isinstance(actions, str) else actions)
    assert may == {"AuthorizerRole": {"dynamodb:GetItem"}}
