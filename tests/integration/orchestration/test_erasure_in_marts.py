"""A person is erased: marts, the report page, summaries and what Dagster keeps of builds follow. dbt builds them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import duckdb
import pytest

from assets.dbt import warehouse_assets
from assets.erasure import FINISH, erasure_config, erasure_jobs, forget_in_marts
from assets.reports import PAGE_FILE
from assets.resources import LakeResource, WarehouseResource
from contracts import Contract, Contracts, load_contracts, summaries
from contracts.change import CHANGE_COLUMNS
from lakehouse.api import compact, publish
from lakehouse.erasure import proof, requests, run
from lakehouse.intake.landing import Scope
from lakehouse.storage.lake import Lake
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from reporting import render
from tests.support.lakes import Landing
from tests.support.projects import copy_of_project
from tests.support.summaries import create, emulated, items
from warehouse import project as on_disk
from warehouse.forgetting import StillInMarts
from warehouse.summaries import bring_summaries

MODELS = ("dim_customer", "dim_address", "fct_bids", "fct_orders", "rpt_party_summaries", "rpt_profit_by_party")
WHO, NAMESAKE, BUYER = "c-erased-77", "c-erased-778", "c-other-5"
ROWS: Mapping[str, list[dict[str, str]]] = {
    "customers": [
        {"customer_id": who, "name": "Ada Example", "email": f"{who}@mail.example", "status": "active"}
        | {"registered_at": "2026-01-02T10:00:00Z", "country_code": "DE", "kind": "private"}
        for who in (WHO, NAMESAKE, BUYER)
    ],
    "lots": [
        {"lot_id": f"lot-of-{who}"[:8] + str(n), "seller_id": who, "title": "A vase", "category": "Glass"}
        | {"currency": "EUR", "status": "sold", "listed_at": "2026-01-03T10:00:00Z"}
        for n, who in enumerate((WHO, NAMESAKE))
    ],
    "orders": [
        {"order_id": f"o-{n}", "buyer_id": buyer, "seller_id": seller, "currency": "EUR", "hammer_price": "100.00"}
        | {"status": "completed", "placed_at": f"2026-02-0{1 + n}T10:00:00Z", "lot_id": f"lot-of-{n}"}
        for n, (buyer, seller) in enumerate([(BUYER, WHO), (BUYER, NAMESAKE), (WHO, NAMESAKE)])
    ],
    "shipping_addresses": [
        {"address_id": f"a-{n}", "customer_id": who, "country_code": "DE", "recipient": "Ada Example"}
        | {"street": f"{n} Long Road", "postal_code": "10115", "city": "Berlin", "status": "active"}
        for n, who in enumerate((WHO, NAMESAKE))
    ],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dbt_program: Path) -> Iterator[Path]:
    """A laptop's folder, with a lake in which all is published, and a table of summaries."""
    project = copy_of_project(tmp_path / "dbt_project", *MODELS, tests=False)
    monkeypatch.setattr(on_disk, "PROJECT", project)
    monkeypatch.setattr(on_disk, "DBT", dbt_program)
    monkeypatch.setenv("GAVEL_LAKE_ROOT", str(tmp_path / "lake"))
    lake, contracts = resource(tmp_path).lake, load_contracts()
    for entity, rows in ROWS.items():
        land(lake, contracts[entity], rows)
    with emulated(tmp_path / "unused"):
        create(summaries.table("local"))
        yield tmp_path


def resource(home: Path) -> LakeResource:
    return LakeResource(environment="local", bucket="b", local_root=str(home / "lake"))


def land(lake: Lake, contract: Contract, rows: list[dict[str, str]]) -> None:
    stamps = dict.fromkeys(CHANGE_COLUMNS) | {
        "_op": "modify",
        "_version": "1",
        "_seq": "1".rjust(40, "0"),
        "_changed_at": "2026-01-02T10:00:00Z",
        "_contract": "1.0.0",
    }
    Landing(lake, contract).land(
        [{**stamps, "_event_id": f"{contract.name}-{n}", **row} for n, row in enumerate(rows)], lake.now()
    )
    result = compact(lake, contract, Scope.everything())
    assert result.rows == len(rows), result
    publish(lake, contract)


