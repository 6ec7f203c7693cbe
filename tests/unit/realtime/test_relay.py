"""The relay loses nothing: what Firehose refuses is sent again or reported; what it cannot transform is kept whole."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import Contracts
from contracts.change import CHANGE_COLUMNS
from realtime.deadline import Deadline
from realtime.relay import batch
from realtime.relay.batch import AggregatedRecord, Aggregation, requests, transform
from realtime.relay.delivery import Delivery
from realtime.relay.handler import ALONE, BUDGET_SECONDS, Relay
from realtime.relay.settings import Settings
from realtime.streams import UnansweredBatch
from tests.support.depth import examples

Sample = Callable[[str], dict[str, Any]]
SETTINGS = Settings(
    environment="test", bucket="lake", alert_topic="arn:aws:sns:eu-west-1:123456789012:alerts", version="7"
)
NOW = datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)


def event(name: str) -> dict[str, Any]:
    """A sample event for property tests, where the fixture of a single test does not belong."""
    path = Path(__file__).parents[2] / "events" / f"{name}.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


class Firehose:
    """Takes records as PutRecordBatch does; `refuse(stream, data, attempt)` says which it answers with an error."""

    def __init__(self, refuse: Callable[[str, bytes, int], bool] = lambda *_: False) -> None:
        self.refuse = refuse
        self.errors: list[Exception] = []
        self.requests: list[tuple[str, list[bytes]]] = []
        self.taken: dict[str, list[bytes]] = {}
        self.attempts: Counter[tuple[str, bytes]] = Counter()

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        data = [r["Data"] for r in Records]
        self.requests.append((DeliveryStreamName, data))
        if self.errors:
            raise self.errors.pop(0)
        answers: list[dict[str, str]] = []
        for record in data:
            self.attempts[DeliveryStreamName, record] += 1
            if self.refuse(DeliveryStreamName, record, self.attempts[DeliveryStreamName, record]):
                answers.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            else:
                self.taken.setdefault(DeliveryStreamName, []).append(record)
                answers.append({"RecordId": "1"})
        return {"FailedPutCount": sum("ErrorCode" in a for a in answers), "RequestResponses": answers}

    def rows(self, entity: str) -> list[dict[str, Any]]:
        lines = b"".join(self.taken.get(f"gavel-test-{entity}", [])).splitlines()
        return [json.loads(line) for line in lines]


class Bucket:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.objects: dict[str, list[dict[str, Any]]] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        assert Bucket == "lake"
        if self.error:
            raise self.error
        self.objects[Key] = [json.loads(line) for line in Body.splitlines()]


class Topic:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.messages: list[dict[str, str]] = []

    def publish(self, **message: str) -> None:
        if self.error:
            raise self.error
        self.messages.append(message)


class Time:
    """Seconds that are left; pausing uses them up."""

    def __init__(self, seconds: float = 50) -> None:
        self.seconds = seconds
        self.pauses: list[float] = []

    def left(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds -= seconds


def relay(contracts: Contracts, firehose: Firehose, time: Time, bucket: Bucket, topic: Topic | None = None) -> Relay:
    delivery = Delivery(firehose, pause=time.pause, chance=lambda: 0.5)  # type: ignore[arg-type]
    sns = topic or Topic()
    return Relay(SETTINGS, contracts, delivery, s3=lambda: bucket, sns=lambda: sns, now=lambda: NOW)


def unhandled(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, int]]:
    """Function, version and count of each line by which a version says that it could not handle something."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(line["function"], line["version"], line["Unhandled"]) for line in lines if "Unhandled" in line]


def bids(sample: Sample, count: int, note: str = "") -> list[dict[str, Any]]:
    """Stream records of as many bids, each with a sequence number of its own."""
    (template,) = sample("stream_insert")["Records"]
    records = []
    for number in range(count):
        record = copy.deepcopy(template)
        record["eventID"] = f"e{number}"
        record["dynamodb"]["SequenceNumber"] = str(10**24 + number)
        record["dynamodb"]["NewImage"] |= {"bid_id": {"S": f"b-{number}"}, "lot_id": {"S": note or "l-1"}}
        records.append(record)
    return records


