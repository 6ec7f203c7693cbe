"""The job `backfill`: its typed configuration, and a run of it from an export to the published table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.backfill import backfill_job
from assets.resources import ExportsResource, LakeResource
from assets.run_configuration import BackfillConfig
from contracts import Contracts, load_contracts
from lakehouse.publish.published import published
from lakehouse.recovery.wanted import Wanted
from tests.support.exports import Layout, item_line, write_export

CONTRACTS = Contracts({"customers": load_contracts()["customers"]})
CUSTOMER = {
    "pk": {"S": "CUSTOMER#c-1"},
    "sk": {"S": "CUSTOMER"},
    "entity": {"S": "customers"},
    "customer_id": {"S": "c-1"},
    "status": {"S": "active"},
    "registered_at": {"S": "2026-01-01T00:00:00Z"},
}


@pytest.fixture
def resource(tmp_path: Path) -> LakeResource:
    return LakeResource(environment="local", bucket="data", local_root=str(tmp_path), scratch=str(tmp_path / "scratch"))


def run(resource: LakeResource, config: dict[str, Any], **more: Any) -> dg.ExecuteInProcessResult:
    job = backfill_job(CONTRACTS, {})
    return job.execute_in_process(
        run_config={"ops": {"exports": {"config": config}}},
        resources={"lake": resource, "exports": ExportsResource(table="t")},
        **more,
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Wanted(name="r", limit=timedelta(hours=6))),
        (
            {"source": {"existing": {"export": "s3://b/p"}}, "entities": ["lots"], "wait_hours": 1},
            Wanted(address="s3://b/p", entities=("lots",), name="r", limit=timedelta(hours=1)),
        ),
        (
            {"source": {"incremental": {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T02:00:00+02:00"}}},
            Wanted(
                since=datetime(2026, 11, 20, tzinfo=UTC),
                until=datetime(2026, 11, 21, tzinfo=UTC),
                name="r",
                limit=timedelta(hours=6),
            ),
        ),
    ],
)
def test_what_is_configured_is_wanted(config: dict[str, Any], expected: Wanted) -> None:
    assert BackfillConfig(**config).wanted("r") == expected


def test_a_moment_without_an_offset_is_refused() -> None:
    config: dict[str, Any] = {"source": {"existing": {"export": "x", "taken_at": "2026-11-21"}}}
    with pytest.raises(ValueError, match="expected a moment with offset"):
        BackfillConfig(**config).wanted("r")


def test_an_export_comes_to_the_published_table_and_the_run_says_what_it_did(resource: LakeResource) -> None:
    write_export(
        resource.lake.store,
        Layout([[item_line(CUSTOMER)], [item_line({"pk": {"S": "a"}, "sk": {"S": "b"}})]], table="gavel-local"),
    )
    config = {"source": {"existing": {"export": "s3://data/exports"}}, "entities": ["customers"]}
    dry = run(resource, config | {"dry_run": True})
    assert "2 items in 2 files, of which 2 are to be landed" in dry.output_for_node("exports")[0]["would"]
    assert published(resource.lake, CONTRACTS["customers"]) is None
    done = run(resource, config)
    state = published(resource.lake, CONTRACTS["customers"])
    assert state is not None
    assert state.rows == 1
    (document,) = done.output_for_node("exports")
    assert (document["items"], document["unmapped"], document["entities"][0]["counts"]["applied"]) == (2, 1, 1)
    made = [e.asset_key for e in done.all_events if e.is_step_materialization]
    assert made == [dg.AssetKey(["catalog", "customers"])]


def test_a_run_that_is_started_again_finds_the_exports_of_the_first(
    resource: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []

    def brought(lake: object, contracts: object, source: object, wanted: Wanted, **more: Any) -> list[object]:
        names.append(wanted.name)
        return []

    monkeypatch.setattr("lakehouse.recovery.exporting.run_backfill", brought)
    first = run(resource, {})
    run(resource, {}, tags={"dagster/root_run_id": first.run_id})
    assert names == [first.run_id, first.run_id]
