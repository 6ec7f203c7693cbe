"""The jobs against the real engine on a lake in a folder: what a person starts from the UI does what it says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance

from assets import keys
from assets.resources import LakeResource
from assets.run_configuration import (
    Ingest,
    PublicationConfig,
    Rebuild,
    Replay,
    Requeue,
    RollBack,
    compaction_config,
)
from contracts import load_contracts
from contracts.change import CHANGE_COLUMNS
from lakehouse import api
from lakehouse.publish.published import published
from lakehouse.results import Published
from orchestration.definitions import build
from orchestration.settings import Settings

CUSTOMERS = load_contracts()["customers"]


def change(version: int, **fields: str) -> dict[str, str]:
    return {
        "customer_id": "c-1",
        "name": "Ada Example",
        "email": "ada@example.com",
        "kind": "private",
        "status": "active",
        "registered_at": "2026-11-20T10:00:00Z",
        "_event_id": str(version),
        "_op": "modify",
        "_version": str(version),
        "_seq": str(version).rjust(40, "0"),
        "_changed_at": "2026-11-21T10:00:00Z",
        "_contract": "1.0.0",
        **fields,
    }


class Workshop:
    """Jobs of the code location on a lake in a folder, with an instance in memory."""

    def __init__(self, settings: Settings, instance: DagsterInstance) -> None:
        self.instance = instance
        self.lake = LakeResource(environment="local", bucket="data", local_root=str(settings.home / "lake"))
        self.definitions = build(settings, {"lake": self.lake})

    def land(self, name: str, *rows: dict[str, str]) -> str:
        columns = (*CUSTOMERS.field_names, *CHANGE_COLUMNS)
        buffer = io.BytesIO()
        pq.write_table(pa.table({c: pa.array([r.get(c) for r in rows], pa.string()) for c in columns}), buffer)
        now = datetime.now(UTC)
        key = f"landing/customers/dt={now:%Y-%m-%d}/hh={now:%H}/{name}.parquet"
        self.lake.lake.store.write(key, buffer.getvalue())
        return key

    def compact(self, config: dg.RunConfig | None = None) -> dg.ExecuteInProcessResult:
        return self.materialize(keys.compacted("customers"), keys.catalog("customers"), config=config)

    def ask(self, work: Ingest | Replay | Rebuild | Requeue) -> dg.ExecuteInProcessResult:
        return self.compact(compaction_config(["customers"], work))

    def materialize(self, *assets: dg.AssetKey, config: dg.RunConfig | None = None) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=assets, run_config=config, raise_on_error=False
        )

    @property
    def published(self) -> Published:
        state = published(self.lake.lake, CUSTOMERS)
        assert state is not None
        return state

    def shown(self, key: dg.AssetKey) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.fixture
def workshop(settings: Settings) -> Iterator[Workshop]:
    with DagsterInstance.ephemeral() as instance:
        yield Workshop(settings, instance)


def test_compaction_publishes_what_landed_and_shows_it(workshop: Workshop) -> None:
    workshop.land("a", change(1), change(2, status="suspended"))
    assert workshop.compact().success
    assert (workshop.published.rows, workshop.published.changes) == (1, 2)
    compacted = workshop.shown(keys.compacted("customers"))
    assert (compacted["read"], compacted["applied"], compacted["superseded"]) == (2, 1, 1)
    assert "ada@example.com" not in compacted["preview"]
    assert workshop.shown(keys.catalog("customers"))["dagster/row_count"] == 1


def last_hours() -> Replay:
    now = datetime.now(UTC)
    return Replay(start=(now - timedelta(hours=2)).isoformat(), end=(now + timedelta(hours=1)).isoformat())


def test_replaying_a_range_leaves_the_same_rows(workshop: Workshop) -> None:
    workshop.land("a", change(1))
    workshop.compact()
    assert workshop.ask(last_hours()).success
    assert (workshop.published.rows, workshop.published.changes) == (1, 1)
    assert workshop.shown(keys.compacted("customers"))["duplicate"] == 1


@pytest.mark.parametrize("work", [last_hours(), Rebuild(), Requeue()], ids=lambda work: work.kind)
def test_what_a_person_asks_for_is_published_before_another_run_of_the_entity_can_begin(
    workshop: Workshop, work: Replay | Rebuild | Requeue
) -> None:
    """A run that waits for the pool begins from what is published, and would undo what is not."""
    workshop.land("a", change(1), change(2, customer_id="c-2", status="no such"))
    workshop.compact()
    workshop.land("b", change(3, customer_id="c-3"))
    config = compaction_config(["customers"], work)
    assert workshop.materialize(keys.compacted("customers"), config=config).success
    assert workshop.published.metadata_location == workshop.shown(keys.compacted("customers"))["metadata file"]


def test_a_rebuild_gives_the_same_rows(workshop: Workshop) -> None:
    workshop.land("a", change(1))
    workshop.compact()
    workshop.land("b", change(2))
    workshop.compact()
    assert workshop.ask(Rebuild()).success
    assert (workshop.published.rows, workshop.published.changes) == (1, 2)


def test_rolling_back_lets_readers_see_the_snapshot_before(workshop: Workshop) -> None:
    workshop.land("a", change(1))
    workshop.compact()
    before = workshop.published.snapshot_id
    workshop.land("b", change(3, customer_id="c-2"))
    workshop.compact()
    assert workshop.published.rows == 2
    work = PublicationConfig(work=RollBack())
    config = dg.RunConfig(ops={keys.catalog("customers").to_python_identifier(): work})
    assert workshop.materialize(keys.catalog("customers"), config=config).success
    assert (workshop.published.rows, workshop.published.snapshot_id) == (1, before)


def test_quarantined_rows_are_ingested_again(workshop: Workshop) -> None:
    key = workshop.land("a", change(1), change(3, customer_id="c-2", status="no such"))
    result = workshop.compact()
    assert result.success
    evaluations = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert evaluations["nothing_set_aside"] is False
    assert evaluations["keys_are_unique"] is True
    assert workshop.ask(Requeue(objects=[key])).success
    assert workshop.shown(keys.compacted("customers"))["read"] == 2


def test_the_nightly_maintenance_maintains_and_audits_the_whole_table(workshop: Workshop) -> None:
    workshop.land("a", change(1))
    workshop.compact()
    result = workshop.definitions.resolve_job_def("nightly").execute_in_process(
        instance=workshop.instance,
        asset_selection=[keys.maintenance("customers")],
    )
    outcomes = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert outcomes == {"same_rows": True, "shrank": True, "whole_table": True}
    shown = workshop.shown(keys.maintenance("customers"))
    assert shown["dagster/row_count"] == 1
    assert shown["files after"] == shown["files before"] > 0, "nothing is old enough to go"


def test_a_failure_of_one_entity_leaves_the_others_running(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.land("a", change(1))
    whole = api.compact

    def breaks_for_lots(lake: Any, contract: Any, *rest: Any, **more: Any) -> Any:
        if contract.name == "lots":
            raise OSError("the bucket does not answer")
        return whole(lake, contract, *rest, **more)

    monkeypatch.setattr(api, "compact", breaks_for_lots)
    result = workshop.definitions.resolve_job_def("compaction").execute_in_process(
        instance=workshop.instance,
        asset_selection=[key(e) for e in ("customers", "lots") for key in (keys.compacted, keys.catalog)],
        raise_on_error=False,
    )
    assert not result.success
    assert workshop.published.rows == 1
    assert published(workshop.lake.lake, load_contracts()["lots"]) is None


def test_settings_of_a_home_are_not_written_to(settings: Settings) -> None:
    before = sorted(Path(settings.home).rglob("*"))
    build(settings)
    assert sorted(Path(settings.home).rglob("*")) == before
