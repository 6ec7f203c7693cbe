"""What the import endpoint promises: an answer for each event, nothing written twice, nothing undone by what is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts import Contracts
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    IntegerType,
    ListType,
    StringType,
    StructType,
    TimestampType,
)
from realtime.api.items import version
from realtime.imports.field_timestamps import is_later, timestamp_of
from realtime.imports.service import AT_ONCE, AT_ONCE_SECONDS, DETAILED, MAX_EVENTS
from tests.support.inbound import Inbound

Fixture = Any

ERP_ENTITIES = {
    "customers", "orders", "order_lines", "invoices", "invoice_lines", "shipments", "shipping_addresses",
    "virtual_requests", "estimates",
}  # fmt: skip

ORDER = {
    "ORDER_NO": "o-1", "BUYER_NO": "c-1", "SELLER_NO": "c-2", "CURR": "EUR", "HAMMER": "1250.00", "STATUS": "placed",
    "ORDER_TS": "2026-11-21T01:02:03Z",
}  # fmt: skip
ESTIMATE = {
    "EST_NO": "e-1", "ORDER_NO": "o-1", "QUOTE_NO": "Q-7", "QUOTE_VER": 2, "CURR": "EUR", "AMOUNT": "5.00",
    "STATUS": "sent", "CREATED_TS": "2026-11-21T01:02:03Z",
}  # fmt: skip


def event(time: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A CloudEvent of a time of this morning."""
    attributes = {"specversion": "1.0", "id": "e-1", "source": "/erp", "type": "changed"}
    return {**attributes, "time": f"2026-11-21T{time}Z", "data": data, **more}


def customers(count: int) -> list[dict[str, Any]]:
    return [{"CUST_NO": f"c-{n}", "STATUS": "active", "REG_TS": "2026-01-02T03:04:05Z"} for n in range(count)]


def example(field: Field) -> Any:
    """A value that the field takes."""
    match field.type:
        case IntegerType():
            return int(field.minimum or 1)
        case DecimalType():
            return "0.1" if field.maximum == 1 else "1"
        case TimestampType():
            return "2026-11-21T01:02:03Z"
        case DateType():
            return "2026-11-21"
        case BooleanType():
            return True
        case ListType(element=StructType(fields)):
            return [{f.name: example(f) for f in fields}]
        case ListType():
            return ["x"]
        case StringType():
            if field.enum:
                return field.enum[0]
            patterns = {"^[A-Z]{3}$": "EUR", "^[A-Z]{2}$": "DE"}
            return patterns.get(field.pattern or "", "a@b.example" if field.pattern else "o-1")
    raise AssertionError(field)


@pytest.mark.parametrize("entity", sorted(ERP_ENTITIES))
def test_every_field_of_an_erp_entity_is_known_by_the_erps_name(
    inbound: Inbound, api: Fixture, contracts: Contracts, entity: str
) -> None:
    if entity == "estimates":
        inbound.post("orders", ORDER)
    contract = contracts[entity]
    assert not [f.name for f in contract.fields if not f.aliases]
    by_alias = {f.aliases[0]: example(f) for f in contract.fields}
    status, body = inbound.post(entity, by_alias)
    assert (status, body["status"]) == (201, "created"), body
    key = "/".join(str(example(contract.field(n))) for n in contract.primary_key)
    read = api("GET", f"/{entity}/{key}").body
    item = read["order"] if entity == "orders" else read
    assert set(item) == {*contract.field_names, "_version"}
    assert item["_version"] == body["_version"]


def test_a_partial_event_keeps_what_it_does_not_carry_and_null_clears(inbound: Inbound, api: Fixture) -> None:
    inbound.post("orders", {**ORDER, "PREMIUM": "312.50", "SHIP_ADDR": "a-1"})
    status, body = inbound.post("orders", {"ORDER_NO": "o-1", "STATUS": "paid", "SHIP_ADDR": None})
    assert (status, body["status"]) == (200, "changed")
    order = api("GET", "/orders/o-1").body["order"]
    assert (order["status"], order["buyers_premium"]) == ("paid", "312.50")
    assert "address_id" not in order


