"""A drift from the hand that makes it to the end of its alert: the nightly job finds it, the product's own sensor of
alerts says it among all else that is wrong, `gavel ops drift --repair` takes it back, and the alert is resolved.

Bucket and Glue are moto's; what it has no queues, streams or tables for cannot be watched, as where much is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from moto import mock_aws

from assets.resources import LakeResource
from contracts import load_contracts
from contracts.health import KEY
from lakehouse.drift.who import Trail
from lakehouse.storage.lake import Lake
from lakehouse.table import glue_tables
from ops.drift import repairing
from ops.environment import Environment
from orchestration import drift
from orchestration.definitions import build
from orchestration.settings import Settings
from tests.support.alerting import Topic
from tests.support.manifests import small_manifest

REGION, BUCKET = "eu-west-1", "gavel-local-data-123456789012"
PERSON = "arn:aws:iam::123456789012:user/somebody"
SPOILED = "tables, gavel_landing_local"


class CloudTrail:
    """Says of every table that one person changed it."""

    def get_paginator(self, operation: str) -> CloudTrail:
        return self

    def paginate(self, **search: Any) -> list[dict[str, Any]]:
        record = json.dumps({"userIdentity": {"arn": PERSON}})
        return [{"Events": [{"EventTime": datetime(2026, 11, 21, 12, tzinfo=UTC), "CloudTrailEvent": record}]}]


class Night:
    """The nightly job and the ticks of the alerts, on the product's definitions."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        manifest = home / "dbt" / "local" / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps(small_manifest()))
        self.resource = LakeResource(environment="local", bucket=BUCKET, region=REGION)
        self.repository = build(Settings(home=home, bucket=BUCKET), {"lake": self.resource}).get_repository_def()
        self.instance, self.topic, self.cursor = instance, Topic([]), ""
        self.log: list[str] = []

    @property
    def lake(self) -> Lake:
        return self.resource.lake

    def look(self) -> None:
        job = self.repository.get_job(drift.DRIFT)
        assert job.execute_in_process(instance=self.instance).success

    def tick(self) -> None:
        """A tick as the daemon asks for it, with the cursor of the last; its log is kept."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor or None,
            repository_def=self.repository,
            resources={"alerts": self.topic, "lake": self.resource},
        )
        self.log.clear()
        keep: Any = self.log.append
        context.log.warning = keep  # type: ignore[method-assign]
        self.cursor = self.repository.get_sensor_def("alerts").evaluate_tick(context).cursor or ""

    def shown(self) -> list[str]:
        """The drift that staff see on the page of the pipeline's health."""
        found = json.loads(self.lake.store.read(KEY))["alerts"]
        return [one["what"] for one in found if one["kind"] == "environment-drifted"]


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(drift, "_trail", lambda lake: Trail(lambda region: CloudTrail()))
    with mock_aws(), dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        night = Night(tmp_path / "home", instance)
        boto3.client("s3", REGION).create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": REGION},  # type: ignore[typeddict-item]
        )
        glue, lake = night.lake.client("glue"), night.lake
        glue.create_database(DatabaseInput={"Name": lake.landing_database})
        for contract in load_contracts().of_origin("stream"):
            table = glue_tables.landing_table(contract, lake.store.uri(lake.landing_prefix(contract)))
            glue.create_table(DatabaseName=lake.landing_database, TableInput=table)
        yield night


def spoil(lake: Lake, name: str) -> None:
    """What a hand does to a table from which Firehose reads its columns."""
    glue = lake.client("glue")
    table = glue.get_table(DatabaseName=lake.landing_database, Name=name)["Table"]
    table["StorageDescriptor"]["Columns"][0]["Type"] = "int"
    kept = ("Name", "Description", "PartitionKeys", "TableType", "Parameters", "StorageDescriptor")
    glue.update_table(DatabaseName=lake.landing_database, TableInput={key: table[key] for key in kept})


def test_a_drift_opens_its_alert_by_itself_and_the_repair_ends_it(night: Night) -> None:
    night.look()
    night.tick()
    assert "environment-drifted" not in {part.kind for part in night.topic.parts()}

    for name in ("bids", "orders"):
        spoil(night.lake, name)
    night.look()
    night.tick()
    (part,) = [part for part in night.topic.parts() if part.kind == "environment-drifted"]
    assert part.what == f"The environment drifted: {SPOILED}"
    assert "gavel_landing_local.bids, column" in part.why
    assert "gavel_landing_local.orders, column" in part.why
    assert f"(by {PERSON}, 2026-11-21 12:00:00 UTC)" in part.why
    assert night.shown() == [part.what]
    assert any(line.startswith(part.what) for line in night.log), night.log
    night.tick()
    assert len([part for part in night.topic.parts() if part.kind == "environment-drifted"]) == 1, "said once"

    where = Environment("local", lambda service: boto3.client(service, REGION))  # type: ignore[call-overload]
    plan = repairing.Plan.of(repairing.looked(where, ""))
    assert repairing.carry_out(where, plan) == {}
    night.tick()
    assert night.shown() == [part.what], "until somebody has looked again"
    night.look()
    night.tick()
    assert f"Resolved: {part.what}" in [line.partition(". ")[0] for line in night.log]
    assert [one.kind for one in night.topic.parts("resolved")].count("environment-drifted") == 1
    assert night.shown() == []