def built(home: Path, instance: dg.DagsterInstance) -> None:
    """Marts and reports by a run, and the page of what there is."""
    files = dbt_files(Settings(home=home, bucket="b", endpoint_url="http://127.0.0.1:1"))
    if not on_disk.is_prepared(files):
        on_disk.prepare(files)
    manifest = on_disk.prepared_manifest(files)
    result = dg.materialize(
        [warehouse_assets(files, manifest, load_contracts())],
        resources={"lake": resource(home), "warehouse": WarehouseResource(target="local", home=str(home))},
        instance=instance,
    )
    assert result.success
    bring_summaries(resource(home).lake, "local", manifest, home / "warehouse.duckdb", print)
    render(home / "warehouse.duckdb", home / "reports" / PAGE_FILE)


def rows(home: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def first_phase(lake: Lake, contracts: Contracts) -> requests.Request:
    request = requests.request_erasure(lake, WHO, timedelta(0))
    for contract in contracts.values():
        if contract.erasure is not None:
            run.erase_entity(lake, contract, request)
    return run.erase_rest(lake, contracts, request)


@pytest.mark.timeout(1800)
def test_marts_page_and_records_of_runs_forget_who_was_erased_and_nobody_else(home: Path) -> None:
    contracts, lakes = load_contracts(), resource(home)
    warehouse = WarehouseResource(target="local", home=str(home))
    (home / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        built(home, instance)
        assert (WHO,) in rows(home, "select customer_id from marts.dim_customer")
        assert {WHO, NAMESAKE, BUYER} == items(summaries.table("local")).keys()
        others = rows(home, f"select * from marts.dim_customer where customer_id <> '{WHO}' order by all")
        request = first_phase(lakes.lake, contracts)
        with pytest.raises(StillInMarts, match=r"marts\.dim_customer"):
            forget_in_marts(lakes, warehouse, contracts, request)

        built(home, instance)
        left = {"pk": {"S": summaries.item_key(WHO)}, summaries.SUMMARY: {"S": "{}"}}  # by a run of before
        boto3.client("dynamodb").put_item(TableName=summaries.table("local"), Item=left)

        definitions = dg.Definitions(jobs=erasure_jobs(contracts), resources={"lake": lakes, "warehouse": warehouse})
        job = definitions.resolve_job_def(FINISH)
        config = erasure_config(contracts, FINISH, request.id)
        assert job.execute_in_process(run_config=config, instance=instance).success

    assert rows(home, "select * from marts.dim_customer order by all") == others
    assert [s for (s,) in rows(home, "select seller_id from marts.fct_orders order by order_id")] == [
        request.pseudonym,
        NAMESAKE,
        NAMESAKE,
    ]
    assert {a for (a,) in rows(home, "select customer_id from marts.dim_address")} == {request.pseudonym, NAMESAKE}
    signed = json.loads(lakes.lake.store.read(request.proof))
    assert proof.verify(lakes.lake, signed)
    part = signed["parts"]["marts"]
    assert {request.pseudonym, NAMESAKE, BUYER} == items(summaries.table("local")).keys()
    assert part["summaries_deleted"] == 1
    assert part["file"] == "warehouse.duckdb"
    assert part["before"] != part["after"]
    assert (home / "reports" / PAGE_FILE).exists()
    kept = {p: p.read_bytes() for p in home.rglob("*") if p.is_file() and "dbt_project" not in p.parts}
    assert {path.name for path in kept} >= {"warehouse.duckdb", PAGE_FILE, os.path.basename(request.proof)}
    assert [str(path) for path, content in kept.items() if stands_in(content, WHO.encode())] == []


def stands_in(content: bytes, who: bytes) -> bool:
    """Whether the identity is there by itself, not as the beginning of the namesake's."""
    return who in content.replace(NAMESAKE.encode(), b"")
