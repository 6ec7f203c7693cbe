"""From the HTTP API to landed rows, through the components that production has."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from local import deploy
from local.client import ApiError
from local.draining import lag
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack


def customer(key: str, **fields: Any) -> dict[str, Any]:
    return {"customer_id": key, "status": "active", "registered_at": "2026-01-02T03:04:05Z", "name": "A B", **fields}


def of(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["customer_id"] == key]


def test_every_change_of_an_item_lands_once_as_text_in_the_order_of_versions(laptop: Laptop) -> None:
    key = "c-path"
    created = laptop.client.create("customers", customer(key))
    laptop.client.patch("customers", key, {"name": "C D"})
    laptop.client.delete("customers", key)
    laptop.pump()
    rows = of(laptop.landed("customers"), key)
    assert [row["_op"] for row in rows] == ["insert", "modify", "remove"]
    assert [row["name"] for row in rows][:2] == ["A B", "C D"]
    # The end of the second in which the table took it.
    assert int(rows[0]["_version"]) in range(created["_version"], created["_version"] + 60_000_000)
    assert all(isinstance(value, str | None) for row in rows for value in row.values())
    assert laptop.pump().handled == 0, "what was handed over is not handed over again"
    assert lag(laptop.home, laptop.stack) == 0


def test_a_request_without_a_valid_token_reaches_no_function(laptop: Laptop) -> None:
    address = urlsplit(laptop.stack.outputs["ApiUrl"])
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        connection.request("GET", f"{address.path}/customers/c-1", headers=headers)
        answer = connection.getresponse()
        assert answer.status in (401, 403)
        assert "customer_id" not in answer.read().decode()
        connection.close()


def test_a_malformed_item_is_refused_with_field_and_reason(laptop: Laptop) -> None:
    with pytest.raises(ApiError) as raised:
        laptop.client.create("customers", customer("c-bad", registered_at="yesterday"))
    assert 400 <= raised.value.status < 500
    assert "registered_at" in str(raised.value)


def test_deploying_again_changes_the_stack_in_place_and_keeps_its_items(laptop: Laptop) -> None:
    laptop.client.create("customers", customer("c-kept"))
    before = laptop.stack.outputs
    again = deploy.deploy(laptop.home, laptop.stack, laptop.contracts)
    assert again.outputs == before
    assert laptop.client.get("customers", "c-kept")["customer_id"] == "c-kept"


def test_items_expire_on_their_ttl_attribute(laptop: Laptop) -> None:
    """The emulator leaves it out of the template, so the deployment has to say it."""
    answer = laptop.aws.client("dynamodb").describe_time_to_live(TableName=laptop.stack.outputs["TableName"])
    assert answer["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}


def test_a_foreign_item_that_cannot_be_mapped_is_kept_whole_and_the_rest_lands(laptop: Laptop) -> None:
    attributes = {"pk": {"S": "CUSTOMER#c-x"}, "sk": {"S": "CUSTOMER"}, "entity": {"S": "no such entity"}}
    laptop.aws.client("dynamodb").put_item(TableName=laptop.stack.outputs["TableName"], Item=attributes)
    laptop.client.create("customers", customer("c-after"))
    laptop.pump()
    assert of(laptop.landed("customers"), "c-after")
    s3 = laptop.aws.client("s3")
    kept = [s3.get_object(Bucket=laptop.bucket, Key=k)["Body"].read() for k in laptop.keys("relay-failures/")]
    assert any(b"no such entity" in body for body in kept)


def test_a_template_that_cannot_be_deployed_is_reported_with_the_reason(laptop: Laptop) -> None:
    template = json.dumps({"Resources": {"Broken": {"Type": "AWS::No::Such"}}})
    with pytest.raises(deploy.DeployError, match="Such"):
        deploy.deploy_stack(laptop.aws, template, {}, lambda *what: None, name="gavel-broken")
