"""The dbt project on Athena gives the rows that it gives locally: dbt-athena itself builds it on Trino, in increments
and in one full refresh, from the same published tables that the local target reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml

from assets.dbt import warehouse_assets
from assets.manifest import model_keys
from assets.resources import LakeResource, WarehouseResource
from contracts import load_contracts
from contracts.dbt import PROJECT
from lakehouse.storage.lake import Lake
from local.aws import CREDENTIALS
from tests.conformance.support.athena_ddl import created_as
from tests.conformance.support.athena_service import AthenaService
from tests.conformance.support.auction_house import BATCHES, batches, drop_countries, publish_batch
from tests.conformance.support.glue_front import serving_glue
from tests.conformance.support.trino_client import TrinoClient
from tests.conformance.support.trino_server import Trino
from warehouse import moving
from warehouse.journal import read_head
from warehouse.manifest import is_table
from warehouse.marts import Mart, marts_of, models_of
from warehouse.passed import as_setting
from warehouse.project import DbtFiles, prepare, prepared_manifest
from warehouse.publication import read_by
from warehouse.sources import open_lake

ENVIRONMENT = "dev"
BUCKET = "gavel-dev"
CHANGES = 1500

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Warehouse:
    """One of the two targets: builds on it, and what its models hold."""

    dbt: Callable[..., list[Any]]
    rows: Callable[[Any, list[str]], list[Row]]


@dataclass(frozen=True)
class Sides:
    """The same auction house on both engines: the models, by their address in the project's lineage."""

    athena: Warehouse
    local: Warehouse
    service: AthenaService
    publish: Callable[[int], None]
    manifest: Path
    published: list[int] = field(default_factory=list)

    def publish_next(self) -> None:
        """Land and publish the next batch."""
        self.publish(len(self.published))
        self.published.append(len(self.published))

    def assert_same(self, models: list[Any]) -> None:
        """Every row of every model is the same on both."""
        assert {m.config.schema for m in models} >= {"staging", "marts", "reports"}
        differing = []
        for model in models:
            columns = comparable(model)
            athena, local = self.athena.rows(model, columns), self.local.rows(model, columns)
            if athena != local:
                only = [sorted(set(one) - set(other), key=repr) for one, other in ((athena, local), (local, athena))]
                differing.append(
                    f"{model.name} ({', '.join(columns)}): {len(only[0])} rows of Athena's are not DuckDB's, such as "
                    f"{only[0][:1]}; {len(only[1])} the other way, such as {only[1][:1]}"
                )
        assert not differing, "\n".join(differing)


def comparable(model: Any) -> list[str]:
    """The columns of a model that both engines show alike: all but nested ones, which marts do not have."""
    nested = ("list", "map", "struct", "array", "row")
    types = {c.name: str(c.data_type or c.config.meta.get("type") or "") for c in model.columns.values()}
    return [name for name, kind in types.items() if not kind.lower().startswith(nested)]


@pytest.fixture(scope="module")
def lake(trino: Trino, credentials: None) -> Lake:
    """An empty lake by the names that the dbt project expects."""
    lake = Lake.of_environment(ENVIRONMENT, BUCKET, CREDENTIALS["AWS_REGION"], trino.aws_endpoint)
    lake.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": lake.region})
    return lake


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's profile, only that it asks more often whether a query has ended."""
    folder = tmp_path_factory.mktemp("profiles")
    text = (PROJECT / "profiles.yml").read_text("utf-8")
    document = yaml.safe_load(text)
    document["gavel"]["outputs"][ENVIRONMENT]["poll_interval"] = 0.05
    (folder / "profiles.yml").write_text(yaml.safe_dump(document), "utf-8")
    return folder


