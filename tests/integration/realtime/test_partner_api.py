"""The partner API on a running stack: another identity provider's tokens, hidden keys, tiers, and tenants by command.

The emulator looks for API keys in the header `x-api-key` alone. So these tests do what AWS's gateway does by itself
with `ApiKeySourceType: AUTHORIZER`: they take the key out of the authorizer's answer, and hand it to the gateway.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from typer.testing import CliRunner

from local.command_line import app
from local.deploy import STACK_NAME
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack

Command = Callable[..., str]


@dataclass
class PartnerApi:
    """The partner API of a laptop stack."""

    laptop: Laptop
    parameters: dict[str, str]

    def token(self, tenant: str) -> str:
        """A token of the identity provider for a tenant, who is a user of its pool."""
        cognito, pool = self.laptop.aws.client("cognito-idp"), self.parameters["TenantIssuer"].rpartition("/")[2]
        password = f"Aa1-{secrets.token_urlsafe(16)}"
        cognito.admin_create_user(UserPoolId=pool, Username=tenant, MessageAction="SUPPRESS")
        cognito.admin_set_user_password(UserPoolId=pool, Username=tenant, Password=password, Permanent=True)
        answer = cognito.admin_initiate_auth(
            UserPoolId=pool,
            ClientId=self.parameters["TenantAudience"],
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": tenant, "PASSWORD": password},
        )
        return str(answer["AuthenticationResult"]["IdToken"])

    def authorized(self, token: str) -> dict[str, Any]:
        """What the deployed authorizer answers the gateway."""
        method = "arn:aws:execute-api:eu-west-1:000000000000:api/local/GET/orders/o-1"
        answer = self.laptop.aws.client("lambda").invoke(
            FunctionName="gavel-local-authorizer",
            Payload=json.dumps({"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": method}),
        )
        assert "FunctionError" not in answer, answer["Payload"].read()
        return dict(json.loads(answer["Payload"].read()))

    def call(
        self, token: str | None, key: str | None = None, path: str = "/customers/nobody", method: str = "GET"
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of a request at the partner_api."""
        address = urlsplit(self.laptop.stack.outputs["TenantApiUrl"])
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        connection.request(method, address.path + path, headers=headers | ({"x-api-key": key} if key else {}))
        answer = connection.getresponse()
        body = json.loads(answer.read() or b"{}")
        connection.close()
        return answer.status, body


@pytest.fixture(scope="module")
def partner_api(laptop: Laptop) -> PartnerApi:
    (stack,) = laptop.aws.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    return PartnerApi(laptop, {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]})


