"""Imports and the inbound queue on the emulator: its gateway, its queues, its poller, and the functions' bundles."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from local.client import ApiError
from ops.dead_letters import put_back
from ops.environment import Environment
from realtime.imports.messages import MAX_BYTES
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack

Result = TypeVar("Result")
WAIT = 30.0  # seconds for the emulator's poller, which looks about once a second


def until(look: Callable[[], Result | None]) -> Result:
    """What `look` finds when it finds something."""
    end = time.monotonic() + WAIT
    while (found := look()) is None:
        assert time.monotonic() < end, f"nothing was found in {WAIT} s"
        time.sleep(0.1)
    return found


def customer(key: str, **fields: Any) -> dict[str, Any]:
    return {"CUST_NO": key, "STATUS": "active", "REG_TS": "2026-01-02T03:04:05Z", **fields}


def done(laptop: Laptop, import_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        status = laptop.client.import_status("customers", import_id)
        return status if status["status"] == "done" else None

    return until(look)


def test_an_event_and_a_batch_are_answered_and_land(laptop: Laptop) -> None:
    created = laptop.client.import_events("customers", customer("c-imported", CUST_NAME="Ada"))
    answer = laptop.client.import_events(
        "customers", [{"CUST_NO": "c-imported", "CUST_NAME": None}, {"CUST_NO": "c-imported", "STATUS": "nobody"}]
    )
    assert (created["status"], answer["counts"]) == ("created", {"changed": 1, "refused": 1})
    laptop.pump()
    rows = [row for row in laptop.landed("customers") if row["customer_id"] == "c-imported"]
    assert [(row["_op"], row["name"]) for row in rows] == [("insert", "Ada"), ("modify", None)]
    assert [row["_extra"] for row in rows] == [None, None], "what an item knows of events is no drift"
    assert {row["_by"].partition(":")[0] for row in rows} == {"user"}, "who imported them"
    with pytest.raises(ApiError, match="STATUS"):
        laptop.client.import_events("customers", customer("c-imported", STATUS="nobody"))


def test_a_large_batch_and_what_came_too_early_go_through_the_queue(laptop: Laptop) -> None:
    early = laptop.client.import_events("customers", {"CUST_NO": "c-early", "CUST_NAME": "Ada"})
    assert early["status"] == "waiting"
    tags = ["x" * 1000] * (MAX_BYTES // 1000)
    events = [customer(f"c-large-{n}", TAGS=tags if n == 7 else []) for n in range(120)]
    large = laptop.client.import_events("customers", [*events, customer("c-early")])
    assert large["counts"] == {"waiting": 121}
    assert laptop.keys(f"imports/{large['import']}/"), "what is too long for a message is kept in the bucket"
    assert done(laptop, large["import"])["applied"] == 121
    assert done(laptop, early["import"])["applied"] == 1
    assert laptop.client.get("customers", "c-large-7")["tags"] == tags
    assert laptop.client.get("customers", "c-early")["name"] == "Ada"


def test_a_mismatch_in_the_queue_is_a_dead_letter_and_the_rest_is_written(laptop: Laptop) -> None:
    sqs = laptop.aws.client("sqs")
    for event in (customer("c-queued", STATUS="nobody"), customer("c-queued")):
        body = json.dumps({"entity": "customers", "event": event})
        sqs.send_message(QueueUrl=laptop.stack.outputs["InboundQueueUrl"], MessageBody=body)

    def letter() -> dict[str, Any] | None:
        answer = sqs.receive_message(
            QueueUrl=laptop.stack.outputs["InboundDeadLettersUrl"],
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            VisibilityTimeout=0,
        )
        return next((m for m in answer.get("Messages", ()) if "c-queued" in m["Body"]), None)

    first = until(letter)
    attributes = {name: a["StringValue"] for name, a in first["MessageAttributes"].items()}
    assert attributes["reason"] == "invalid-item"
    assert attributes["contract"] == laptop.contracts["customers"].version
    assert put_back(Environment("local", laptop.aws.client)) >= 1
    again = until(letter)
    assert again["MessageId"] != first["MessageId"]
    assert again["MessageAttributes"]["received_at"] == first["MessageAttributes"]["received_at"]

    def written() -> dict[str, Any] | None:
        try:
            return laptop.client.get("customers", "c-queued")
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    assert until(written)["status"] == "active"