@pytest.fixture(scope="module")
def sides(
    lake: Lake,
    athena_service: AthenaService,
    query: TrinoClient,
    profiles: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sides]:
    """Both targets before the first batch."""
    folder = tmp_path_factory.mktemp("marts")
    file = folder / "warehouse.duckdb"
    contracts = load_contracts()
    changes = batches(contracts, CHANGES, seed=5)
    drop_countries(lake)

    def built(*arguments: str) -> list[Any]:
        """A build as the assets make it: apart, and published when all of it has passed."""
        manifest = json.loads((folder / ENVIRONMENT / "manifest.json").read_bytes())
        marts = marts_of(manifest, models_of(manifest))
        moving.reset(lake, marts)
        models = dbt(ENVIRONMENT, *arguments)
        made = [m.unique_id for m in models if m.config.materialized != "ephemeral"]
        if made:
            moving.publish(lake, marts, marts_of(manifest, made))
        return models

    def dbt(target: str, *arguments: str) -> list[Any]:
        from dbt.cli.main import dbtRunner

        outcome = dbtRunner().invoke(
            [
                *("--quiet", *arguments, "--target", target),
                *("--project-dir", str(PROJECT), "--profiles-dir", str(profiles)),
                *("--target-path", str(folder / target), "--log-path", str(folder / target)),
            ]
        )
        if outcome.exception is not None:
            raise outcome.exception
        if arguments[0] in ("run-operation", "parse"):
            assert outcome.success
            return []
        failed = [f"{r.node.name}: {r.message}" for r in outcome.result.results if r.status in ("error", "fail")]
        assert not failed, "\n".join(failed)
        return [r.node for r in outcome.result.results if r.node.resource_type == "model"]

    assert lake.endpoint
    with pytest.MonkeyPatch.context() as patch, serving_glue(lake.client("glue"), lake.endpoint) as glue:
        for name, value in {
            "GAVEL_ENV": ENVIRONMENT,
            "GAVEL_BUCKET": BUCKET,
            "GAVEL_WAREHOUSE": str(file),
            "AWS_ENDPOINT_URL": lake.endpoint,
            "AWS_ENDPOINT_URL_GLUE": glue,
            "AWS_ENDPOINT_URL_ATHENA": athena_service.endpoint,
        }.items():
            patch.setenv(name, value)
        patch.chdir(PROJECT)
        dbt(ENVIRONMENT, "parse")
        yield Sides(
            Warehouse(
                built,
                lambda model, columns: by_trino(query, model, columns),
            ),
            Warehouse(
                lambda *arguments: dbt("local", *arguments),
                lambda model, columns: by_duckdb(lake, file, model, columns),
            ),
            athena_service,
            lambda number: publish_batch(lake, contracts, changes[number], number),
            folder / ENVIRONMENT / "manifest.json",
        )


def by_trino(query: TrinoClient, model: Any, columns: list[str]) -> list[Row]:
    schema = f"gavel_{model.config.schema}_{ENVIRONMENT}"
    answer = query.run(f'select {", ".join(columns)} from "{schema}"."{model.name}"')
    return ordered(answer.rows)


def by_duckdb(lake: Lake, file: Path, model: Any, columns: list[str]) -> list[Row]:
    with duckdb.connect(str(file)) as connection:
        open_lake(connection, lake)
        answer = connection.execute(f'select {", ".join(columns)} from {model.config.schema}."{model.name}"')
        return ordered(answer.fetchall())


def ordered(rows: Any) -> list[Row]:
    """Rows as text, in the order of what they hold."""
    return sorted((tuple(shown(value) for value in row) for row in rows), key=repr)


def shown(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S.%f}"
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case float():
            return f"{value:.9g}"  # the last digits depend on the order of adding up
        case _:
            return str(value)


@pytest.mark.timeout(3600)
def test_increments_and_a_full_build_give_the_same_rows_on_both_engines(sides: Sides) -> None:
    """After each batch the increments are the same; after a full refresh everything is, and every data test passes."""
    for _ in range(BATCHES):
        sides.publish_next()
        models = sides.athena.dbt("run")
        sides.local.dbt("run")
        sides.assert_same(models)
    sides.athena.dbt("build", "--full-refresh", "--exclude-resource-type", "unit_test")
    sides.local.dbt("run", "--full-refresh")
    sides.assert_same(models)


@pytest.fixture
def built(sides: Sides) -> list[Any]:
    """The models, all of them built on Athena; nothing but their own statements is shown."""
    if not sides.published:
        sides.publish_next()
    sides.service.executions.clear()
    return sides.athena.dbt("run")


@pytest.mark.timeout(3600)
def test_tables_lie_in_places_of_their_own_and_nothing_temporary_stays(
    sides: Sides, built: list[Any], lake: Lake
) -> None:
    """Each build of a table has its own folder, increments lie apart, and the catalog holds the models alone."""
    created = [sql for sql in sides.service.statements if created_as(sql)]
    locations = [re.findall(r"\blocation='([^']+)'", sql)[0] for sql in created]
    assert len(locations) == len(set(locations)) >= len([m for m in built if m.config.materialized == "table"])
    for sql, location in zip(created, locations, strict=True):
        temporary = re.search(r"__(dbt_tmp|changed)\W", sql.partition(" with ")[0])
        folder = "marts-increments" if temporary else "marts"
        assert location.startswith(f"s3://{BUCKET}/{folder}/gavel_"), sql
    glue = lake.client("glue")
    for layer in ("marts", "reports"):
        for database in (f"gavel_{layer}_{ENVIRONMENT}", f"gavel_work_{layer}_{ENVIRONMENT}"):
            tables = {t["Name"] for t in glue.get_tables(DatabaseName=database)["TableList"]}
            assert tables == {m.name for m in built if m.config.schema == layer}
    assert not [*lake.store.list("marts-increments/")], "what was merged is removed"


