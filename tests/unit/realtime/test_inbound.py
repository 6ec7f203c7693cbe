"""What the inbound queue promises: every message is written, waits with a reason, or is a dead letter with one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from contracts import Contracts
from realtime.api.store import Unavailable
from realtime.deadline import Deadline
from realtime.imports.merge import merge
from realtime.imports.messages import MAX_BYTES, PREFIX
from realtime.inbound import handler
from realtime.inbound.handler import Edge
from realtime.inbound.service import PATIENCE
from realtime.inbound.settings import Settings
from tests.support.inbound import Inbound

Fixture = Any

CUSTOMER = {"CUST_NO": "c-1", "STATUS": "active", "REG_TS": "2026-01-02T03:04:05Z", "CUST_NAME": "Ada Lovelace"}

ENVELOPE = {"specversion": "1.0", "id": "e", "source": "/erp", "type": "changed"}


def message(event: Any, entity: str = "customers") -> dict[str, Any]:
    return {"entity": entity, "event": event}


def test_a_message_that_keeps_its_contract_is_written_through_the_api(inbound: Inbound, api: Fixture) -> None:
    inbound.send(message(CUSTOMER))
    assert inbound.deliver() == (1, 0)
    assert api("GET", "/customers/c-1").body["name"] == "Ada Lovelace"
    assert inbound.letters() == []


def test_a_mismatch_is_a_dead_letter_with_reason_and_contract_and_the_rest_goes_on(
    inbound: Inbound, api: Fixture, contracts: Contracts
) -> None:
    bad = message(CUSTOMER | {"CUST_NO": "c-2", "STATUS": "Ada"})
    inbound.send(bad)
    inbound.send(message(CUSTOMER))
    assert inbound.deliver() == (2, 0)
    assert api("GET", "/customers/c-1").status == 200
    ((body, attributes),) = inbound.letters()
    assert json.loads(body) == bad
    assert attributes["reason"] == "invalid-item"
    assert attributes["entity"] == "customers"
    assert attributes["contract"] == contracts["customers"].version
    assert attributes["detail"].startswith("STATUS: expected one of")


def test_an_alert_and_metrics_report_a_mismatch_without_its_values(inbound: Inbound, contracts: Contracts) -> None:
    for number in range(3):
        inbound.send(message(CUSTOMER | {"CUST_NO": f"c-{number}", "status": "Ada"}))
    inbound.send(message({}, entity="no such entity"))
    inbound.deliver()
    (notice,) = inbound.notices()
    assert notice["function"] == "gavel-test-inbound"
    assert notice["mismatches"] == [
        {
            "entity": "customers",
            "contract": contracts["customers"].version,
            "reason": "invalid-item",
            "count": 3,
        },
        {"entity": "unknown", "contract": "none", "reason": "unknown-entity", "count": 1},
    ]
    assert notice["kept_at"] == inbound.dead_letters
    assert {"error", "time", "what_to_do"} <= set(notice)
    assert {(m["entity"], m["reason"], m["InboundMismatches"]) for m in inbound.metrics()} == {
        ("customers", "invalid-item", 3),
        ("unknown", "unknown-entity", 1),
    }
    reported = json.dumps(notice) + json.dumps(inbound.logged)
    assert not [value for value in ("Ada", "no such entity", "c-0") if value in reported]


@pytest.mark.parametrize(
    "raw",
    [
        "no JSON",
        "[]",
        '"text"',
        "{}",
        '{"entity": "customers"}',
        '{"entity": ["customers"], "event": {}}',
        '{"entity": "customers", "event": {"CUST_NO": NaN}}',
        '{"entity": "customers", "event": {"CUST_NO": "c-1", "CUST_NO": "c-2"}}',
        '{"entity": "customers", "event": {"\\ud800": 1}}',
        '{"entity": "countries", "event": {}}',
        '{"entity": "customers", "records": [{"record": 0}]}',
        '{"entity": "customers", "records": 7, "import": null, "chunk": null}',
        '{"claim": "landing/orders/secret.parquet"}',
        '{"claim": "imports/nothing.json"}',
        '{"claim": "imports/' + "x" * 2000 + '.json"}',
        '{"claim": "imports/a\\u0000b.json"}',
        '{"entity": "customers", "import": "' + "x" * 3000 + '", "records": []}',
        '{"entity": "customers", "import": "\\ud800", "records": []}',
        '{"entity": "customers", "records": []}',
    ],
)
def test_a_message_that_is_none_is_kept_as_it_came(inbound: Inbound, raw: str) -> None:
    inbound.send(None, raw=raw)
    assert inbound.deliver() == (1, 0)
    ((body, attributes),) = inbound.letters()
    assert body == raw
    assert attributes["reason"]


def test_what_comes_too_early_waits_longer_and_longer_and_is_dead_in_the_end(inbound: Inbound) -> None:
    inbound.send(message({"CUST_NO": "c-1", "STATUS": "closed"}))
    for _ in range(PATIENCE - 1):
        assert inbound.deliver() == (0, 1)
        assert inbound.letters() == []
    assert inbound.deliver() == (1, 0)
    assert inbound.waits == [5, 10, 20, 40, 80, 160, 320]
    ((_, attributes),) = inbound.letters()
    assert attributes["reason"] == "incomplete"


def test_a_dead_letter_that_is_moved_back_is_written_in_the_place_that_it_had(inbound: Inbound, api: Fixture) -> None:
    """Its event has no time of its own, so the time of its first arrival counts, not that of moving it."""
    inbound.send(message({"CUST_NO": "c-1", "STATUS": "closed", "CUST_NAME": "Early"}))
    for _ in range(PATIENCE):
        inbound.deliver()
    assert len(inbound.letters()) == 1
    inbound.send(message(CUSTOMER))
    assert inbound.deliver() == (1, 0)
    assert inbound.redrive() == 1
    assert inbound.deliver() == (1, 0)
    assert inbound.letters() == []
    found = api("GET", "/customers/c-1").body
    assert (found["name"], found["status"]) == ("Ada Lovelace", "active")


def test_a_message_that_sqs_gave_up_itself_keeps_its_time_too(inbound: Inbound, api: Fixture) -> None:
    inbound.sqs.send_message(
        QueueUrl=inbound.dead_letters, MessageBody=json.dumps(message({**CUSTOMER, "STATUS": "closed"}))
    )
    sent = inbound.sent(inbound.dead_letters)
    assert inbound.redrive() == 1
    assert inbound.letters() == []
    assert inbound.deliver() == (1, 0)
    (timestamp,) = api.item("CUSTOMER#c-1", "CUSTOMER")["_field_timestamps"]["M"]
    assert datetime.fromisoformat(timestamp.split(" ")[0]) == sent


def test_a_dead_record_of_an_import_can_be_moved_back_by_itself(inbound: Inbound, api: Fixture) -> None:
    _, answer = inbound.post("customers", [{"CUST_NO": "c-1", "STATUS": "closed"}])
    for _ in range(PATIENCE):
        inbound.deliver()
    status = inbound.status("customers", answer["import"])[1]
    assert (status["status"], status["refused"]) == ("done", 1)
    inbound.post("customers", {**ENVELOPE, "time": "2026-11-20T00:00:00Z", "data": CUSTOMER})
    assert inbound.redrive() == 1
    assert inbound.deliver() == (1, 0)
    assert api("GET", "/customers/c-1").body["status"] == "closed"
    assert inbound.status("customers", answer["import"])[1] == status, "what was said once stays said"


def test_the_same_message_twice_is_one_change(inbound: Inbound, api: Fixture) -> None:
    event = {**ENVELOPE, "time": "2026-11-21T00:00:00Z", "data": CUSTOMER}
    for _ in range(2):
        inbound.send(message(event))
        assert inbound.deliver() == (1, 0)
        version = api("GET", "/customers/c-1").body["_version"]
    assert api("GET", "/customers/c-1").body["_version"] == version


def test_a_table_that_takes_nothing_loses_nothing(
    inbound: Inbound, api: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any) -> None:
        raise Unavailable("ThrottlingException")

    inbound.send(message(CUSTOMER))
    with monkeypatch.context() as broken:
        broken.setattr("realtime.inbound.service.merge", unavailable)
        assert inbound.deliver() == (0, 1)
        assert inbound.metrics() == [], "no fault of a version, which takes its calls back"
    assert inbound.deliver() == (1, 0)
    assert api("GET", "/customers/c-1").status == 200


def test_a_fault_of_ours_holds_up_no_other_message(
    inbound: Inbound, api: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_one(writer: Any, contract: Any, fields: Any, at: str) -> Any:
        if fields["CUST_NO"] == "c-1":
            raise RuntimeError("secret")
        return merge(writer, contract, fields, at)

    monkeypatch.setattr("realtime.inbound.service.merge", fails_for_one)
    inbound.send(message(CUSTOMER))
    inbound.send(message(CUSTOMER | {"CUST_NO": "c-2"}))
    assert inbound.deliver() == (1, 1)
    assert api("GET", "/customers/c-2").status == 200
    assert inbound.letters() == []
    assert "secret" not in json.dumps(inbound.logged)
    assert [(m["function"], m["version"], m["Unhandled"]) for m in inbound.metrics()] == [("inbound", "7", 1)]


def test_dead_letters_that_cannot_be_kept_are_not_acknowledged(
    inbound: Inbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**request: Any) -> dict[str, Any]:
        return {"Failed": [{"Id": e["Id"]} for e in request["Entries"]]}

    inbound.send(message({"CUST_NO": "c-1", "STATUS": "Ada"}))
    with monkeypatch.context() as broken:
        broken.setattr(inbound.sqs, "send_message_batch", refuse)
        assert inbound.deliver() == (0, 1)
    assert inbound.deliver() == (1, 0)
    assert len(inbound.letters()) == 1


def test_nothing_is_begun_when_the_time_is_up(inbound: Inbound, api: Fixture) -> None:
    inbound.send(message(CUSTOMER))
    assert inbound.deliver(lambda: 0) == (0, 1)
    assert api("GET", "/customers/c-1").status == 404


def test_a_chunk_that_the_time_is_not_enough_for_goes_on_where_it_was(inbound: Inbound, api: Fixture) -> None:
    events = [CUSTOMER | {"CUST_NO": f"c-{number}"} for number in range(60)]
    _, answer = inbound.post("customers", events)
    seconds = iter([60.0] * 21)
    assert inbound.deliver(lambda: next(seconds, 0.0)) == (0, 1)
    status = inbound.status("customers", answer["import"])[1]
    assert (status["status"], status["applied"], status["waiting"]) == ("running", 20, 40)
    versions = api("GET", "/customers/c-0").body["_version"]
    assert inbound.deliver() == (1, 0)
    assert inbound.status("customers", answer["import"])[1]["applied"] == 60
    assert api("GET", "/customers/c-0").body["_version"] == versions
    assert inbound.letters() == []


def test_a_dead_letter_that_is_too_long_for_a_message_is_kept_whole(inbound: Inbound) -> None:
    raw = json.dumps(message(CUSTOMER | {"STATUS": "x" * MAX_BYTES}))
    key = f"{PREFIX}somebody/1.json"
    inbound.s3.put_object(Bucket=inbound.bucket, Key=key, Body=raw.encode())
    inbound.send({"claim": key})
    inbound.send(None, raw=raw)
    assert inbound.deliver() == (2, 0)
    claims = [json.loads(body)["claim"] for body, _ in inbound.letters()]
    assert len(set(claims)) == 2
    kept = [inbound.s3.get_object(Bucket=inbound.bucket, Key=c)["Body"].read().decode() for c in claims]
    assert kept == [raw, raw]


def test_a_message_that_memory_could_not_hold_is_dead_and_holds_up_no_other(
    inbound: Inbound, api: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MAX_CLAIM_BYTES", 1_000)
    for name, content in (("long", b"x" * 1_001), ("other", json.dumps(message(CUSTOMER)).encode())):
        inbound.s3.put_object(Bucket=inbound.bucket, Key=f"{PREFIX}{name}.json", Body=content)
        inbound.send({"claim": f"{PREFIX}{name}.json"})
    assert inbound.deliver() == (2, 0)
    assert api("GET", "/customers/c-1").status == 200
    ((_, attributes),) = inbound.letters()
    assert attributes["reason"] == "malformed-request"
    assert "at most 1000 bytes" in attributes["detail"]


def test_the_sample_event_of_lambda_is_read(inbound: Inbound, sample: Fixture, api: Fixture) -> None:
    records = sample("sqs_inbound")["Records"]
    assert inbound.consumer.run(records, Deadline(lambda: 60)) == {"batchItemFailures": []}
    assert api("GET", "/orders/o-1").body["order"]["hammer_price"] == "1250.00"


def test_a_wait_is_requested_of_the_queue(inbound: Inbound) -> None:
    settings = Settings("test", "t", "r", inbound.bucket, inbound.queue, inbound.dead_letters, "topic", "7")
    inbound.send(message(CUSTOMER))
    (found,) = inbound.sqs.receive_message(QueueUrl=inbound.queue, VisibilityTimeout=600)["Messages"]
    edge = Edge(settings, function="f", s3=lambda: None, sqs=lambda: inbound.sqs, sns=lambda: None)
    edge.wait(found["ReceiptHandle"], 0)
    assert inbound.sqs.receive_message(QueueUrl=inbound.queue).get("Messages")


# ---- nothing from outside is trusted --------------------------------------------------------------------------------


@pytest.fixture
def chunk(inbound: Inbound) -> dict[str, Any]:
    """A chunk of a real import as Gavel sent it, taken out of the queue."""
    event = {**ENVELOPE, "time": "2026-11-20T00:00:00Z", "data": {"CUST_NO": "c-1", "STATUS": "closed"}}
    assert inbound.post("customers", event)[0] == 202
    (found,) = inbound.sqs.receive_message(QueueUrl=inbound.queue)["Messages"]
    inbound.sqs.delete_message(QueueUrl=inbound.queue, ReceiptHandle=found["ReceiptHandle"])
    body: dict[str, Any] = json.loads(found["Body"])
    return body


def forgeries(chunk: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (record,) = chunk["records"]
    return {
        "another entity": chunk | {"entity": "orders"},
        "no import": chunk | {"import": None},
        "an unknown import": chunk | {"import": "0" * 32},
        "another chunk": chunk | {"chunk": 1},
        "a letter": chunk | {"chunk": None},
        "another writer": chunk | {"by": "user:somebody"},
        "no records": chunk | {"records": []},
        "a record twice": chunk | {"records": [record, record]},
        "another place": chunk | {"records": [record | {"record": 1}]},
        "a time that has not come": chunk | {"records": [record | {"timestamp": "9999-12-31T23:59:59.999999Z"}]},
        "no time": chunk | {"records": [record | {"timestamp": "zzz"}]},
        "another value": chunk | {"records": [record | {"values": record["values"] | {"status": "active"}}]},
        "more": chunk | {"more": 1},
        "no signature": {name: value for name, value in chunk.items() if name != "mac"},
        "an empty signature": chunk | {"mac": ""},
        "a signature that is none": chunk | {"mac": ["ü"]},
        "another signature": chunk | {"mac": "0" * 64},
        "a number where a text was": chunk | {"records": [record | {"timestamp": 1.5}]},
    }


@pytest.mark.parametrize("kind", forgeries({"records": [{"values": {}}]}))
def test_a_chunk_that_was_not_sent_by_gavel_is_dead_with_a_reason(
    inbound: Inbound, api: Fixture, chunk: dict[str, Any], kind: str
) -> None:
    import_id = chunk["import"]
    forged = forgeries(chunk)[kind]
    inbound.send(forged)
    assert inbound.deliver() == (1, 0)
    ((body, attributes),) = inbound.letters()
    assert json.loads(body) == forged
    assert (attributes["reason"], bool(attributes["detail"])) == ("malformed-request", True)
    status = inbound.status("customers", import_id)[1]
    assert (status["status"], status["applied"], status["waiting"]) == ("running", 0, 1)
    inbound.post("customers", {**ENVELOPE, "time": "2026-11-19T00:00:00Z", "data": CUSTOMER})
    inbound.send(chunk)
    assert inbound.deliver() == (1, 0), "and the real one still counts"
    assert inbound.status("customers", import_id)[1]["status"] == "done"
    assert api("GET", "/customers/c-1").body["status"] == "closed"


def test_what_is_written_from_the_queue_says_who_sent_it(inbound: Inbound, api: Fixture, chunk: dict[str, Any]) -> None:
    inbound.send(message({**ENVELOPE, "time": "2026-11-19T00:00:00Z", "data": CUSTOMER}) | {"by": "user:somebody"})
    inbound.deliver()
    assert api.item("CUSTOMER#c-1", "CUSTOMER")["_by"] == {"S": "function:inbound"}
    inbound.send(chunk)
    inbound.deliver()
    assert api.item("CUSTOMER#c-1", "CUSTOMER")["_by"] == {"S": "user:u-1"}


def test_no_status_shows_the_key_of_its_import(inbound: Inbound, chunk: dict[str, Any]) -> None:
    assert set(inbound.status("customers", chunk["import"])[1]) == {
        "id", "entity", "status", "accepted_at", "records", "applied", "waiting", "refused", "refusals",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 3000, "", "%00", "A", "../x"])
def test_a_name_that_no_import_has_is_not_found(inbound: Inbound, name: str) -> None:
    assert inbound.status("customers", name)[0] == 404


@pytest.mark.parametrize(
    "received",
    [
        "9999-12-31T23:59:59Z",
        "2026-11-21T00:00:00",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "soon",
        "\u0663" * 4,
    ],
)
def test_a_time_of_first_reception_that_cannot_be_true_is_refused(
    inbound: Inbound, api: Fixture, received: str
) -> None:
    """Without this check, an event that says so would keep every later one out."""
    attributes = {"received_at": {"DataType": "String", "StringValue": received}}
    inbound.sqs.send_message(
        QueueUrl=inbound.queue, MessageBody=json.dumps(message(CUSTOMER)), MessageAttributes=attributes
    )
    assert inbound.deliver() == (1, 0)
    ((_, found),) = inbound.letters()
    assert (found["reason"], found["detail"].split(":")[0]) == ("malformed-request", "received_at")
    assert api("GET", "/customers/c-1").status == 404
    assert inbound.redrive() == 1
    assert inbound.deliver() == (1, 0), "moved back, it has the time that SQS knows"
    assert api("GET", "/customers/c-1").status == 200