def test_the_same_event_again_writes_nothing(inbound: Inbound) -> None:
    first = event("00:10:00", ORDER)
    assert inbound.post("orders", first)[0] == 201
    assert inbound.post("orders", first) == (
        200, {"entity": "orders", "import": None, "record": 0, "status": "unchanged"},
    )  # fmt: skip


def test_an_old_event_changes_only_what_no_later_one_has_written(inbound: Inbound, api: Fixture) -> None:
    inbound.post("orders", event("00:10:00", ORDER))
    inbound.post("orders", event("00:30:00", {"ORDER_NO": "o-1", "STATUS": "paid"}))
    late = {"ORDER_NO": "o-1", "STATUS": "invoiced", "PREMIUM": "1.00"}
    assert inbound.post("orders", event("00:20:00", late))[1]["status"] == "changed"
    order = api("GET", "/orders/o-1").body["order"]
    assert (order["status"], order["buyers_premium"]) == ("paid", "1.00")


def test_an_old_event_that_comes_again_does_not_undo_what_a_client_wrote(
    inbound: Inbound, api: Fixture, order: dict[str, Any]
) -> None:
    first = event("00:10:00", ORDER)
    inbound.post("orders", first)
    for method, body in (("PATCH", {"status": "paid"}), ("PUT", order | {"placed_at": ORDER["ORDER_TS"]})):
        assert api(method, "/orders/o-1", body).status == 200
        before = api("GET", "/orders/o-1").body["order"]
        assert inbound.post("orders", first)[1]["status"] == "unchanged"
        assert api("GET", "/orders/o-1").body["order"] == before


def test_a_deleted_item_comes_back_only_by_an_event_after_its_deletion(
    inbound: Inbound, api: Fixture, clock: Fixture
) -> None:
    inbound.post("orders", event("00:10:00", ORDER))
    api("DELETE", "/orders/o-1")
    assert inbound.post("orders", event("00:40:00", ORDER))[1]["status"] == "unchanged"
    assert api("GET", "/orders/o-1").status == 404
    clock.now += 60_000_000
    assert inbound.post("orders", ORDER)[1]["status"] == "created"
    assert api("GET", "/orders/o-1").status == 200


def test_an_item_that_comes_back_by_a_slow_clock_is_newer_than_its_deletion(
    inbound: Inbound, api: Fixture, clock: Fixture
) -> None:
    """The ERP says that its event is later; the clock of the function that writes it is behind the one that deleted."""
    inbound.post("orders", event("00:10:00", ORDER))
    api("DELETE", "/orders/o-1")
    deleted = version(api.item("ORDER#o-1", "ORDER"))
    clock.now -= 10_000_000
    later = datetime.fromtimestamp(deleted / 1_000_000 + 1, UTC).strftime("%H:%M:%S")
    assert inbound.post("orders", event(later, ORDER))[1]["status"] == "created"
    assert version(api.item("ORDER#o-1", "ORDER")) > deleted


def test_an_item_that_was_deleted_and_made_again_is_safe_from_old_events(
    inbound: Inbound, api: Fixture, order: dict[str, Any]
) -> None:
    first = event("00:10:00", ORDER)
    inbound.post("orders", first)
    api("DELETE", "/orders/o-1")
    assert api("POST", "/orders", order | {"placed_at": ORDER["ORDER_TS"], "status": "paid"}).status == 201
    assert inbound.post("orders", first)[1]["status"] == "unchanged"


def test_an_estimate_updates_its_order_in_the_same_transaction(inbound: Inbound, api: Fixture) -> None:
    inbound.post("orders", ORDER)
    api.calls.clear()
    assert inbound.post("estimates", ESTIMATE)[0] == 201
    assert [c for c in api.calls if c != "get_item"] == ["transact_write_items"]
    order = api("GET", "/orders/o-1").body["order"]
    assert (order["quote_number"], order["quote_version"]) == ("Q-7", 2)
    api.calls.clear()
    assert inbound.post("estimates", {"EST_NO": "e-1", "STATUS": "accepted"})[1]["status"] == "changed"
    assert "transact_write_items" not in api.calls, "the order has nothing to learn"


