"""An order of a marked party, sent through the API and looked for in its mart: whether an environment works end to end.

Nothing of it stays: the order is deleted through the API, whatever happened, and the user that sent it, too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from ops.environment import Environment, OpsError

PARTY = "gavel-smoke-test"
"""Buyer and seller of every such order: who looks at a report knows it by that."""
MART = "fct_orders"
SECONDS = 30
"""How long one request may take."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How long to wait for the mart (seconds), and what happens between two looks: a pause (seconds)."""

    limit: float
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    every: float = 15.0


def smoke(where: Environment, manner: Manner, say: Callable[[str], None]) -> None:
    """Send an order, wait until its mart has it, and delete it. Raises `OpsError` if it is not there in time."""
    outputs = _outputs(where)
    order = f"smoke-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    with _token(where, outputs) as token:
        address = f"{outputs['ApiUrl']}/orders"
        begun = manner.clock()
        try:
            _send("POST", address, token, _order(order))
            say(f"{order}: the API took it")
            while not in_mart(where, order):
                if not manner.clock() - begun <= manner.limit:
                    raise OpsError(
                        f"{order}: expected it in {MART} within {manner.limit / 60:.0f} minutes, found nothing; "
                        "`gavel ops doctor` says what stands still. It is deleted again"
                    )
                manner.pause(manner.every)
            say(f"{order}: in {MART} after {manner.clock() - begun:.0f} s")
        except BaseException as error:  # it may be there, also where no answer came
            _delete(f"{address}/{order}", token, error)
            raise
        _send("DELETE", f"{address}/{order}", token)
    say(f"{order}: deleted again, and its user")


def in_mart(where: Environment, order: str) -> bool:
    """Whether readers of the mart find the order."""
    from lakehouse.storage.sql import literal
    from reporting.source import WarehouseNotBuilt, open_published, open_warehouse
    from warehouse.marts import Mart

    mart = Mart(f"gavel_marts_{where.name}", MART)
    try:
        with open_warehouse(where.warehouse) if where.warehouse else open_published(where.lake, [mart]) as source:
            if not source.has(MART):
                return False
            return not source.read(f"select 1 from {source.ref(MART)} where order_id = {literal(order)}").empty
    except WarehouseNotBuilt:
        return False


def _order(order: str) -> dict[str, str]:
    """Cancelled from the start, so that no report counts it while it is there."""
    return {
        "order_id": order,
        "buyer_id": PARTY,
        "seller_id": PARTY,
        "currency": "EUR",
        "hammer_price": "1.00",
        "status": "cancelled",
        "placed_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _outputs(where: Environment) -> dict[str, str]:
    stack = f"gavel-{where.name}"
    found = where.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", ())
    outputs = {o["OutputKey"]: str(o["OutputValue"]) for o in found}
    if missing := {"ApiUrl", "UserPoolId", "UserPoolClientId"} - outputs.keys():
        raise OpsError(f"{stack}: expected the outputs {', '.join(sorted(missing))}, found none; deploy it first")
    return outputs


def _send(method: str, address: str, token: str, body: dict[str, str] | None = None) -> None:
    if not address.startswith(("https://", "http://127.0.0.1:")):
        raise OpsError(f"expected the API's address with https, found {address}")
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address, data, headers, method=method)  # noqa: S310 - looked at above
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode("utf-8", "replace")
        raise OpsError(f"{method} {address}: expected that the API takes it, found {error.code}: {said}") from error
    except OSError as error:
        raise OpsError(f"{method} {address}: expected an answer within {SECONDS} s, found {error}") from error


def _delete(address: str, token: str, error: BaseException) -> None:
    """Delete an order that did not arrive, or perhaps was never taken. If that fails, too, raises `OpsError` with both
    failures."""
    try:
        _send("DELETE", address, token)
    except OpsError as again:
        if isinstance(again.__cause__, urllib.error.HTTPError) and again.__cause__.code == HTTPStatus.NOT_FOUND:
            return
        raise OpsError(
            f"{str(error) or type(error).__name__}; it is NOT deleted ({again}): delete it by hand"
        ) from error


@contextmanager
def _token(where: Environment, outputs: dict[str, str]) -> Iterator[str]:
    """A token of a user of staff that is there as long as the context."""
    cognito, pool = where.client("cognito-idp"), {"UserPoolId": outputs["UserPoolId"]}
    name, password = f"smoke-{secrets.token_hex(8)}", f"Aa1-{secrets.token_urlsafe(24)}"
    cognito.admin_create_user(**pool, Username=name, MessageAction="SUPPRESS")
    try:
        cognito.admin_set_user_password(**pool, Username=name, Password=password, Permanent=True)
        cognito.admin_add_user_to_group(**pool, Username=name, GroupName="staff")
        client = {**pool, "ClientId": outputs["UserPoolClientId"]}
        answer = cognito.admin_initiate_auth(
            **client,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": name, "PASSWORD": password},
        )
        if answer.get("ChallengeName") == "MFA_SETUP":  # where the pool asks everybody for a code
            answer = _with_code(cognito, client, name, answer["Session"])
        if "AuthenticationResult" not in answer:
            raise OpsError(f"expected a token of the pool, found the challenge {answer.get('ChallengeName')}")
        yield str(answer["AuthenticationResult"]["IdToken"])
    finally:
        cognito.admin_delete_user(**pool, Username=name)


def _with_code(cognito: Any, client: dict[str, str], name: str, session: str) -> dict[str, Any]:
    """Sign in with an authenticator of the moment."""
    made = cognito.associate_software_token(Session=session)
    code = one_time_code(made["SecretCode"], time.time())
    session = cognito.verify_software_token(Session=made["Session"], UserCode=code)["Session"]
    answer: dict[str, Any] = cognito.admin_respond_to_auth_challenge(
        **client, ChallengeName="MFA_SETUP", Session=session, ChallengeResponses={"USERNAME": name}
    )
    return answer


def one_time_code(secret: str, at: float) -> str:
    """The code of six digits that an authenticator shows for a secret (base 32) at a time in seconds (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    digest = hmac.new(key, struct.pack(">Q", int(at) // 30), hashlib.sha1).digest()
    start = digest[-1] & 0xF
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"
