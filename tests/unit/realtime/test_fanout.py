"""Changes reach everyone who subscribes: what an event says, what it does not, and what becomes of those that fail."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts import Contracts
from realtime.deadline import Deadline
from realtime.fanout import events
from realtime.fanout.events import Event, events_of, requests
from realtime.fanout.handler import BUDGET_SECONDS, Fanout
from realtime.fanout.publishing import Bus
from realtime.fanout.settings import Settings

Sample = Callable[[str], dict[str, Any]]
SETTINGS = Settings("test", "gavel-test", "letters", "7")


class Aws:
    """EventBridge and SQS; `answer(entry, attempt)` is the code with which the bus refuses an event."""

    def __init__(self, answer: Callable[[dict[str, Any], int], str | None] = lambda *_: None) -> None:
        self.answer = answer
        self.attempts: dict[str, int] = {}
        self.sizes: list[int] = []
        self.taken: list[dict[str, Any]] = []
        self.letters: list[dict[str, Any]] = []
        self.queue_error: Exception | None = None

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.sizes.append(len(Entries))
        answers = []
        for entry in Entries:
            attempt = self.attempts[entry["Detail"]] = self.attempts.get(entry["Detail"], 0) + 1
            code = self.answer(entry, attempt)
            answers.append({"ErrorCode": code} if code else {"EventId": "1"})
            if not code:
                self.taken.append(entry)
        return {"FailedEntryCount": sum("ErrorCode" in a for a in answers), "Entries": answers}

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        assert QueueUrl == "letters"
        if self.queue_error:
            raise self.queue_error
        assert len(MessageBody) <= 256 * 1024
        self.letters.append(json.loads(MessageBody))

    @property
    def details(self) -> list[dict[str, Any]]:
        return [json.loads(entry["Detail"]) for entry in self.taken]


def run(contracts: Contracts, aws: Aws, records: list[dict[str, Any]], seconds: float = 50) -> list[str]:
    left = [seconds]

    def pause(wait: float) -> None:
        left[0] -= wait

    fanout = Fanout(contracts, Bus(aws, "gavel-test", pause=pause, chance=lambda: 0.5), SETTINGS, sqs=lambda: aws)
    response = fanout.run(records, Deadline(lambda: left[0]))
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def shipments(count: int) -> list[dict[str, Any]]:
    """Parcels that left, each with a sequence number of its own."""
    common = {"pk": {"S": "ORDER#o-1"}, "entity": {"S": "shipments"}, "order_id": {"S": "o-1"}, "cost": {"N": "7.5"}}
    made = []
    for number in range(count):
        key = {**common, "shipment_id": {"S": f"s-{number}"}}
        body = {
            "OldImage": {**key, "_version": {"N": "1795222923000001"}, "status": {"S": "packed"}},
            "NewImage": {
                **key,
                "_version": {"N": "1795222923000002"},
                "status": {"S": "shipped"},
                "carrier": {"S": "Post"},
            },
            "SequenceNumber": str(10**24 + number),
            "ApproximateCreationDateTime": 1_795_222_923,
        }
        made.append({"eventID": f"e-{number}", "eventName": "MODIFY", "dynamodb": body})
    return made


def test_an_event_says_what_changed_of_which_item_in_the_values_of_the_change_record(contracts: Contracts) -> None:
    aws = Aws()
    assert run(contracts, aws, shipments(1)) == []
    (entry,) = aws.taken
    assert {k: entry[k] for k in ("EventBusName", "Source", "DetailType")} == {
        "EventBusName": "gavel-test", "Source": "gavel.changes", "DetailType": "shipments",
    }  # fmt: skip
    assert json.loads(entry["Detail"]) == {
        "event_id": "e-0",
        "entity": "shipments",
        "operation": "modify",
        "key": {"shipment_id": "s-0"},
        "version": "1795222923999999",
        "sequence": str(10**24).rjust(40, "0"),
        "changed_at": "2026-11-21T01:02:03Z",
        "contract": contracts["shipments"].version,
        "changed": ["carrier", "status"],
        "values": {"shipment_id": "s-0", "order_id": "o-1", "carrier": "Post", "cost": "7.5", "status": "shipped"},
    }


def test_changes_of_one_second_share_a_version_and_sequence_tells_which_came_later(contracts: Contracts) -> None:
    aws = Aws()
    assert run(contracts, aws, shipments(2)) == []
    first, second = aws.details
    assert first["version"] == second["version"]
    assert first["sequence"] < second["sequence"]


def test_personal_data_and_what_no_contract_knows_are_not_on_the_bus(contracts: Contracts) -> None:
    personal = contracts["customers"].personal
    image = {name: {"S": f"secret {name}"} for name in personal}
    image |= {"entity": {"S": "customers"}, "customer_id": {"S": "c-1"}, "note": {"S": "secret note"}}
    body = {"NewImage": image, "SequenceNumber": "1", "ApproximateCreationDateTime": 1_795_222_923}
    aws = Aws()
    assert run(contracts, aws, [{"eventID": "e", "eventName": "INSERT", "dynamodb": body}]) == []
    assert personal
    assert "secret" not in aws.taken[0]["Detail"]
    assert aws.details[0]["values"] == {"customer_id": "c-1"}
    assert set(personal) <= set(aws.details[0]["changed"])


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("stream_insert", ["insert"]),
        ("stream_marked_deleted", ["remove"]),
        ("stream_remove", ["remove"]),
        ("stream_ttl_removal", ["expire"]),
    ],
)
def test_each_kind_of_change_is_one_event(
    contracts: Contracts, sample: Sample, name: str, operations: list[str]
) -> None:
    aws = Aws()
    assert run(contracts, aws, sample(name)["Records"]) == []
    assert [d["operation"] for d in aws.details] == operations


def test_the_end_of_an_item_whose_deletion_was_reported_says_nothing(contracts: Contracts, sample: Sample) -> None:
    (record,) = sample("stream_remove")["Records"]
    record["dynamodb"]["OldImage"]["_deleted"] = {"BOOL": True}
    assert events_of([record], contracts) == events.Events()


def test_a_record_that_gives_no_event_goes_to_the_dead_letters_and_the_rest_goes_on(
    contracts: Contracts, sample: Sample
) -> None:
    records, aws = sample("stream_mixed_batch")["Records"], Aws()
    assert run(contracts, aws, records) == []
    assert len(aws.taken) == 3
    (letter,) = aws.letters
    assert letter["record"] == records[2]
    assert "entity" in letter["reason"]


def test_a_version_that_cannot_make_events_counts_the_records_as_its_own(
    contracts: Contracts, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that calls go back; a bus that takes nothing is no fault of a version."""
    run(contracts, Aws(), sample("stream_mixed_batch")["Records"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [(line["function"], line["version"], line["Unhandled"]) for line in lines if "Unhandled" in line]
    assert counted == [("fanout", "7", 1)]
    run(contracts, Aws(lambda *_: "ThrottlingException"), shipments(3))
    assert "Unhandled" not in capsys.readouterr().out


def test_a_letter_that_cannot_be_kept_comes_again(contracts: Contracts, sample: Sample) -> None:
    aws, records = Aws(), sample("stream_mixed_batch")["Records"]
    aws.queue_error = ClientError({"Error": {"Code": "InternalError", "Message": ""}}, "SendMessage")
    assert run(contracts, aws, records) == [records[2]["dynamodb"]["SequenceNumber"]]


def test_only_what_the_bus_refused_is_sent_again(contracts: Contracts) -> None:
    aws = Aws(lambda entry, attempt: "ThrottlingException" if "s-3" in entry["Detail"] and attempt < 3 else None)
    assert run(contracts, aws, shipments(25)) == []
    assert aws.sizes == [10, 1, 1, 10, 5]
    assert sorted(d["key"]["shipment_id"] for d in aws.details) == sorted(f"s-{n}" for n in range(25))


def test_what_the_bus_does_not_take_ends_the_batch_there(contracts: Contracts) -> None:
    aws = Aws(lambda entry, _: "InternalFailure" if '"s-12"' in entry["Detail"] else None)
    records = shipments(25)
    assert run(contracts, aws, records, seconds=2) == [records[12]["dynamodb"]["SequenceNumber"]]
    assert aws.letters == []


@pytest.mark.parametrize("code", ["InternalFailure", "AccessDeniedException"])
def test_a_bus_that_takes_nothing_holds_nothing_up(contracts: Contracts, code: str) -> None:
    left, down = [50.0], True
    aws = Aws(lambda *_: code if down else None)

    def pause(wait: float) -> None:
        left[0] -= wait

    fanout = Fanout(contracts, Bus(aws, "b", pause=pause, chance=lambda: 0.5), SETTINGS, sqs=lambda: aws)
    records = shipments(60)
    assert fanout.run(records[:25], Deadline(lambda: left[0])) == {"batchItemFailures": []}
    assert 50 - left[0] <= BUDGET_SECONDS
    left[0], requested = 50.0, len(aws.sizes)
    assert fanout.run(records[25:50], Deadline(lambda: left[0])) == {"batchItemFailures": []}
    assert left[0] > 49, "a bus that took nothing is tried without waiting"
    assert len(aws.sizes) > requested
    assert [letter["record"] for letter in aws.letters] == records[:50], "whole"
    down = False
    assert fanout.run(records[50:], Deadline(lambda: left[0])) == {"batchItemFailures": []}
    assert len(aws.taken) == 10


def test_what_a_letter_cannot_hold_whole_is_left_to_the_stream(contracts: Contracts) -> None:
    small, large = shipments(2)
    large["dynamodb"]["NewImage"]["carrier"] = {"S": "x" * 300_000}
    aws = Aws(lambda *_: "InternalFailure")
    assert run(contracts, aws, [small, large]) == [large["dynamodb"]["SequenceNumber"]]
    assert [letter["record"] for letter in aws.letters] == [small]


def test_an_event_that_the_bus_never_takes_is_a_dead_letter(contracts: Contracts) -> None:
    aws = Aws(lambda entry, _: "MalformedDetail" if '"s-1"' in entry["Detail"] else None)
    records = shipments(3)
    assert run(contracts, aws, records) == []
    assert [(letter["reason"], letter["record"]) for letter in aws.letters] == [("MalformedDetail", records[1])]
    assert len(aws.taken) == 2


def test_values_too_large_for_the_bus_are_left_to_the_api(contracts: Contracts) -> None:
    small, large = shipments(2)
    large["dynamodb"]["NewImage"]["carrier"] = {"S": "x" * 300_000}
    aws = Aws()
    assert run(contracts, aws, [small, large]) == []
    assert ["values" in d for d in aws.details] == [True, False]
    assert aws.details[1]["key"] == {"shipment_id": "s-1"}


def test_a_letter_too_large_for_the_queue_says_so(contracts: Contracts) -> None:
    (record,) = shipments(1)
    broken = copy.deepcopy(record)
    broken["dynamodb"]["NewImage"] |= {"entity": {"S": "unknown"}, "carrier": {"S": "x" * 300_000}}
    aws = Aws()
    assert run(contracts, aws, [broken]) == []
    assert "too large" in aws.letters[0]["reason"]
    assert aws.letters[0]["record"]["eventID"] == "e-0"


def test_requests_keep_the_limits_of_the_bus() -> None:
    sent = [Event(n, "bids", b"x" * size) for n, size in enumerate([10] * 23 + [200_000, 100_000, 250 * 1024, 10])]
    found = list(requests(sent))
    assert [event for request in found for event in request] == sent
    assert all(len(r) <= 10 and sum(len(e.detail) for e in r) <= 250 * 1024 for r in found)


@pytest.mark.parametrize(
    "answer", [{}, {"Entries": []}, {"Entries": [{}] * 9}, None, OSError("x"), MemoryError(), KeyError("x")]
)
def test_an_answer_that_nobody_can_read_is_no_event_taken(contracts: Contracts, answer: Any) -> None:
    class Odd(Aws):
        def put_events(self, **_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    aws = Odd()
    assert run(contracts, aws, shipments(3)) == []
    assert [letter["record"]["eventID"] for letter in aws.letters] == ["e-0", "e-1", "e-2"]


@pytest.mark.parametrize("error", [OSError("x"), MemoryError(), KeyError("x")])
def test_a_queue_that_breaks_in_any_way_leaves_the_record_to_the_stream(contracts: Contracts, error: Exception) -> None:
    aws = Aws(lambda *_: "InternalFailure")
    aws.queue_error = error
    assert run(contracts, aws, shipments(3)) == [str(10**24)]