def run(worker: Relay, time: Time, records: list[dict[str, Any]]) -> list[str]:
    response = worker.run(records, Deadline(time.left))
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


@pytest.mark.parametrize(
    ("event", "operation", "version"),
    [
        ("stream_insert", "insert", "1795222923999999"),
        ("stream_modify", "modify", "1795222923999999"),
        ("stream_marked_deleted", "remove", "1795222923999999"),
        ("stream_remove", "remove", "1795222923999999"),
        ("stream_ttl_removal", "expire", "1795222923999999"),
    ],
)
def test_each_kind_of_change_lands_as_one_flat_row(
    contracts: Contracts, sample: Sample, event: str, operation: str, version: str
) -> None:
    firehose, time = Firehose(), Time()
    records = sample(event)["Records"]
    assert run(relay(contracts, firehose, time, Bucket()), time, records) == []
    (row,) = firehose.rows("bids")
    assert (row["_op"], row["_version"]) == (operation, version)
    assert row["_seq"] == records[0]["dynamodb"]["SequenceNumber"].zfill(40)
    assert row["_changed_at"] == "2026-11-21T01:02:03Z"
    assert list(row) == [*contracts["bids"].field_names, *CHANGE_COLUMNS]
    assert all(value is None or isinstance(value, str) for value in row.values())
    assert row["amount"] == "120.5"


def test_the_stream_event_that_aws_documents_is_a_change_once_its_items_say_what_they_are(
    contracts: Contracts, sample: Sample
) -> None:
    """The sample of the Lambda developer guide: its items are of no entity, so it is kept whole as it is."""
    firehose, time, bucket = Firehose(), Time(), Bucket()
    records = sample("stream_documented_by_aws")["Records"]
    assert run(relay(contracts, firehose, time, bucket), time, records) == []
    assert [k["record"] for kept in bucket.objects.values() for k in kept] == records
    assert firehose.requests == []
    for record in records:
        # The sample leaves the time out twice; DynamoDB always sends it, and the day of a change is made of it.
        record["dynamodb"].setdefault("ApproximateCreationDateTime", 1693997155.0)
        for image in ("NewImage", "OldImage"):
            if image in record["dynamodb"]:
                record["dynamodb"][image]["entity"] = {"S": "bids"}
    assert run(relay(contracts, firehose, time, bucket), time, records) == []
    rows = firehose.rows("bids")
    assert [(row["_event_id"], row["_op"], int(row["_seq"])) for row in rows] == [
        ("1", "insert", 111), ("2", "modify", 222), ("3", "remove", 333),
    ]  # fmt: skip
    assert json.loads(rows[1]["_extra"]) == {"Id": {"N": "101"}, "Message": {"S": "This item has changed"}}


def test_nested_values_and_unknown_attributes_land_without_loss(contracts: Contracts, sample: Sample) -> None:
    firehose, time = Firehose(), Time()
    assert run(relay(contracts, firehose, time, Bucket()), time, sample("stream_nested_values")["Records"]) == []
    (row,) = firehose.rows("orders")
    assert json.loads(row["fees"])[0] == {"kind": "insurance", "payer": "buyer", "amount": "12.5"}
    assert json.loads(row["_extra"]) == {"wrapping": {"M": {"paper": {"BOOL": True}, "sheets": {"N": "2"}}}}
    assert row["hammer_price"] == "99999999999.99"


def test_a_redrive_answers_what_failed_again_and_keeps_nothing(contracts: Contracts, sample: Sample) -> None:
    firehose, time, bucket = Firehose(lambda stream, *_: stream == "gavel-test-orders"), Time(1), Bucket()
    records = sample("stream_mixed_batch")["Records"]
    answer = relay(contracts, firehose, time, bucket).redrive(records, Deadline(time.left))
    assert [left["position"] for left in answer["left"]] == [2, 3]
    assert "entity" in answer["left"][0]["reason"]
    assert "gavel-test-orders: ServiceUnavailableException" in answer["left"][1]["reason"]
    assert len(firehose.rows("bids")) == 2
    assert bucket.objects == {}