def test_a_late_estimate_leaves_the_orders_quote_alone(inbound: Inbound, api: Fixture) -> None:
    inbound.post("orders", ORDER)
    inbound.post("estimates", event("00:30:00", ESTIMATE))
    inbound.post("estimates", event("00:20:00", {**ESTIMATE, "EST_NO": "e-0", "QUOTE_NO": "Q-6", "QUOTE_VER": 1}))
    order = api("GET", "/orders/o-1").body["order"]
    assert (order["quote_number"], order["quote_version"]) == ("Q-7", 2)
    assert api("GET", "/estimates/e-0").body["quote_number"] == "Q-6"


def test_a_batch_is_answered_event_by_event(inbound: Inbound, api: Fixture) -> None:
    good = customers(2)
    events = [good[0], {"CUST_NO": "c-9", "STATUS": "nobody"}, good[1], 7, {"STATUS": "active"}]
    status, body = inbound.post("customers", events)
    assert status == 200
    assert [r["status"] for r in body["records"]] == ["created", "refused", "created", "refused", "refused"]
    assert [r["record"] for r in body["records"]] == [0, 1, 2, 3, 4]
    assert body["counts"] == {"created": 2, "refused": 3}
    assert body["import"] is None
    problem = body["records"][1]["problem"]
    assert problem["type"] == "urn:gavel:problem:invalid-item"
    assert [e["field"] for e in problem["errors"]] == ["STATUS"]
    assert body["records"][4]["problem"]["errors"][0]["field"] == "customer_id"
    assert api("GET", "/customers/c-1").status == 200


def test_two_events_of_one_record_in_a_batch_count_in_their_order(inbound: Inbound, api: Fixture) -> None:
    events = [customers(1)[0], {"CUST_NO": "c-0", "STATUS": "closed"}, {"CUST_NO": "c-0", "STATUS": "suspended"}]
    assert inbound.post("customers", events)[1]["counts"] == {"created": 1, "changed": 2}
    assert api("GET", "/customers/c-0").body["status"] == "suspended"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({**ORDER, "STATUS": "nobody"}, 422, "invalid-item"),
        ({**ORDER, "order_id": "o-1"}, 422, "invalid-item"),
        ({"STATUS": "paid"}, 422, "invalid-item"),
        ([], 400, "malformed-request"),
        ("text", 422, "invalid-item"),
        *(
            (envelope | {"data": ORDER} | more, 400, "malformed-request")
            for envelope in [{"specversion": "1.0", "id": "e", "source": "/erp", "type": "changed"}]
            for more in [
                {"specversion": "0.3"},
                {"specversion": 1},
                {"data": [ORDER]},
                {"data": None},
                *({name: value} for name in ("id", "source", "type") for value in ("", None, 7, "a b", "x" * 257, "é")),
                {"id": "x" * 65},
                {"sequence": 7},
                {"sequence": "1 2"},
                {"time": "yesterday"},
                {"time": "2026-02-30T00:00:00Z"},
                {"time": "0001-01-01T00:00:00+01:00"},
            ]
        ),
    ],
)
def test_a_single_event_that_is_refused_is_a_problem(inbound: Inbound, body: Any, status: int, kind: str) -> None:
    found, problem = inbound.post("orders", body)
    assert (found, problem["type"]) == (status, f"urn:gavel:problem:{kind}")


@pytest.mark.parametrize("name", ["id", "source", "type"])
def test_an_event_without_a_required_attribute_is_refused(inbound: Inbound, name: str) -> None:
    status, problem = inbound.post("orders", {k: v for k, v in event("00:10:00", ORDER).items() if k != name})
    assert (status, problem["errors"][0]["field"]) == (400, name)


def test_events_of_two_sources_are_two_events_whatever_their_ids(inbound: Inbound, api: Fixture) -> None:
    inbound.post("orders", event("00:10:00", ORDER))
    for source, status in (("/erp/a", "paid"), ("/erp/b", "shipped")):
        data = {"ORDER_NO": "o-1", "STATUS": status}
        assert inbound.post("orders", event("00:20:00", data, source=source))[1]["status"] == "changed"
    assert api("GET", "/orders/o-1").body["order"]["status"] == "shipped"


