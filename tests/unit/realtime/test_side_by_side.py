"""While calls go over to a new version, both versions of a function serve one table: with contracts of before and of
after a field was added, as their compatibility allows it. Neither loses what the other wrote."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest

from contracts import Contracts, load_contracts
from contracts.change import change_from_record
from contracts.compatibility import check_all_compatible
from contracts.loader import ENTITIES
from realtime.api.entities import Entities
from realtime.api.handler import Api
from realtime.api.store import Store
from realtime.api.writer import Writer

NOTE = """
      - name: note
        logicalType: string
        physicalType: string
        description: What the house wrote down.
        classification: internal
        customProperties:
          - {property: fieldId, value: 900}
"""
Fixture = Any


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Contracts:
    """The contracts with one more field of orders, which need not be there."""
    folder = tmp_path_factory.mktemp("after") / "entities"
    shutil.copytree(ENTITIES, folder)
    file = folder / "orders.yaml"
    head, tail = file.read_text("utf-8").split("    customProperties:\n      - property: origin")
    text = f"{head.rstrip()}{NOTE}    customProperties:\n      - property: origin{tail}"
    file.write_text(re.sub(r"^version: .*$", "version: 99.0.0", text, count=1, flags=re.MULTILINE), "utf-8")
    return load_contracts(folder)


class Versions:
    """The API's two versions over the table of the fixture `api`; `old` and `new` send requests to one of them."""

    def __init__(self, client: Fixture, before: Contracts, after: Contracts) -> None:
        self.client = client
        store = Store(client.client, client.table.name)
        self.apis = {
            name: Api(Writer(Entities(contracts), store), client.receipts)
            for name, contracts in {"old": before, "new": after}.items()
        }

    def __getattr__(self, name: str) -> Any:
        def send(*arguments: Any, **options: Any) -> Any:
            self.client.api = self.apis[name]
            return self.client(*arguments, **options)

        return send


@pytest.fixture
def versions(api: Fixture, contracts: Contracts, after: Contracts) -> Versions:
    return Versions(api, contracts, after)


def row(item: dict[str, Any], contracts: Contracts) -> dict[str, Any]:
    """What the relay hands to the Firehose of orders for an item that was written."""
    record = {
        "eventID": "e-1",
        "eventName": "INSERT",
        "dynamodb": {"NewImage": item, "SequenceNumber": "1", "ApproximateCreationDateTime": 1_795_222_923},
    }
    change = change_from_record(record, contracts)
    assert change is not None
    return change[1]


def test_the_contract_of_after_may_follow_the_one_of_before(contracts: Contracts, after: Contracts) -> None:
    check_all_compatible(contracts, after)
    assert set(after["orders"].field_names) - set(contracts["orders"].field_names) == {"note"}


def test_what_the_new_version_wrote_the_old_one_reads_and_changes_without_losing_it(
    versions: Fixture, order: dict[str, Any]
) -> None:
    assert versions.new("POST", "/orders", order | {"note": "fragile"}).status == 201
    read = versions.old("GET", "/orders/o-1")
    assert (read.status, read.body["order"]["hammer_price"]) == (200, "1250.00")
    assert versions.old("PATCH", "/orders/o-1", {"status": "paid"}).status == 200
    kept = versions.new("GET", "/orders/o-1").body["order"]
    assert (kept["status"], kept["note"]) == ("paid", "fragile")


def test_what_the_old_version_wrote_the_new_one_reads_and_adds_to(versions: Fixture, order: dict[str, Any]) -> None:
    written = versions.old("POST", "/orders", order)
    assert written.status == 201
    assert "note" not in versions.new("GET", "/orders/o-1").body["order"]
    tag = {"If-Match": written.headers["ETag"]}
    changed = versions.new("PATCH", "/orders/o-1", {"note": "fragile"}, headers=tag)
    assert changed.status == 200
    assert versions.old("PATCH", "/orders/o-1", {"status": "paid"}, headers=tag).status == 409
    assert versions.old("DELETE", "/orders/o-1", headers={"If-Match": changed.headers["ETag"]}).status == 204
    assert versions.new("GET", "/orders/o-1").status == 404


def test_the_old_version_refuses_the_new_field_and_writes_nothing(versions: Fixture, order: dict[str, Any]) -> None:
    """So a client waits with it until the deployment has ended."""
    refused = versions.old("POST", "/orders", order | {"note": "fragile"})
    assert (refused.status, [e["field"] for e in refused.body["errors"]]) == (422, ["note"])
    assert versions.new("GET", "/orders/o-1").status == 404


@pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])
def test_a_request_that_is_sent_again_is_done_once_whoever_gets_it(
    versions: Fixture, order: dict[str, Any], first: str, second: str
) -> None:
    key = {"Idempotency-Key": "k-1"}
    written = getattr(versions, first)("POST", "/orders", order, headers=key)
    again = getattr(versions, second)("POST", "/orders", order, headers=key)
    assert (again.status, again.body) == (written.status, written.body)


def test_both_relays_land_what_either_version_wrote(
    versions: Fixture, order: dict[str, Any], contracts: Contracts, after: Contracts
) -> None:
    """The old one keeps a field that it does not know as drift, which is reported: so the relay goes over first."""
    assert versions.new("POST", "/orders", order | {"note": "fragile"}).status == 201
    item = versions.client.item("ORDER#o-1", "ORDER")
    new, old = row(item, after), row(item, contracts)
    assert (new.pop("note"), new.pop("_extra")) == ("fragile", None)
    assert json.loads(old.pop("_extra")) == {"note": {"S": "fragile"}}
    assert old == new