def test_pressure_slows_down_the_firehose_that_has_it(contracts: Contracts, sample: Sample) -> None:
    firehose, time = Firehose(), Time()
    delivery = Delivery(firehose, pause=time.pause, chance=lambda: 0.5)  # type: ignore[arg-type]
    pressed = {"bids": 4.0}
    worker = Relay(
        SETTINGS, contracts, delivery, s3=Bucket, sns=Topic, pressure=lambda entity: pressed.get(entity, 1.0)
    )
    assert run(worker, time, sample("stream_mixed_batch")["Records"][3:4]) == []
    assert time.pauses == []
    firehose.refuse = lambda _, __, attempt: attempt < 2
    assert run(worker, time, bids(sample, 1)) == []
    assert time.pauses == [pytest.approx(0.15), pytest.approx(0.2)]


def test_a_version_that_cannot_transform_records_counts_them_as_its_own(
    contracts: Contracts, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that calls go back: it keeps them and fails with none, for which Lambda would count an error. A Firehose that
    takes nothing is no fault of a version, and would keep the cure out."""
    records = sample("stream_mixed_batch")["Records"]
    broken = [record | {"eventName": "RENAME"} for record in records[:2]]
    assert run(relay(contracts, Firehose(), Time(), Bucket()), Time(), [*broken, *records[3:]]) == []
    assert unhandled(capsys) == [("relay", "7", 2)]
    time = Time()
    assert run(relay(contracts, Firehose(lambda *_: True), time, Bucket()), time, bids(sample, 1)) == []
    assert unhandled(capsys) == []
    relay(contracts, Firehose(), Time(), Bucket()).redrive(broken, Deadline(Time().left))
    assert unhandled(capsys) == [], "they failed before it"


def test_a_record_that_cannot_be_transformed_is_kept_whole_and_the_rest_goes_on(
    contracts: Contracts, sample: Sample
) -> None:
    firehose, time, bucket, topic = Firehose(), Time(), Bucket(), Topic()
    records = sample("stream_mixed_batch")["Records"]
    assert run(relay(contracts, firehose, time, bucket, topic), time, records) == []
    assert [r["_op"] for r in firehose.rows("bids")] == ["insert", "modify"]
    assert len(firehose.rows("orders")) == 1
    ((key, kept),) = bucket.objects.items()
    assert re.fullmatch(r"relay-failures/dt=2026-11-21/[0-9a-f]{32}\.ndjson", key)
    assert [k["record"] for k in kept] == [records[2]]
    assert "entity" in kept[0]["reason"]
    (message,) = topic.messages
    reported = json.loads(message["Message"])
    assert message["Subject"].startswith("gavel-test-relay")
    assert (reported["function"], reported["time"]) == ("gavel-test-relay", NOW.isoformat())
    assert reported["kept_at"] == f"s3://lake/{key}"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"eventName": "INSERT"},
        {"eventName": "INSERT", "eventID": "e", "dynamodb": None},
        {"eventName": "RENAME", "eventID": "e", "dynamodb": {"NewImage": {}}},
        {"eventName": "INSERT", "eventID": "e", "dynamodb": {"NewImage": {"entity": "bids"}, "SequenceNumber": "1",
                                                             "ApproximateCreationDateTime": 1}},
        {"eventName": "INSERT", "eventID": "e", "dynamodb": {"NewImage": {"entity": {"S": "bids"}, "amount": {}},
                                                             "SequenceNumber": "1", "ApproximateCreationDateTime": 1}},
        {"eventName": "INSERT", "eventID": "e", "dynamodb": {"NewImage": {"entity": {"S": "bids"}},
                                                             "SequenceNumber": "1",
                                                             "ApproximateCreationDateTime": 10**20}},
    ],
)  # fmt: skip
def test_no_record_is_so_broken_that_it_stops_the_others(
    contracts: Contracts, sample: Sample, broken: dict[str, Any]
) -> None:
    firehose, time, bucket = Firehose(), Time(), Bucket()
    good = bids(sample, 1)
    assert run(relay(contracts, firehose, time, bucket), time, [broken, *good]) == []
    assert len(firehose.rows("bids")) == 1
    assert [k["record"] for kept in bucket.objects.values() for k in kept] == [broken]


def test_a_failure_that_cannot_be_kept_comes_again(contracts: Contracts, sample: Sample) -> None:
    error = ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")
    time, records = Time(), sample("stream_mixed_batch")["Records"]
    failed = run(relay(contracts, Firehose(), time, Bucket(error)), time, records)
    assert failed == [records[2]["dynamodb"]["SequenceNumber"]]
    with pytest.raises(UnansweredBatch):
        run(relay(contracts, Firehose(), time, Bucket(error)), time, [{}, *records])


def test_a_notice_that_cannot_be_published_holds_nothing_up(contracts: Contracts, sample: Sample) -> None:
    error = ClientError({"Error": {"Code": "AuthorizationError", "Message": ""}}, "Publish")
    time, bucket = Time(), Bucket()
    records = sample("stream_mixed_batch")["Records"]
    assert run(relay(contracts, Firehose(), time, bucket, Topic(error)), time, records) == []
    assert bucket.objects


def test_only_what_failed_is_sent_again_after_a_pause_with_jitter(
    contracts: Contracts, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_RECORD_BYTES", 1500)
    firehose = Firehose(lambda _, data, attempt: b'"b-7"' in data and attempt < 4)
    time = Time()
    assert run(relay(contracts, firehose, time, Bucket()), time, bids(sample, 12)) == []
    assert Counter(row["bid_id"] for row in firehose.rows("bids")) == {f"b-{n}": 1 for n in range(12)}
    assert len(firehose.requests) == 4
    assert [len(data) for _, data in firehose.requests[1:]] == [1, 1, 1]
    assert time.pauses == [0.05, 0.1, 0.2]


def kept(bucket: Bucket) -> list[str]:
    """The events that are kept whole."""
    return sorted(line["record"]["eventID"] for lines in bucket.objects.values() for line in lines)


def test_what_is_still_undelivered_is_kept_whole_and_the_stream_goes_on(
    contracts: Contracts, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_RECORD_BYTES", 700)  # a line each
    firehose = Firehose(lambda _, data, __: b'"b-8"' in data or b'"b-5"' in data)
    time, bucket, topic = Time(), Bucket(), Topic()
    records = bids(sample, 10)
    assert run(relay(contracts, firehose, time, bucket, topic), time, records) == []
    assert 50 - time.seconds <= BUDGET_SECONDS
    assert kept(bucket) == ["e5", "e8"]
    (message,) = topic.messages
    assert "2 record(s) of bids could not be delivered" in message["Subject"]
    assert {row["bid_id"] for row in firehose.rows("bids")} == {f"b-{n}" for n in range(10)} - {"b-5", "b-8"}


def one_line_each(aggregation: Aggregation) -> list[AggregatedRecord]:
    (record,) = aggregation.records()
    lines = record.data.splitlines(keepends=True)
    return [AggregatedRecord(line, (position,)) for line, position in zip(lines, record.positions, strict=True)]


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ServiceUnavailableException", "Message": "Slow down."}}, "PutRecordBatch"),
        ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "PutRecordBatch"),
        ReadTimeoutError(endpoint_url="https://firehose.eu-west-1.amazonaws.com"),
    ],
)
def test_a_request_that_fails_as_a_whole_is_sent_again(contracts: Contracts, sample: Sample, error: Exception) -> None:
    firehose, time = Firehose(), Time()
    firehose.errors = [error, error]
    assert run(relay(contracts, firehose, time, Bucket()), time, bids(sample, 3)) == []
    assert len(firehose.rows("bids")) == 3


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_what_resending_cannot_help_is_kept_at_once(contracts: Contracts, sample: Sample, code: str) -> None:
    firehose, time, bucket = Firehose(), Time(), Bucket()
    firehose.errors = [ClientError({"Error": {"Code": code, "Message": ""}}, "PutRecordBatch")]
    assert run(relay(contracts, firehose, time, bucket), time, bids(sample, 3)) == []
    assert time.pauses == []
    assert kept(bucket) == ["e0", "e1", "e2"]


def test_pressure_does_not_take_the_one_try_of_a_firehose_that_was_left_alone(
    contracts: Contracts, sample: Sample
) -> None:
    down, moment = True, NOW
    firehose, time = Firehose(lambda *_: down), Time(1000)
    delivery = Delivery(firehose, pause=time.pause, chance=lambda: 0.5)  # type: ignore[arg-type]
    worker = Relay(SETTINGS, contracts, delivery, s3=Bucket, sns=Topic, now=lambda: moment, pressure=lambda entity: 8.0)
    assert run(worker, time, bids(sample, 1)) == []
    down = False
    moment += ALONE
    assert run(worker, time, bids(sample, 1)) == []
    assert len(firehose.rows("bids")) == 1


def test_the_same_changes_are_one_object_whatever_the_reason_is(contracts: Contracts, sample: Sample) -> None:
    firehose, bucket = Firehose(lambda *_: True), Bucket()
    for code in ("AccessDeniedException", "ThrottlingException"):
        firehose.errors = [ClientError({"Error": {"Code": code, "Message": ""}}, "PutRecordBatch")] * 99
        time = Time()
        assert run(relay(contracts, firehose, time, bucket), time, bids(sample, 3)) == []
    ((key, lines),) = bucket.objects.items()
    assert re.fullmatch(r"relay-failures/dt=2026-11-21/bids-[0-9a-f]{32}\.ndjson", key)
    assert [line["record"] for line in lines] == bids(sample, 3)
    assert {line["class"] for line in lines} == {"environment"}


def test_each_entity_that_fails_has_an_object_of_its_own(contracts: Contracts, sample: Sample) -> None:
    firehose, time, bucket = Firehose(lambda *_: True), Time(), Bucket()
    records = [sample("stream_mixed_batch")["Records"][n] for n in (0, 3)]
    assert run(relay(contracts, firehose, time, bucket), time, records) == []
    assert sorted(key.split("/")[2].split("-")[0] for key in bucket.objects) == ["bids", "orders"]
    assert all(len(lines) == 1 for lines in bucket.objects.values())


def test_what_cannot_even_be_kept_comes_again(contracts: Contracts, sample: Sample) -> None:
    firehose = Firehose(lambda *_: True)
    time = Time()
    bucket = Bucket(ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject"))
    records = bids(sample, 3)
    assert run(relay(contracts, firehose, time, bucket), time, records) == [records[0]["dynamodb"]["SequenceNumber"]]


def test_one_entity_that_fails_does_not_hold_up_the_others(contracts: Contracts, sample: Sample) -> None:
    firehose = Firehose(lambda stream, *_: stream == "gavel-test-orders")
    time, bucket = Time(), Bucket()
    records = sample("stream_mixed_batch")["Records"]
    assert run(relay(contracts, firehose, time, bucket), time, records) == []
    assert len(firehose.rows("bids")) == 2
    assert records[3]["eventID"] in kept(bucket)


def test_a_firehose_that_failed_is_left_alone_tried_again_and_reported_once(
    contracts: Contracts, sample: Sample
) -> None:
    down = True
    firehose = Firehose(lambda *_: down)
    time, bucket, topic = Time(1000), Bucket(), Topic()
    moment = NOW
    delivery = Delivery(firehose, pause=time.pause, chance=lambda: 0.5)  # type: ignore[arg-type]
    worker = Relay(SETTINGS, contracts, delivery, s3=lambda: bucket, sns=lambda: topic, now=lambda: moment)

    def requests_of_a_batch() -> int:
        before = len(firehose.requests)
        assert run(worker, time, bids(sample, 2)) == []
        return len(firehose.requests) - before

    assert requests_of_a_batch() > 3
    assert requests_of_a_batch() == 0
    moment += ALONE
    assert requests_of_a_batch() == 1
    assert requests_of_a_batch() == 0
    assert len(topic.messages) == 1
    down = False
    moment += ALONE
    assert requests_of_a_batch() == 1
    assert len(firehose.rows("bids")) == 2
    down = True
    assert requests_of_a_batch() > 3
    assert len(topic.messages) == 2, "a new failure is reported"


def test_the_log_has_counts_and_no_values(
    contracts: Contracts, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    time = Time()
    run(relay(contracts, Firehose(), time, Bucket()), time, sample("stream_mixed_batch")["Records"])
    written = capsys.readouterr().out
    assert "c-000001" not in written
    last = json.loads(written.splitlines()[-1])
    assert (last["records"], last["changes"], last["rejected"]) == (5, {"bids": 2, "orders": 1}, 1)


def test_a_thousand_changes_are_few_firehose_records(contracts: Contracts, sample: Sample) -> None:
    firehose, time = Firehose(), Time()
    assert run(relay(contracts, firehose, time, Bucket()), time, bids(sample, 1000)) == []
    ((_, data),) = firehose.requests
    assert len(data) == 1


def test_a_change_larger_than_a_firehose_record_is_kept_whole(
    contracts: Contracts, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 400 KiB of control characters are 2.4 MiB of JSON.
    records = [*bids(sample, 1, note="\x01" * 380_000), *bids(sample, 2)]
    firehose, time, bucket = Firehose(), Time(), Bucket()
    assert run(relay(contracts, firehose, time, bucket), time, records) == []
    assert len(firehose.rows("bids")) == 2
    ((kept,),) = bucket.objects.values()
    assert kept["record"] == records[0]
    assert str(batch.MAX_RECORD_BYTES) in kept["reason"]


@given(sizes=st.lists(st.integers(1, 1_100_000), max_size=30))
@settings(deadline=None)
def test_aggregation_keeps_every_line_in_order_within_the_limits_of_firehose(sizes: list[int]) -> None:
    limit = batch.MAX_RECORD_BYTES
    lines = [b"x" * (min(size, limit) - 1) + b"\n" for size in sizes]
    aggregation = Aggregation()
    for position, line in enumerate(lines):
        aggregation.add(position, line)
    sent = list(requests(aggregation.records()))
    assert [p for request in sent for record in request for p in record.positions] == list(range(len(lines)))
    assert b"".join(r.data for request in sent for r in request) == b"".join(lines)
    for request in sent:
        assert 1 <= len(request) <= 500
        assert sum(len(r.data) for r in request) <= 4 * 1024 * 1024
        assert all(len(r.data) <= 1000 * 1024 for r in request)


def test_many_small_records_are_split_into_requests_of_five_hundred() -> None:
    sent = list(requests(AggregatedRecord(b"x", (n,)) for n in range(1201)))
    assert [len(request) for request in sent] == [500, 500, 201]


@given(failures=st.lists(st.booleans(), max_size=60), count=st.integers(1, 40))
@settings(deadline=None, max_examples=examples(40))
def test_whatever_firehose_refuses_every_change_is_taken_or_reported(
    contracts: Contracts, failures: list[bool], count: int
) -> None:
    records = bids(event, count)
    rolls = iter(failures)
    firehose = Firehose(lambda *_: next(rolls, False))
    time = Time(0.3)
    transformed = transform(records, contracts).aggregations["bids"]
    delivery = Delivery(firehose, pause=time.pause, chance=lambda: 0.9)  # type: ignore[arg-type]
    outcome = delivery.send("gavel-test-bids", one_line_each(transformed), Deadline(time.left))
    taken = Counter(row["bid_id"] for row in firehose.rows("bids"))
    reported = {p for record in outcome.undelivered for p in record.positions}
    assert all(n == 1 for n in taken.values())
    assert {f"b-{n}" for n in range(count) if n not in reported} == set(taken)


def test_binary_attributes_of_the_stream_survive(contracts: Contracts, sample: Sample) -> None:
    (record,) = bids(sample, 1)
    record["dynamodb"]["NewImage"]["seal"] = {"B": base64.b64encode(b"\x00\xff").decode()}
    firehose, time = Firehose(), Time()
    assert run(relay(contracts, firehose, time, Bucket()), time, [record]) == []
    (row,) = firehose.rows("bids")
    assert json.loads(row["_extra"]) == {"seal": {"B": "AP8="}}
