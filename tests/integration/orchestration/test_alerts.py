"""What goes wrong reaches people: from a quarantined row to a message on the topic."""

from __future__ import annotations

import json
import re
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance

from assets import keys
from local.dagster.prepare import prepare
from orchestration.alerts.watches.objects import PREFIXES
from orchestration.definitions import build

from .conftest import Pipeline, customer

pytestmark = pytest.mark.stack


@pytest.fixture
def received(pipeline: Pipeline) -> Any:
    """A function that takes the messages that reached the topic since the test began."""
    sqs, sns = pipeline.laptop.aws.client("sqs"), pipeline.laptop.aws.client("sns")
    url = sqs.create_queue(QueueName=f"alerts-{id(pipeline)}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=pipeline.settings.alert_topic, Protocol="sqs", Endpoint=arn)

    def take() -> list[dict[str, str]]:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        return [json.loads(message["Body"]) for message in answer.get("Messages", ())]

    return take


def test_a_quarantined_row_is_reported_with_what_why_when_and_link(pipeline: Pipeline, received: Any) -> None:
    prepare(pipeline.settings)
    definitions = build(pipeline.settings)
    repository = definitions.get_repository_def()
    sensor = repository.get_sensor_def("alerts")
    resources = {name: definitions.resources[name] for name in ("lake", "alerts")}  # type: ignore[index]
    with DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None) -> str:
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=repository, resources=resources
            )
            return str(sensor.evaluate_tick(context).cursor)

        cursor = tick(None)
        received()  # what earlier tests left
        pipeline.land("customers", customer("c-alert", 1, kind="no such kind"))
        job = definitions.resolve_job_def("compaction")
        assert job.execute_in_process(
            instance=instance, asset_selection=[keys.compacted("customers"), keys.catalog("customers")]
        ).success
        tick(cursor)
    (message,) = (m for m in received() if "object(s) below quarantine/" in m["Message"])
    assert PREFIXES[0].meaning in message["Message"]
    assert re.search(r"customers \([1-9]", message["Message"])  # other tests' rows may have waited in landing
    assert all(f"{word}:" in message["Message"] for word in ("What", "Why", "Since", "How bad", "What to do", "Link"))
    assert "Ada Example" not in message["Message"]
