"""The sample subscriber tells each state of a parcel once, whatever order, repetition or crash events come with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from realtime.deadline import Deadline
from realtime.tracking.handler import Tracking
from realtime.tracking.notices import UnusableEvent, notice_of
from realtime.tracking.settings import Settings


class Killed(BaseException):
    """The invocation ends here."""


class Aws:
    """The subscriber's table and FIFO topic; `until` says after how many calls the invocation is killed."""

    def __init__(self) -> None:
        self.until = -1
        self.items: dict[str, tuple[int, str]] = {}
        self.reported: list[dict[str, Any]] = []
        self.identities: set[str] = set()

    def _call(self) -> None:
        if self.until == 0:
            self.until = -1
            raise Killed
        self.until -= 1

    def get_item(self, *, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        self._call()
        if Key["pk"]["S"] not in self.items:
            return {}
        version, sequence = self.items[Key["pk"]["S"]]
        return {"Item": {**Key, "version": {"N": str(version)}, "sequence": {"S": sequence}}}

    def publish(self, *, TopicArn: str, Message: str, MessageGroupId: str, MessageDeduplicationId: str) -> None:
        self._call()
        assert len(MessageGroupId) <= 128
        assert len(MessageDeduplicationId) <= 128
        if MessageDeduplicationId not in self.identities:
            self.identities.add(MessageDeduplicationId)
            self.reported.append(json.loads(Message))

    def put_item(self, *, Item: dict[str, Any], **condition: Any) -> None:
        self._call()
        key, reported = Item["pk"]["S"], (int(Item["version"]["N"]), Item["sequence"]["S"])
        if reported <= self.items.get(key, (0, "")):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "PutItem")
        self.items[key] = reported


def event(shipment: str, version: int, status: str, **more: Any) -> dict[str, Any]:
    values = {"shipment_id": shipment, "order_id": "o-1", "status": status, "carrier": "Post", "cost": "7.5"}
    detail = {"operation": "modify", "version": str(version), "changed": ["status"], "values": values, **more}
    return {"source": "gavel.changes", "detail-type": "shipments", "detail": detail}


def message(identity: int, content: Any) -> dict[str, Any]:
    return {"messageId": str(identity), "body": json.dumps(content)}


def tracking(aws: Aws) -> Tracking:
    return Tracking(Settings("test", "reported", "topic", "7"), dynamodb=aws, sns=aws, seconds=lambda: 1_795_222_923)


def test_a_notice_says_where_the_parcel_is_and_no_more() -> None:
    notice = notice_of(event("s-1", 2, "shipped"))
    assert notice is not None
    assert json.loads(notice.text) == {
        "notice": "parcel shipped", "order_id": "o-1", "shipment_id": "s-1", "status": "shipped", "carrier": "Post",
        "version": "2",
    }  # fmt: skip


@pytest.mark.parametrize(
    "quiet",
    [
        event("s-1", 2, "packed"),
        event("s-1", 2, "shipped", changed=["cost"]),
        event("s-1", 2, "shipped", operation="remove"),
    ],
)
def test_other_changes_ask_for_no_notice(quiet: dict[str, Any]) -> None:
    assert notice_of(quiet) is None


def test_a_version_counts_what_fails_by_its_own_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """So that calls go back; a table that throttles is no fault of a version."""
    aws = Aws()
    tracking(aws).run([message(1, {"detail": {}}), message(2, event("s-1", 2, "shipped"))], Deadline(lambda: 60))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [(line["function"], line["version"], line["Unhandled"]) for line in lines if "Unhandled" in line]
    assert counted == [("tracking", "7", 1)]
    throttled = ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "GetItem")
    aws.get_item = lambda **_: (_ for _ in ()).throw(throttled)  # type: ignore[method-assign]
    assert tracking(aws).run([message(3, event("s-2", 2, "shipped"))], Deadline(lambda: 60))["batchItemFailures"]
    assert "Unhandled" not in capsys.readouterr().out


def test_a_message_that_is_no_event_comes_again_and_the_rest_goes_on() -> None:
    aws = Aws()
    without_values = {"detail": {"operation": "modify", "version": "1", "changed": ["status"]}}
    batch = [message(1, without_values), {"messageId": "2", "body": "{"}, message(3, event("s-1", 2, "shipped"))]
    response = tracking(aws).run(batch, Deadline(lambda: 60))
    assert [f["itemIdentifier"] for f in response["batchItemFailures"]] == ["1", "2"]
    assert len(aws.reported) == 1
    with pytest.raises(UnusableEvent, match="values"):
        notice_of(without_values)


def test_what_was_remembered_without_a_sequence_is_not_reported_again() -> None:
    class Old(Aws):
        def get_item(self, **parameters: Any) -> dict[str, Any]:
            return {"Item": {**parameters["Key"], "version": {"N": "2"}}}

    aws = Old()
    reported = [message(n, event("s-1", 2 + n, "shipped", sequence="1".rjust(40, "0"))) for n in range(2)]
    assert tracking(aws).run(reported, Deadline(lambda: 60)) == {"batchItemFailures": []}
    assert [notice["version"] for notice in aws.reported] == ["3"]


@given(
    order=st.lists(st.tuples(st.sampled_from(["s-1", "s-2"]), st.integers(1, 4)), max_size=12),
    kills=st.lists(st.integers(0, 4), max_size=6),
)
def test_each_state_is_reported_once_and_never_an_older_one_later(
    order: list[tuple[str, int]], kills: list[int]
) -> None:
    aws = Aws()
    states = ["shipped", "lost", "returned", "delivered"]
    for number, (shipment, version) in enumerate(order):
        tied = version // 2  # the second and the third are of one version, which their sequence orders
        batch = [message(number, event(shipment, tied, states[version - 1], sequence=f"{version:040d}"))]
        while True:
            aws.until = kills.pop() if kills else -1
            try:
                assert tracking(aws).run(batch, Deadline(lambda: 60)) == {"batchItemFailures": []}
                break
            except Killed:
                continue
        aws.until = -1
    for shipment in ("s-1", "s-2"):
        reported = [states.index(n["status"]) + 1 for n in aws.reported if n["shipment_id"] == shipment]
        assert reported == sorted(set(reported))
        sent = [version for s, version in order if s == shipment]
        assert reported[-1:] == ([max(sent)] if sent else [])