def test_integers_in_sequence_are_compared_as_integers(inbound: Inbound, api: Fixture) -> None:
    inbound.post("orders", event("00:10:00", ORDER))
    for sequence, status in (("9", "paid"), ("10", "shipped")):
        data = {"ORDER_NO": "o-1", "STATUS": status}
        assert inbound.post("orders", event("00:20:00", data, sequence=sequence))[1]["status"] == "changed"
    assert api("GET", "/orders/o-1").body["order"]["status"] == "shipped"


def test_an_event_from_the_future_is_refused(inbound: Inbound) -> None:
    """It would keep out every later event of its fields until its time has come."""
    status, problem = inbound.post("orders", event("23:00:00", ORDER))
    assert (status, problem["errors"][0]["field"]) == (400, "time")


def test_an_immutable_field_never_changes(inbound: Inbound) -> None:
    inbound.post("orders", ORDER)
    status, problem = inbound.post("orders", {"ORDER_NO": "o-1", "ORDER_TS": "2025-01-01T00:00:00Z"})
    assert (status, problem["type"]) == (422, "urn:gavel:problem:immutable-field")


@pytest.mark.parametrize("entity", ["countries", "nothing"])
def test_only_entities_of_the_table_are_imported(inbound: Inbound, entity: str) -> None:
    assert inbound.post(entity, {})[0] == 404


def test_a_party_imports_nothing(inbound: Inbound) -> None:
    assert inbound.post("orders", ORDER, group="party")[0] == 403


def test_names_that_are_no_unicode_text_are_refused_like_any_other(inbound: Inbound) -> None:
    status, body = inbound.post("customers", None, raw='[{"\\ud800": 1}]')
    assert (status, body["counts"]) == (200, {"refused": 1})