@pytest.fixture
def gavel(laptop: Laptop) -> Command:
    """The command line on this stack; answers what it printed."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["ops", "tenant", *arguments], env={"GAVEL_HOME": str(laptop.home.path)})
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def tenant(gavel: Command) -> Iterator[str]:
    name = f"tenant-{secrets.token_hex(4)}"
    yield name
    gavel("remove", name)


def order(key: str, buyer: str) -> dict[str, Any]:
    return {
        "order_id": key,
        "buyer_id": buyer,
        "seller_id": "c-partner-seller",
        "currency": "EUR",
        "hammer_price": "1250.00",
        "buyers_premium": "312.50",
        "fees": [],
        "status": "placed",
        "placed_at": "2026-11-21T01:02:03.456Z",
    }


def test_a_tenant_reads_its_partys_orders_through_a_key_that_it_never_sees(
    partner_api: PartnerApi, laptop: Laptop, gavel: Command, tenant: str
) -> None:
    laptop.client.create("orders", order("o-partner-1", "c-partner-1"))
    laptop.client.create("orders", order("o-partner-2", "c-partner-2"))
    reported = gavel("add", tenant, "--party", "c-partner-1")
    token = partner_api.token(tenant)
    key = partner_api.authorized(token)["usageIdentifierKey"]
    status, body = partner_api.call(token, key, "/orders/o-partner-1")
    assert (status, body["order"]["order_id"]) == (200, "o-partner-1")
    assert partner_api.call(token, key, "/orders/o-partner-2")[0] == 404
    assert partner_api.call(token, key, "/orders/o-partner-1", "DELETE")[0] == 403
    assert key not in reported + gavel("list") + json.dumps(body)
    assert tenant in gavel("list")


def test_neither_a_token_nor_a_key_is_enough_alone(partner_api: PartnerApi, gavel: Command, tenant: str) -> None:
    gavel("add", tenant, "--staff")
    token = partner_api.token(tenant)
    key = partner_api.authorized(token)["usageIdentifierKey"]
    assert partner_api.call(token, key)[0] == 404, "inside: there is no such customer"
    assert partner_api.call(None, key)[0] == 401
    assert partner_api.call(token)[0] == 403
    assert partner_api.call(token, "another key")[0] == 403
    assert partner_api.call("not.a.token", key)[0] in (401, 403)


def test_a_token_that_the_provider_did_not_make_opens_nothing(
    partner_api: PartnerApi, gavel: Command, tenant: str
) -> None:
    gavel("add", tenant, "--staff")
    good = partner_api.token(tenant)
    key = partner_api.authorized(good)["usageIdentifierKey"]
    claims, kid = jwt.decode(good, options={"verify_signature": False}), jwt.get_unverified_header(good)["kid"]
    forged = jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": kid})
    assert partner_api.authorized(forged)["context"] == {"reason": "signature"}
    assert partner_api.call(forged, key)[0] in (401, 403)
    # A user of the staff's API is nobody at the partner API, and the other way round.
    staff = partner_api.laptop.client._valid_token()
    assert partner_api.authorized(staff)["context"]["reason"] in ("key", "issuer")
    address = urlsplit(partner_api.laptop.stack.outputs["ApiUrl"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request("GET", f"{address.path}/customers/nobody", headers={"Authorization": f"Bearer {good}"})
    assert connection.getresponse().status == 401
    connection.close()


def test_a_tenant_has_the_limits_of_its_tier_and_no_other_tenant_feels_it(
    partner_api: PartnerApi, gavel: Command, tenant: str
) -> None:
    gavel("add", tenant, "--staff", "--tier", "basic")
    token = partner_api.token(tenant)
    key = partner_api.authorized(token)["usageIdentifierKey"]
    assert partner_api.call(token, key)[0] == 404  # the gateway has a pass: sixty authorizers at once could time out
    together = Barrier(60)  # the gateway counts what arrives: a slow machine must not spread it over the seconds

    def call(_: int) -> int:
        together.wait()
        return partner_api.call(token, key)[0]

    with ThreadPoolExecutor(60) as pool:
        found = Counter(pool.map(call, range(60)))
    assert set(found) == {404, 429}
    assert found[404] + 1 >= 10, "a tier's burst is let through, the first call with it"
    assert gavel("add", tenant, "--staff", "--tier", "premium").startswith(f"{tenant}: changed")
    assert partner_api.authorized(token)["usageIdentifierKey"] == key, "another tier is no other key"
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: partner_api.call(token, key)[0], range(30))) == {404}


def test_a_tenant_comes_goes_and_comes_again_each_in_one_call(
    partner_api: PartnerApi, gavel: Command, tenant: str
) -> None:
    assert gavel("add", tenant, "--party", "c-1").startswith(f"{tenant}: added")
    assert gavel("add", tenant, "--party", "c-1").startswith(f"{tenant}: unchanged")
    assert gavel("add", tenant, "--party", "c-2").startswith(f"{tenant}: changed")
    token = partner_api.token(tenant)
    first = partner_api.authorized(token)
    assert first["context"] == {"tenant": tenant, "group": "party", "party_id": "c-2"}
    key = first["usageIdentifierKey"]
    path = "/parties/c-2/orders?role=buyer"
    assert partner_api.call(token, key, path)[0] == 200
    assert gavel("remove", tenant).startswith(f"{tenant}: removed")
    assert partner_api.call(token, key, path)[0] == 403, "the gateway's pass is still good, but the key is gone"
    assert partner_api.authorized(token)["context"] == {"reason": "tenant"}
    assert tenant not in gavel("list")
    assert "no such tenant" in gavel("remove", tenant)
    assert gavel("add", tenant, "--party", "c-2").startswith(f"{tenant}: added")
    again = partner_api.authorized(token)["usageIdentifierKey"]
    assert again != key
    assert partner_api.call(token, again, path)[0] == 200


def test_an_interrupted_addition_is_completed_by_the_next(partner_api: PartnerApi, gavel: Command, tenant: str) -> None:
    gateway = partner_api.laptop.aws.client("apigateway")
    left = gateway.create_api_key(name=f"gavel-local-{tenant}", enabled=True)
    gavel("add", tenant, "--staff")
    keys = list(gateway.get_api_keys(nameQuery=f"gavel-local-{tenant}")["items"])
    assert [k["id"] for k in keys] == [left["id"]]
    token = partner_api.token(tenant)
    assert partner_api.call(token, partner_api.authorized(token)["usageIdentifierKey"])[0] == 404


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (["--staff", "--tier", "gold"], "expected a tier of basic, premium, standard, found 'gold'"),
        (["--party", ""], "expected the id of a party"),
    ],
)
def test_a_wrong_request_says_what_was_expected(laptop: Laptop, arguments: list[str], reported: str) -> None:
    environment = {"GAVEL_HOME": str(laptop.home.path)}
    result = CliRunner().invoke(app, ["ops", "tenant", "add", "wrong-tenant", *arguments], env=environment)
    assert result.exit_code == 1
    assert reported in " ".join(result.output.split())
