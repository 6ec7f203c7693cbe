"""Functions work with the rights of their roles alone: the emulator decides each of their calls, as AWS would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from lakehouse.storage.lake import Lake
from local.aws import REGION
from local.client import ApiError
from local.deploy import sign_in
from realtime.imports.messages import MAX_BYTES
from retrieval.answering import answer_waiting
from tests.support.enforcing import Heard, enforced, general, heard
from tests.support.laptop import Laptop, running_laptop

pytestmark = pytest.mark.stack

CALLS = Path(__file__).parents[2] / "unit" / "realtime" / "recorded_calls.yaml"
WAIT = 120.0  # seconds for the emulator's poller, on a machine that has much to do


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rights") / "calls.ndjson"


@pytest.fixture(scope="module")
def strict(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A stack of its own, whose emulator enforces rights."""
    with enforced(record), running_laptop(tmp_path_factory.mktemp("strict") / "home") as running:
        yield running


def until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"expected what is looked for within {WAIT} s, found nothing")
        time.sleep(0.2)
    return found


def customer(key: str) -> dict[str, Any]:
    return {"customer_id": key, "status": "active", "registered_at": "2026-01-02T03:04:05Z", "name": "A B"}


def of_items(laptop: Laptop) -> None:
    """Items are written, read, changed and removed; lists, a party's orders and its summary are read."""
    client = laptop.client
    for key in ("c-rights", "c-gone"):
        client.create("customers", customer(key), idempotency_key=f"k-{key}")
    client.patch("customers", "c-rights", {"name": "C D"})
    client.delete("customers", "c-gone")
    assert client.get("customers", "c-rights")["name"] == "C D"
    assert client.party_orders("c-rights", "buyer")["orders"] == []
    assert client.party_orders("c-rights", "seller")["orders"] == []
    with pytest.raises(ApiError, match="404"):
        client.party_summary("c-rights")
    client.status()
    token, _ = sign_in(laptop.aws, laptop.stack)
    for path in ("lists/orders?status=paid", "lists/customers?name=C%20D", "activity"):
        request = Request(f"{laptop.stack.outputs['ApiUrl']}/{path}", headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def of_questions(laptop: Laptop) -> None:
    """A question is put, answered by the pipeline, and its answer read."""
    lake = Lake.of_environment("local", laptop.bucket, REGION, laptop.stack.endpoint)
    answer_waiting(lake, laptop.contracts, print)
    put = laptop.client.put_question("changes_of_an_item", {"entity": "customers", "key": "c-rights"})
    assert laptop.client.archive_answer(put["id"])["status"] == "waiting"
    answer_waiting(lake, laptop.contracts, print)
    assert laptop.client.archive_answer(put["id"])["status"] == "answered"


def of_imports(laptop: Laptop, record: Path) -> None:
    """An event comes too early and waits for its item; a batch goes through the queue, one event of it through the
    bucket; one is a dead letter."""
    early = laptop.client.import_events("customers", {"CUST_NO": "c-early", "CUST_NAME": "Ada"})
    until(lambda: any(c.action == "sqs:ChangeMessageVisibility" for c in heard(record)))
    laptop.client.create("customers", customer("c-early"))
    long = ["x" * 1000] * (MAX_BYTES // 1000)
    events = [
        {"CUST_NO": f"c-many-{n}", "STATUS": "active", "REG_TS": "2026-01-02T03:04:05Z", "TAGS": long if n == 7 else []}
        for n in range(120)
    ]
    sent = laptop.client.import_events("customers", events)
    wrong = {"entity": "customers", "event": {"CUST_NO": "c-wrong", "STATUS": "nobody"}}
    queue = laptop.stack.outputs["InboundQueueUrl"]
    laptop.aws.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(wrong))
    until(lambda: laptop.client.import_status("customers", sent["import"])["status"] == "done")
    until(lambda: laptop.client.import_status("customers", early["import"])["status"] == "done")
    letters, count = laptop.stack.outputs["InboundDeadLettersUrl"], "ApproximateNumberOfMessages"
    sqs = laptop.aws.client("sqs")
    until(lambda: sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=[count])["Attributes"][count] != "0")


def of_the_stream(laptop: Laptop) -> None:
    """Changes land, one that cannot be mapped is kept, and a parcel's state is reported."""
    shipment = {"shipment_id": "s-1", "order_id": "o-1", "carrier": "Post", "currency": "EUR", "status": "packed",
        "created_at": "2026-11-21T01:02:03Z"}  # fmt: skip
    laptop.client.create("shipments", shipment)
    laptop.client.patch("shipments", "s-1", {"status": "shipped", "tracking_number": "T-1"})
    table, dynamodb = laptop.stack.outputs["TableName"], laptop.aws.client("dynamodb")
    foreign = {"pk": {"S": "CUSTOMER#c-x"}, "sk": {"S": "CUSTOMER"}, "entity": {"S": "no such entity"}}
    dynamodb.put_item(TableName=table, Item=foreign)
    laptop.pump()
    assert any(row["customer_id"] == "c-rights" for row in laptop.landed("customers"))
    until(lambda: dynamodb.scan(TableName=f"{table}-tracking")["Items"])


def called(calls: set[Heard]) -> dict[str, list[str]]:
    """Each role's calls, as the file has them."""
    found: dict[str, list[str]] = {}
    for role, call in sorted({(c.role.split("-")[2], f"{c.action} {general(c.resource)}") for c in calls}):
        found.setdefault(role, []).append(call)
    return found


def pairs(calls: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(role, call) for role, of_role in calls.items() for call in of_role}


def test_functions_do_their_work_with_their_roles_alone(strict: Laptop, record: Path) -> None:
    of_items(strict)
    of_questions(strict)
    of_imports(strict, record)
    of_the_stream(strict)
    recorded = yaml.safe_load(CALLS.read_text("utf-8"))["calls"]
    with suppress(TimeoutError):  # a function may have something to do yet when its result is there
        until(lambda: pairs(recorded) <= pairs(called(heard(record))))
    calls = heard(record)
    assert [call for call in sorted(calls) if not call.allowed] == []
    found = called(calls)
    assert found == recorded, (
        f"if this is what functions are to do, it goes into {CALLS.name}:\n{yaml.safe_dump(found)}"
    )


def test_a_role_without_a_right_is_refused(strict: Laptop, record: Path) -> None:
    """So that the test before this one could fail at all."""
    iam = strict.aws.client("iam")
    (role,) = (r["RoleName"] for r in iam.list_roles()["Roles"] if "-ApiRole-" in r["RoleName"])
    document = iam.get_role_policy(RoleName=role, PolicyName="api")["PolicyDocument"]
    left = [s for s in document["Statement"] if s.get("Sid") != "ReadAndWriteItems"]
    iam.put_role_policy(RoleName=role, PolicyName="api", PolicyDocument=json.dumps({**document, "Statement": left}))
    with pytest.raises(ApiError) as raised:
        strict.client.create("customers", customer("c-refused"))
    assert raised.value.status >= 500
    assert any(not c.allowed and c.action == "dynamodb:PutItem" for c in heard(record))