def test_a_batch_that_takes_too_long_goes_on_in_the_queue(
    inbound: Inbound, api: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty events that others contend for could each wait a second, and the function has ten."""
    seconds = iter(range(1000))
    monkeypatch.setattr("realtime.imports.service.monotonic", lambda: float(next(seconds)))
    status, body = inbound.post("customers", customers(10))
    written = int(AT_ONCE_SECONDS)
    assert (status, body["counts"]) == (202, {"created": written, "waiting": 10 - written})
    assert inbound.deliver() == (1, 0)
    assert inbound.status("customers", body["import"])[1]["status"] == "done"
    assert api("GET", "/customers/c-9").status == 200


# ---- through the queue ----------------------------------------------------------------------------------------------


def test_an_event_that_comes_before_its_item_waits_for_it(inbound: Inbound, api: Fixture) -> None:
    status, body = inbound.post("orders", event("00:20:00", {"ORDER_NO": "o-1", "STATUS": "paid"}))
    assert (status, body["status"]) == (202, "waiting")
    assert body["problem"]["type"] == "urn:gavel:problem:incomplete"
    assert inbound.deliver() == (0, 1)
    assert inbound.waits == [5]
    assert inbound.status("orders", body["import"])[1]["waiting"] == 1
    inbound.post("orders", event("00:10:00", ORDER))
    assert inbound.deliver() == (1, 0)
    assert api("GET", "/orders/o-1").body["order"]["status"] == "paid"
    found = inbound.status("orders", body["import"])[1]
    assert (found["status"], found["applied"], found["waiting"]) == ("done", 1, 0)


def test_an_estimate_waits_for_its_order(inbound: Inbound, api: Fixture) -> None:
    status, body = inbound.post("estimates", [ESTIMATE])
    assert (status, body["counts"]) == (202, {"waiting": 1})
    assert api("GET", "/estimates/e-1").status == 404
    inbound.post("orders", ORDER)
    inbound.deliver()
    assert api("GET", "/orders/o-1").body["order"]["quote_number"] == "Q-7"


def test_a_large_batch_goes_through_the_queue_and_its_status_can_be_requested(inbound: Inbound, api: Fixture) -> None:
    events = customers(105)
    events[3] = {"CUST_NO": "c-3", "STATUS": "nobody"}
    events[104] = {"CUST_NO": "c-new", "STATUS": "active"}  # not the whole customer, and there is none
    status, body = inbound.post("customers", events)
    assert (status, body["counts"]) == (202, {"refused": 1, "waiting": 104})
    assert len(body["records"]) == 105
    assert "problem" in body["records"][3]
    before = inbound.status("customers", body["import"])[1]
    assert (before["status"], before["applied"], before["refused"]) == ("running", 0, 1)
    assert inbound.deliver() == (1, 1), "two chunks; the second has to come again"
    for _ in range(7):
        inbound.deliver()
    after = inbound.status("customers", body["import"])[1]
    assert {n: after[n] for n in ("entity", "status", "records", "applied", "waiting", "refused", "refusals")} == {
        "entity": "customers",
        "status": "done",
        "records": 105,
        "applied": 103,
        "waiting": 0,
        "refused": 2,
        "refusals": [
            {"record": 104, "kind": "incomplete", "detail": "registered_at: required (timestamp), found nothing"}
        ],
    }
    assert api("GET", "/customers/c-102").status == 200
    assert [a["reason"] for _, a in inbound.letters()] == ["incomplete"]


def test_what_is_too_long_for_a_message_is_kept_in_the_bucket(inbound: Inbound, api: Fixture) -> None:
    tags = ["x" * 1000] * 300
    events = [{**c, "TAGS": tags if n == 5 else []} for n, c in enumerate(customers(AT_ONCE + 1))]
    status, body = inbound.post("customers", events)
    assert status == 202
    kept = [o["Key"] for o in inbound.s3.list_objects_v2(Bucket=inbound.bucket)["Contents"]]
    assert kept == [f"imports/{body['import']}/1.json"]
    assert inbound.deliver() == (3, 0)
    assert api("GET", "/customers/c-5").body["tags"] == tags
    assert inbound.status("customers", body["import"])[1]["status"] == "done"


def test_a_chunk_that_comes_twice_is_counted_once(inbound: Inbound) -> None:
    _, body = inbound.post("customers", customers(AT_ONCE + 1))
    message = inbound.sqs.receive_message(QueueUrl=inbound.queue, VisibilityTimeout=0)["Messages"][0]["Body"]
    inbound.send(None, raw=message)
    assert inbound.deliver() == (2, 0)
    found = inbound.status("customers", body["import"])[1]
    assert (found["applied"], found["status"]) == (AT_ONCE + 1, "done")


def test_an_import_is_found_under_its_entity_only(inbound: Inbound) -> None:
    _, body = inbound.post("customers", customers(AT_ONCE + 1))
    assert inbound.status("customers", body["import"])[0] == 200
    assert inbound.status("orders", body["import"])[0] == 404
    assert inbound.status("customers", "0" * 32)[0] == 404


def test_a_batch_has_its_limit_and_an_answer_too(inbound: Inbound) -> None:
    assert inbound.post("customers", [{}] * (MAX_EVENTS + 1))[0] == 400
    _, body = inbound.post("customers", [{}] * (DETAILED + 1))
    assert body["counts"] == {"refused": DETAILED + 1}
    assert ["problem" in r for r in body["records"]] == [True] * DETAILED + [False]


def test_a_queue_that_takes_nothing_is_unavailable_and_nothing_is_called_accepted(
    inbound: Inbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**request: Any) -> dict[str, Any]:
        return {"Failed": [{"Id": e["Id"], "SenderFault": False} for e in request["Entries"]]}

    monkeypatch.setattr(inbound.sqs, "send_message_batch", refuse)
    assert inbound.post("customers", customers(AT_ONCE + 1))[0] == 503


def test_an_event_of_the_moment_of_a_write_is_not_later_than_it() -> None:
    moment = datetime(2026, 11, 21, 1, 2, 3, 456789, tzinfo=UTC)
    version = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert not is_later(timestamp_of(moment), version)
    assert is_later(timestamp_of(moment + timedelta(microseconds=1)), version)