@pytest.mark.timeout(3600)
def test_what_tests_look_at_once_they_have_passed_is_understood(
    sides: Sides, built: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are new, some are, some were published while the build went on, none is: sound marts pass."""
    manifest = json.loads(sides.manifest.read_bytes())
    tests = [i for i in manifest["nodes"] if i.startswith("test.")]
    entities = {source["name"].removesuffix("_changes") for source in manifest["sources"].values()}
    for commits in ((0, 10**6), (1, 10**6), (0, 1), (1, 1)):
        for name, value in as_setting(dict.fromkeys(tests, dict.fromkeys(entities, commits))).items():
            monkeypatch.setenv(name, value)
        sides.service.executions.clear()
        paths = ("path:models/marts", "path:tests/reconciliation")
        sides.athena.dbt("test", "--exclude-resource-type", "unit_test", "--select", *paths)
        assert f"_batch <= {commits[1]}" in "\n".join(sides.service.statements)


@pytest.mark.timeout(3600)
def test_maintenance_changes_no_row(sides: Sides, built: list[Any]) -> None:
    """Every incremental table is optimized and vacuumed, and reads as before."""
    incremental = [m for m in built if m.config.materialized == "incremental"]
    before = {m.name: sides.athena.rows(m, comparable(m)) for m in incremental}
    sides.service.executions.clear()
    for step in ("optimize", "vacuum"):
        sides.athena.dbt("run-operation", "maintain_tables", "--args", json.dumps({"step": step}))
    names = [f"gavel_work_marts_{ENVIRONMENT}.{m.name}" for m in incremental]
    assert sorted(sides.service.statements) == sorted(
        [f"optimize {name} rewrite data using bin_pack" for name in names] + [f"vacuum {name}" for name in names]
    )
    assert {e.state for e in sides.service.executions.values()} == {"SUCCEEDED"}
    assert {m.name: sides.athena.rows(m, comparable(m)) for m in incremental} == before


@pytest.mark.timeout(3600)
def test_a_column_that_a_model_gains_is_added_to_its_table(sides: Sides, built: list[Any], query: TrinoClient) -> None:
    """Without a full refresh: it is computed for the rows of before, too."""
    (bids,) = [m for m in built if m.name == "fct_bids"]
    before = sides.athena.rows(bids, comparable(bids))
    query.run(f'ALTER TABLE "gavel_marts_{ENVIRONMENT}"."fct_bids" DROP COLUMN kind')
    sides.athena.dbt("run", "--select", "fct_bids")
    assert sides.athena.rows(bids, comparable(bids)) == before
    assert (None,) not in sides.athena.rows(bids, ["kind"])


@pytest.mark.timeout(3600)
def test_readers_keep_their_marts_until_a_build_has_passed_its_tests(
    sides: Sides, lake: Lake, query: TrinoClient, tmp_path: Path
) -> None:
    """By the assets themselves: of a build with a test that fails nothing moves, of the good one after it all does."""
    if not sides.published:
        sides.publish_next()
    settings = {"GAVEL_ENV": ENVIRONMENT, "GAVEL_BUCKET": BUCKET}
    files = DbtFiles(ENVIRONMENT, tmp_path, settings)
    prepare(files)
    manifest = prepared_manifest(files)
    selected = sorted(read_by(manifest, ["model.gavel.fct_shipments", "model.gavel.dim_country"]))
    marts = [
        Mart(n["schema"].replace("gavel_work_", "gavel_"), n["alias"])
        for i in selected
        if (n := manifest["nodes"].get(i)) and is_table(n)
    ]
    assert {"fct_shipments", "dim_country"} <= {mart.name for mart in marts}

    def build() -> bool:
        keys = model_keys(manifest)
        return dg.materialize(
            [warehouse_assets(files, manifest, load_contracts())],
            selection=[keys[i] for i in selected if i in keys],
            resources={
                "lake": LakeResource(
                    environment=ENVIRONMENT, bucket=BUCKET, region=lake.region, endpoint=lake.endpoint
                ),
                "warehouse": WarehouseResource(target=ENVIRONMENT, home=str(tmp_path)),
            },
            raise_on_error=False,
        ).success

    def readers() -> dict[str, Any]:
        found = {}
        for mart in marts:
            entry = lake.entries.get(mart.database, mart.name)
            rows = query.run(f'select count(*) from "{mart.database}"."{mart.name}"').rows
            found[mart.name] = (entry and entry.metadata_location, rows)
        return found

    def moved_by() -> set[str]:
        return {e.parameters["gavel.build"] for m in marts if (e := lake.entries.get(m.database, m.name))}

    assert build()
    before, first = readers(), read_head(lake).published
    assert moved_by() == {first}
    sides.publish_next()

    def spoil(sql: str) -> None:  # right before the test that finds it
        if "gavel_quality" in sql and "primary_key_fct_shipments" in sql and not spoiled:
            spoiled.append(sql)
            table = f'"gavel_work_marts_{ENVIRONMENT}"."fct_shipments"'
            query.run(f"insert into {table} select * from {table}")

    spoiled: list[str] = []
    sides.service.before = spoil
    assert not build()
    sides.service.before = lambda sql: None
    assert spoiled
    assert readers() == before
    assert (
        query.run(f'select count(*) from "gavel_work_marts_{ENVIRONMENT}"."fct_shipments"').rows
        != (before["fct_shipments"][1])
    ), "the build itself went on"

    assert build()
    after = readers()
    assert after["fct_shipments"] != before["fct_shipments"]
    assert moved_by() == {read_head(lake).published}, "also what had no news"
    moving.roll_back(lake)
    assert readers() == before
