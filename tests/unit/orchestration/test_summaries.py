"""Summaries of parties in Dagster: part of the graph where they are switched on, and written after their report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from assets.consumers import consumers
from assets.resources import LakeResource, WarehouseResource
from assets.summaries import SUMMARIES, summary_assets
from lakehouse.storage.lake import Lake
from orchestration.definitions import build
from orchestration.jobs import MARTS, REPORTS
from orchestration.settings import Settings, SettingsError
from tests.support.manifests import small_manifest, with_summaries
from tests.support.summaries import ENVIRONMENT, emulated, turnover, write


@pytest.mark.parametrize(("text", "on"), [("on", True), ("off", False), ("", False)])
def test_they_are_written_where_they_are_switched_on(text: str, on: bool) -> None:
    assert Settings.from_environment({"GAVEL_SUMMARIES": text}).summaries is on
    assert Settings.from_environment({}).summaries is False


def test_another_word_is_refused() -> None:
    with pytest.raises(SettingsError, match="GAVEL_SUMMARIES: expected on or off, found 'yes'"):
        Settings.from_environment({"GAVEL_SUMMARIES": "yes"})


def test_they_follow_their_report_in_the_job_that_builds_it(settings: Settings) -> None:
    manifest = settings.home / "dbt" / "local" / "manifest.json"
    manifest.write_text(json.dumps(with_summaries(small_manifest())))
    repository = build(replace(settings, summaries=True)).get_repository_def()
    assert repository.asset_graph.get(SUMMARIES).parent_keys == {dg.AssetKey(["reports", "rpt_party_summaries"])}
    assert SUMMARIES in repository.get_job(REPORTS).asset_layer.executable_asset_keys
    assert SUMMARIES not in repository.get_job(MARTS).asset_layer.executable_asset_keys
    without = build(settings).get_repository_def().asset_graph
    assert not without.has(SUMMARIES)
    assert without.has(dg.AssetKey(["consumers", "party_summaries"])), "whoever writes them is somebody else"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with emulated(tmp_path / "lake") as found:
        yield found


def report(database: Path, *rows: tuple[str, str, str, str]) -> None:
    """A warehouse with rows of the report: party, currency, turnover, data time."""
    columns = ", ".join(
        f"NULL::{ {'integer': 'BIGINT', 'timestamp': 'TIMESTAMP'}.get(kind, 'DECIMAL(38, 2)') } AS {name}"
        for name, kind in (
            ("first_sale_at", "timestamp"), ("last_sale_at", "timestamp"), ("sales", "integer"),
            ("recent_net_sales", "decimal"), ("open_invoices", "integer"), ("open_amount", "decimal"),
            ("overdue_amount", "decimal"),
        )
    )  # fmt: skip
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA reports")
        connection.execute(
            f"CREATE TABLE reports.rpt_party_summaries AS SELECT p AS party_id, 'buyer' AS role, c AS currency, "
            f"'new' AS party_group, {columns}, n::DECIMAL(38, 2) AS net_sales, t::TIMESTAMP AS data_time "
            "FROM (VALUES ('', '', '0', NULL)) AS v(p, c, n, t) WHERE false"
        )
        for row in rows:
            connection.execute(
                "INSERT INTO reports.rpt_party_summaries (party_id, role, currency, net_sales, data_time) "
                "VALUES (?, 'buyer', ?, ?, ?)",
                row,
            )


def materialized(lake: Lake, home: Path) -> dict[str, Any]:
    """What the asset shows of a run of it."""
    manifest = with_summaries(small_manifest())
    node = manifest["nodes"]["model.gavel.rpt_party_summaries"]
    node |= {"schema": "reports", "alias": "rpt_party_summaries"}
    resource = LakeResource(environment=ENVIRONMENT, bucket=lake.bucket, local_root=str(lake.local_root))
    done = dg.materialize(
        summary_assets(consumers(manifest)["party_summaries"], manifest, ENVIRONMENT),
        resources={"lake": resource, "warehouse": WarehouseResource(target="local", home=str(home))},
    )
    (event,) = done.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_asset_writes_what_the_file_says_and_shows_what_it_did(lake: Lake, tmp_path: Path) -> None:
    report(tmp_path / "warehouse.duckdb", ("c-1", "EUR", "12.50", "2026-11-21 12:01:00"))
    shown = materialized(lake, tmp_path)
    assert (shown["dagster/row_count"], shown["written"], shown["removed"]) == (1, 1, 0)
    assert turnover() == {"c-1": [("buyer", "EUR", "12.50")]}
    assert materialized(lake, tmp_path)["written"] == 0


def test_a_run_that_was_overtaken_says_so_and_is_not_red(lake: Lake, tmp_path: Path) -> None:
    newer = {"party_id": "c-1", "role": "buyer", "currency": "EUR", "net_sales": Decimal(1)}
    write(lake, [newer], 5)
    report(tmp_path / "warehouse.duckdb", ("c-1", "EUR", "12.50", "2026-11-21 12:01:00"))
    assert "another run" in materialized(lake, tmp_path)["outcome"]
    assert turnover() == {"c-1": [("buyer", "EUR", "1.00")]}
