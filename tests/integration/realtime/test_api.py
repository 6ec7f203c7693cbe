"""The API on the emulator: Cognito's groups, receipts across two tables, and the description, as they are deployed."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from lakehouse.storage.lake import Lake
from local.aws import REGION
from local.client import ApiClient, ApiError
from retrieval.answering import answer_waiting
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack


def order(order_id: str, buyer_id: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "buyer_id": buyer_id,
        "seller_id": "c-api-seller",
        "currency": "EUR",
        "hammer_price": "12.50",
        "status": "placed",
        "placed_at": "2026-11-21T01:02:03Z",
    }


@pytest.fixture
def user(laptop: Laptop) -> Callable[..., ApiClient]:
    """Makes a user of the pool, as an administrator would, and signs in as him."""
    cognito, outputs = laptop.aws.client("cognito-idp"), laptop.stack.outputs

    def make(group: str | None, **attributes: str) -> ApiClient:
        name, password = f"{secrets.token_hex(4)}@gavel.example", f"Aa1-{secrets.token_urlsafe(16)}"
        found = [{"Name": f"custom:{k}", "Value": v} for k, v in attributes.items()]
        pool = {"UserPoolId": outputs["UserPoolId"], "Username": name}
        cognito.admin_create_user(**pool, MessageAction="SUPPRESS", UserAttributes=found)
        cognito.admin_set_user_password(**pool, Password=password, Permanent=True)
        if group is not None:
            cognito.admin_add_user_to_group(**pool, GroupName=group)

        def sign_in() -> tuple[str, float]:
            answer = cognito.admin_initiate_auth(
                UserPoolId=outputs["UserPoolId"],
                ClientId=outputs["UserPoolClientId"],
                AuthFlow="ADMIN_USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": name, "PASSWORD": password},
            )["AuthenticationResult"]
            return str(answer["IdToken"]), float(answer["ExpiresIn"])

        return ApiClient(outputs["ApiUrl"], sign_in)

    return make


def status(call: Callable[[], Any]) -> int:
    try:
        call()
    except ApiError as error:
        return error.status
    return 200


def test_a_party_signs_in_and_reads_its_own_orders_only(laptop: Laptop, user: Callable[..., ApiClient]) -> None:
    for number, buyer in enumerate(("c-api-1", "c-api-2")):
        laptop.client.create("orders", order(f"o-api-{number}", buyer))
    party = user("party", party_id="c-api-1")
    assert party.get("orders", "o-api-0")["order"]["buyer_id"] == "c-api-1"
    assert [o["order_id"] for o in party.party_orders("c-api-1", "buyer")["orders"]] == ["o-api-0"]
    assert status(lambda: party.get("orders", "o-api-1")) == 404
    assert status(lambda: party.party_orders("c-api-2", "buyer")) == 403
    assert status(lambda: party.get("customers", "c-api-1")) == 403
    assert status(lambda: party.patch("orders", "o-api-0", {"status": "paid"})) == 403


def test_a_user_in_no_group_or_of_no_party_reads_nothing(user: Callable[..., ApiClient]) -> None:
    for nobody in (user(None), user(None, party_id="c-api-1"), user("party")):
        assert status(lambda: nobody.get("orders", "o-api-0")) == 403  # noqa: B023 (called at once)


def test_the_same_write_sent_eight_times_at_once_is_done_once(laptop: Laptop) -> None:
    def send(_: int) -> dict[str, Any]:
        return laptop.client.create("orders", order("o-api-once", "c-api-3"), idempotency_key="api-once")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))
    assert len({a["_version"] for a in answers}) == 1
    laptop.client.patch("orders", "o-api-once", {"status": "paid"}, idempotency_key="api-once-2")
    assert send(0) == answers[0]
    assert laptop.client.get("orders", "o-api-once")["order"]["status"] == "paid"
    with pytest.raises(ApiError, match="another one"):
        laptop.client.create("orders", order("o-api-other", "c-api-3"), idempotency_key="api-once")


def test_receipts_expire_on_their_ttl_attribute(laptop: Laptop) -> None:
    answer = laptop.aws.client("dynamodb").describe_time_to_live(TableName="gavel-local-requests")
    assert answer["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}


def test_the_description_is_served_to_whoever_is_signed_in(laptop: Laptop) -> None:
    address = urlsplit(laptop.stack.outputs["ApiUrl"])
    token = laptop.client._valid_token()
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        for headers, expected in (({"Authorization": f"Bearer {token}"}, 200), ({}, 401)):
            connection.request("GET", f"{address.path}/openapi.json", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == expected
            if expected == 200:
                assert {"/orders", "/orders/{order_id}"} <= json.loads(body)["paths"].keys()
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["a/b", "50%", "%2F", "%25", "a%00", "../x", "x/./y", "é ü", "?x=1#y"])
def test_an_item_of_any_name_is_found_again(laptop: Laptop, name: str) -> None:
    """The emulator's gateway decodes paths before the function sees them; a REST API on AWS does not."""
    client = laptop.client
    customer = {"status": "active", "registered_at": "2026-01-02T03:04:05Z"}
    client.create("customers", customer | {"customer_id": name})
    assert client.get("customers", name)["customer_id"] == name
    assert client.patch("customers", name, {"status": "closed"})["status"] == "closed"
    client.delete("customers", name)
    line = {"lot_id": "l-1", "quantity": 1, "hammer_price": "5", "placed_at": "2026-11-21T01:02:03Z"}
    client.replace("order_lines", (name, 7), line)
    assert client.get("order_lines", (name, 7))["order_id"] == name


def test_a_question_to_the_archive_is_answered_by_the_pipeline(laptop: Laptop, user: Callable[..., ApiClient]) -> None:
    lake = Lake.of_environment("local", laptop.bucket, REGION, laptop.stack.endpoint)
    answer_waiting(lake, laptop.contracts, print)
    staff = user("staff")
    put = staff.put_question("changes_of_an_item", {"entity": "orders", "key": "o-api-'; --"})
    assert staff.archive_answer(put["id"])["status"] == "waiting"
    assert answer_waiting(lake, laptop.contracts, print).answered >= 1
    found = staff.archive_answer(put["id"])
    assert (found["status"], found["rows"]) == ("answered", [])
    with urlopen(found["page"], timeout=30) as page:
        assert "No change of such a key is known" in page.read().decode()
    with pytest.raises(ApiError) as refused:
        user("party", party_id="c-1").put_question("order_as_of", {})
    assert refused.value.status == 403
