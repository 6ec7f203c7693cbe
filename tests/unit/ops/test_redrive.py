"""A redrive removes only what was taken, and goes on where it can; `tests/property/realtime` has what it puts back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import redrive
from ops.environment import Environment, OpsError
from ops.moments import Range
from ops.redrive import Redrive, RedriveError

Answer = Callable[[str, list[dict[str, Any]]], dict[str, Any]]


class Aws:
    """S3, SQS and Lambda; `answer(function, records)` is what the function says."""

    def __init__(self, answer: Answer = lambda function, records: {"left": []}) -> None:
        self.answer = answer
        self.error: str | None = None
        self.objects: dict[str, bytes] = {}
        self.changed = False
        self.invoked: list[tuple[str, int]] = []

    def get_paginator(self, operation: str) -> Aws:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": k} for k in sorted(self.objects) if k.startswith(Prefix)]}, {}]

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key]), "ETag": "tag"}

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str) -> None:
        assert IfMatch == "tag"
        if self.changed:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": ""}}, "DeleteObject")
        del self.objects[Key]

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfMatch: str) -> None:
        self.objects[Key] = Body

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def receive_message(self, **options: Any) -> dict[str, Any]:
        return {}

    def invoke(self, *, FunctionName: str, Qualifier: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert Qualifier == "live"  # not what an update that is under way has brought
        records = json.loads(Payload)["Records"]
        self.invoked.append((FunctionName, len(records)))
        if self.error:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(self.error.encode())}
        return {"Payload": io.BytesIO(json.dumps(self.answer(FunctionName, records)).encode())}


def kept(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps({"reason": "as it was", "record": r}) + "\n" for r in records).encode()


def run(aws: Aws, said: list[str] | None = None) -> redrive.Redriven:
    return Redrive(Environment("prod", lambda service: aws), "lake", (said if said is not None else []).append).run()


def test_an_object_that_cannot_be_read_stays_is_reported_and_stops_nothing() -> None:
    aws = Aws()
    aws.objects = {
        "relay-failures/a": b"not JSON",
        "relay-failures/b": kept({"n": 1}),
        "aws/lambda/x": json.dumps(
            {"requestContext": {"functionArn": "arn:aws:lambda:r:1:function:other"}, "payload": "{}"}
        ).encode(),
    }
    done = run(aws)
    assert set(aws.objects) == {"relay-failures/a", "aws/lambda/x"}
    assert (done.delivered, done.left.total()) == (1, 2)
    assert any("s3://lake/relay-failures/a" in reason for reason in done.left)


def test_nothing_is_removed_when_the_function_fails() -> None:
    aws = Aws()
    aws.objects, aws.error = {"relay-failures/a": kept({"n": 1})}, "out of memory"
    with pytest.raises(RedriveError, match=r"gavel-prod-relay.*out of memory"):
        run(aws)
    assert set(aws.objects) == {"relay-failures/a"}


def test_an_object_that_was_written_again_meanwhile_stays() -> None:
    aws, said = Aws(), list[str]()
    aws.objects, aws.changed = {"relay-failures/a": kept({"n": 1})}, True
    assert run(aws, said).delivered == 1
    assert set(aws.objects) == {"relay-failures/a"}
    assert "changed meanwhile" in said[-1]


def test_a_batch_goes_to_its_function_and_stays_whole_while_any_of_it_is_left() -> None:
    aws = Aws(lambda function, records: {"left": [{"position": 1, "reason": "still refused"}]})
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:gavel-prod-fanout:$LATEST"
    batch = {"requestContext": {"functionArn": arn}, "payload": json.dumps({"Records": [{"n": 1}, {"n": 2}]})}
    aws.objects = {"aws/lambda/x": json.dumps(batch).encode()}
    done = run(aws)
    assert aws.invoked == [("gavel-prod-fanout", 2)]
    assert json.loads(aws.objects["aws/lambda/x"]) == batch
    assert (done.delivered, dict(done.left)) == (1, {"still refused": 1})


def test_many_records_are_several_events_and_positions_are_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "MAX_EVENT_RECORDS", 2)
    monkeypatch.setattr(redrive, "MAX_EVENT_BYTES", 60)
    large = {"n": 3, "x": "x" * 50}
    aws = Aws(
        lambda function, records: {
            "left": [{"position": n, "reason": "r"} for n, r in enumerate(records) if r == large]
        }
    )
    aws.objects = {"relay-failures/a": kept({"n": 1}, {"n": 2}, large, {"n": 4}, {"n": 5})}
    assert run(aws).delivered == 4
    assert [count for _, count in aws.invoked] == [2, 1, 2]
    assert [json.loads(line)["record"] for line in aws.objects["relay-failures/a"].splitlines()] == [large]


def test_a_firehose_that_still_takes_nothing_is_tried_once_and_holds_up_no_other_entity() -> None:
    broken = {"entity": "bids"}
    reason = "gavel-prod-bids: ThrottlingException"
    aws = Aws(lambda _, rs: {"left": [{"position": n, "reason": reason} for n, r in enumerate(rs) if r == broken]})
    days = [f"relay-failures/dt=2026-11-{day}/" for day in range(10, 20)]
    aws.objects = {f"{day}bids-{n}.ndjson": kept(broken, broken) for n, day in enumerate(days)}
    aws.objects |= {f"{day}orders-{n}.ndjson": kept({"entity": "orders"}) for n, day in enumerate(days)}
    result = run(aws)
    assert sorted(aws.objects) == [f"{day}bids-{n}.ndjson" for n, day in enumerate(days)], "kept whole"
    assert (result.delivered, len(aws.invoked)) == (10, 11)
    assert sum(result.left.values()) == 2 + 9


@pytest.mark.parametrize("entity", ["", "bids-"])
def test_records_that_are_no_changes_are_all_tried(entity: str) -> None:
    aws = Aws(lambda _, records: {"left": [{"position": n, "reason": "x"} for n in range(len(records))]})
    aws.objects = {f"relay-failures/dt=2026-11-10/{entity}{n:032x}.ndjson": kept({}) for n in range(3)}
    run(aws)
    assert len(aws.invoked) == 3


def test_what_is_left_keeps_its_class() -> None:
    aws = Aws(lambda _, records: {"left": [{"position": 0, "reason": "new"}]})
    lines = [{"reason": "old", "class": "data", "record": {"n": n}} for n in range(2)]
    aws.objects = {"relay-failures/dt=2026-11-10/a.ndjson": "".join(json.dumps(line) + "\n" for line in lines).encode()}
    run(aws)
    assert json.loads(aws.objects["relay-failures/dt=2026-11-10/a.ndjson"]) == lines[0] | {"reason": "new"}


@pytest.mark.parametrize("body", ["no json", "[]", "{}", "7", "null", '{"record": {}}'])
def test_a_dead_letter_that_nobody_can_read_stays_and_stops_no_other(body: str) -> None:
    letters = {"1": body, "2": json.dumps({"record": {"n": 1}, "reason": "x"})}

    class Letters(Aws):
        def receive_message(self, **_: Any) -> dict[str, Any]:
            first = next(iter(letters.items()))  # one at a time, and again those that stayed
            letters[first[0]] = letters.pop(first[0])
            return {
                "Messages": [{"MessageId": n, "ReceiptHandle": n, "Body": b} for n, b in (first, *letters.items())][:1]
            }

        def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:
            del letters[ReceiptHandle]

    aws = Letters()
    result = run(aws)
    assert set(letters) == {"1"}
    assert (result.delivered, sum(result.left.values())) == (1, 1)


def test_a_dry_run_says_what_would_be_put_back_and_changes_nothing() -> None:
    class Counting(Aws):
        def get_caller_identity(self) -> dict[str, str]:
            return {"Account": "123456789012"}

        def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
            return {"Attributes": {"ApproximateNumberOfMessages": "3" if "fanout" in QueueUrl else "0"}}

        def receive_message(self, **_: Any) -> dict[str, Any]:
            raise AssertionError("a received message is hidden from others")

    aws = Counting()
    given_up = {"functionArn": "arn:aws:lambda:r:1:function:gavel-prod-fanout", "condition": "RetryAttemptsExhausted"}
    payload = json.dumps({"Records": [{"n": 3}, {"n": 4}]})
    aws.objects = {
        "relay-failures/a": kept({"n": 1}, {"n": 2}),
        "relay-failures/b": b"not JSON",
        "aws/lambda/x": json.dumps({"requestContext": given_up, "payload": payload}).encode(),
    }
    before = dict(aws.objects)
    lines = list(redrive.would_redrive(Environment("prod", lambda service: aws)).lines())
    assert (aws.objects, aws.invoked) == (before, [])
    assert lines[0].startswith("would put back 4 records of 2 objects")
    assert lines[1:] == [
        "  2 x as it was",
        "  2 x RetryAttemptsExhausted",
        "would leave relay-failures/b: it holds no records that failed",
        "would put back about 0 messages of gavel-prod-inbound-dead-letters",
        "would put back about 3 messages of gavel-prod-fanout-dead-letters",
    ]


class Timed(Aws):
    """An object of each kind, and a letter in each queue, for every hour of a day; what is received is hidden."""

    def __init__(self) -> None:
        super().__init__()
        fanout = {"functionArn": "arn:aws:lambda:r:1:function:gavel-prod-fanout"}
        payload = json.dumps({"Records": [{"n": 0}]})
        given_up = json.dumps({"requestContext": fanout, "payload": payload}).encode()
        self.letters: dict[str, dict[str, Any]] = {}
        for hour in range(24):
            self.objects |= {f"relay-failures/{hour:02}": kept({"n": hour}), f"aws/lambda/{hour:02}": given_up}
            sent = str(int(self.at(hour).timestamp() * 1000))
            for queue, body in (("fanout", json.dumps({"record": {"n": hour}, "reason": "x"})), ("inbound", "{}")):
                name = f"gavel-prod-{queue}-dead-letters {hour:02}"
                letter = {"MessageId": name, "ReceiptHandle": name, "Body": body}
                self.letters[name] = {**letter, "Attributes": {"SentTimestamp": sent}}
        self.hidden: set[str] = set()
        self.sent: list[str] = []

    @staticmethod
    def at(hour: int) -> datetime:
        return datetime(2026, 11, 21, hour, tzinfo=UTC)

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        (page, last) = super().paginate(Bucket=Bucket, Prefix=Prefix)
        return [{"Contents": [o | {"LastModified": self.at(int(o["Key"][-2:]))} for o in page["Contents"]]}, last]

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012"}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        shown = [name for name in self.letters if name.startswith(QueueUrl) and name not in self.hidden]
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(shown))}}

    def receive_message(self, **requested: Any) -> dict[str, Any]:
        assert "SentTimestamp" in requested["MessageSystemAttributeNames"]
        shown = [name for name in self.letters if name.startswith(requested["QueueUrl"]) and name not in self.hidden]
        taken = shown[: requested["MaxNumberOfMessages"]]
        self.hidden.update(taken)
        return {"Messages": [self.letters[name] for name in taken]}

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert len({entry["Id"] for entry in Entries}) == len(Entries) <= 10
        assert {entry["VisibilityTimeout"] for entry in Entries} == {0}
        self.hidden.difference_update(entry["ReceiptHandle"] for entry in Entries)
        return {"Successful": Entries}

    def send_message(self, *, QueueUrl: str, MessageBody: str, MessageAttributes: dict[str, Any]) -> None:
        self.sent.append(MessageAttributes["received_at"]["StringValue"][11:13])

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:
        del self.letters[ReceiptHandle]


@pytest.mark.parametrize(("since", "until"), [(9, 12), (20, None), (None, 3)])
def test_a_range_puts_back_what_failed_in_it_and_leaves_the_rest_to_the_next(
    since: int | None, until: int | None
) -> None:
    aws = Timed()
    environment = Environment("prod", lambda service: aws)
    failed = Range(None if since is None else aws.at(since), None if until is None else aws.at(until))
    expected = {f"{hour:02}" for hour in range(24)[since:until]}
    waiting = redrive.would_redrive(environment, failed)
    assert (waiting.objects, len(aws.objects)) == (2 * len(expected), 48)
    done = redrive.redrive(environment, failed=failed)
    assert done.delivered == 3 * len(expected), "records of both kinds of objects, and letters of the fan-out"
    left = [*aws.objects, *aws.letters]
    assert {key[-2:] for key in left} == {f"{hour:02}" for hour in range(24)} - expected
    assert len(left) == 4 * (24 - len(expected))
    assert set(aws.sent) == expected
    assert aws.hidden & aws.letters.keys() == set(), "the next command gets them at once"


def test_a_range_in_which_nothing_can_fail_is_refused() -> None:
    with pytest.raises(OpsError, match="expected a beginning before 2026-11-21T09:00:00"):
        Range(Timed.at(9), Timed.at(9))
