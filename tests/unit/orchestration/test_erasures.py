"""Erasures finish by themselves: the sensor requests the right job of each request, and the jobs do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import boto3
import dagster as dg
import orjson
import pytest
from moto import mock_aws

from assets.erasure import ERASE, FINISH, erasure_jobs
from assets.resources import LakeResource, WarehouseResource
from lakehouse.erasure import proof, requests
from lakehouse.storage.lake import Lake
from orchestration.erasures import due, erasures_sensor
from orchestration.jobs import REPORTS
from tests.support.lakes import Landing, published_rows
from tests.support.persons import BOTH, PERSONS, SALES, ingest, person, sale


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "t",
        "AWS_SECRET_ACCESS_KEY": "t",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


@pytest.fixture
def resource(tmp_path: Path, aws: None) -> LakeResource:
    return LakeResource(environment="unit", bucket="data", local_root=str(tmp_path), scratch=str(tmp_path / "scratch"))


@pytest.fixture
def lake(resource: LakeResource) -> Lake:
    Landing(resource.lake, PERSONS).land([person("p-1", version=1), person("p-2", version=1)])
    Landing(resource.lake, SALES).land([sale("s-1", "p-1", "p-2", version=1)])
    ingest(resource.lake)
    return resource.lake


def executed(lake: LakeResource, request: dg.RunRequest) -> bool:
    warehouse = WarehouseResource(target="local", home=str(lake.local_root))
    definitions = dg.Definitions(jobs=erasure_jobs(BOTH), resources={"lake": lake, "warehouse": warehouse})
    assert request.job_name is not None
    job = definitions.resolve_job_def(request.job_name)
    return job.execute_in_process(run_config=request.run_config).success


def building() -> dg.JobDefinition:
    """In place of the job that builds marts and reports."""

    @dg.job(name=REPORTS)
    def reports() -> None:
        pass

    return reports


def requested(resource: LakeResource) -> list[dg.RunRequest]:
    sensor = erasures_sensor(BOTH, [*erasure_jobs(BOTH), building()], 60)
    with dg.build_sensor_context(resources={"lake": resource}) as context:
        found = sensor.evaluate_tick(context)
    return list(found.run_requests or ())


def test_a_request_is_done_by_the_runs_that_the_sensor_requests(lake: Lake, resource: LakeResource) -> None:
    assert requested(resource) == []
    made = requests.request_erasure(lake, "p-1", timedelta(0))
    (first,) = requested(resource)
    assert first.job_name == ERASE
    assert "p-1" not in orjson.dumps(first.run_config, default=str).decode()
    assert executed(resource, first)
    built, second = requested(resource)
    assert (built.job_name, second.job_name) == (REPORTS, FINISH)
    assert executed(resource, second)
    assert requested(resource) == []
    done = requests.load_request(lake, made.id)
    assert done.status == "done"
    assert proof.verify(lake, orjson.loads(lake.store.read(done.proof)))
    assert [r["person_id"] for r in published_rows(lake, PERSONS)] == ["p-2"]
    Landing(lake, PERSONS, 9).land([person("p-1", version=5)])
    ingest(lake)
    (late,) = requested(resource)
    assert executed(resource, late)
    assert requested(resource) == []


def test_a_phase_is_requested_once_in_a_while_until_it_is_done(lake: Lake) -> None:
    request = requests.request_erasure(lake, "p-1")
    now = lake.now()
    ((job, named, key),) = due([request], now)
    assert (job, named) == (ERASE, request.id)
    assert due([request], now + timedelta(hours=1))[0][2] != key


def test_marts_are_built_once_the_tables_are_rewritten_and_before_the_end(lake: Lake) -> None:
    request = replace(requests.request_erasure(lake, "p-1"), status="rewritten", rewritten_at=lake.now().isoformat())
    ((job, _, key),) = due([request], lake.now())
    assert job == REPORTS
    later = due([request], lake.now() + timedelta(hours=25))
    assert [(job, key) for job, _, key in later if job == REPORTS] == [(REPORTS, key)], "requested once"
    assert FINISH in [job for job, _, _ in later]


def test_items_receipts_and_dead_letters_are_without_the_person(lake: Lake, resource: LakeResource) -> None:
    from contracts import Contracts, summaries
    from contracts.model import DynamoKeys, IndexKeys
    from lakehouse.erasure.needles import Needles
    from lakehouse.erasure.operational import erase_operational

    keys = DynamoKeys("SALE#{sale_id}", "SALE", (IndexKeys("by_buyer", "BUYER#{buyer_id}", "{sale_id}"),))
    contracts = Contracts(
        {
            "persons": replace(PERSONS, keys=DynamoKeys("PERSON#{person_id}", "PERSON")),
            "sales": replace(SALES, keys=keys),
        }
    )
    dynamo, sqs = boto3.client("dynamodb"), boto3.client("sqs")
    tables = {"gavel-unit": ("pk", "sk"), "gavel-unit-requests": ("id",), summaries.table("unit"): ("pk",)}
    for name, parts in tables.items():
        dynamo.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": p, "KeyType": k} for p, k in zip(parts, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": p, "AttributeType": "S"} for p in parts],
        )
    text = {
        "sale_id": "s-1",
        "buyer_id": "p-1",
        "seller_id": "p-2",
        "recipient": "Ann",
        "pickup": "Yard",
        "drift": "Ann",
    }
    sold = {name: {"S": value} for name, value in text.items()}
    sold |= {"pk": {"S": "SALE#s-1"}, "sk": {"S": "SALE"}, "entity": {"S": "sales"}, "_version": {"N": "7"}}
    sold |= {"buyer_pk": {"S": "BUYER#p-1"}, "buyer_sk": {"S": "s-1"}, "_by": {"S": "user:ann"}}
    dynamo.put_item(TableName="gavel-unit", Item=sold)
    for who in ("p-1", "p-2"):
        item = {
            "pk": {"S": f"PERSON#{who}"},
            "sk": {"S": "PERSON"},
            "entity": {"S": "persons"},
            "person_id": {"S": who},
        }
        dynamo.put_item(TableName="gavel-unit", Item=item)
        answer = {"id": {"S": f"r-{who}"}, "body": {"S": orjson.dumps({"person_id": who}).decode()}}
        dynamo.put_item(TableName="gavel-unit-requests", Item=answer)
        shown = {"pk": {"S": summaries.item_key(who)}, summaries.SUMMARY: {"S": "{}"}}
        dynamo.put_item(TableName=summaries.table("unit"), Item=shown)
    url = sqs.create_queue(QueueName="gavel-unit-inbound-dead-letters")["QueueUrl"]
    for who in ("p-1", "p-12"):
        sqs.send_message(QueueUrl=url, MessageBody=orjson.dumps({"who": who}).decode())

    done = erase_operational(lake, "unit", contracts, Needles("p-1", {}), "erased-0")

    assert (done.deleted, done.updated, done.receipts, done.summaries, done.dead_letters) == (1, 1, 1, 1, 1)
    assert dynamo.scan(TableName=summaries.table("unit"))["Items"][0]["pk"] == {"S": summaries.item_key("p-2")}
    left = {i["pk"]["S"]: i for i in dynamo.scan(TableName="gavel-unit")["Items"]}
    assert set(left) == {"PERSON#p-2", "SALE#s-1"}
    assert left["SALE#s-1"]["buyer_id"] == left["SALE#s-1"]["recipient"] == {"S": "erased-0"}
    assert left["SALE#s-1"]["buyer_pk"] == {"S": "BUYER#erased-0"}
    assert left["SALE#s-1"]["pickup"] == {"S": "Yard"}
    assert "drift" not in left["SALE#s-1"]
    assert int(left["SALE#s-1"]["_version"]["N"]) > 7
    assert left["SALE#s-1"]["_by"] == {"S": "function:erasure"}
    again = erase_operational(lake, "unit", contracts, Needles("p-1", {}), "erased-0")
    assert (again.deleted, again.updated, again.receipts, again.summaries) == (0, 0, 0, 0)
