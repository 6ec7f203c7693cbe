"""The dbt project on Athena gives the rows that it gives locally: dbt-athena itself builds it on Trino, in increments
and in one full refresh, from the same published tables that the local target reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

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
        if arguments[0] == "run-operation":
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
        yield Sides(
            Warehouse(
                lambda *arguments: dbt(ENVIRONMENT, *arguments),
                lambda model, columns: by_trino(query, model, columns),
            ),
            Warehouse(
                lambda *arguments: dbt("local", *arguments),
                lambda model, columns: by_duckdb(lake, file, model, columns),
            ),
            athena_service,
            lambda number: publish_batch(lake, contracts, changes[number], number),
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
        tables = {t["Name"] for t in glue.get_tables(DatabaseName=f"gavel_{layer}_{ENVIRONMENT}")["TableList"]}
        assert tables == {m.name for m in built if m.config.schema == layer}
    assert not [*lake.store.list("marts-increments/")], "what was merged is removed"


@pytest.mark.timeout(3600)
def test_maintenance_changes_no_row(sides: Sides, built: list[Any]) -> None:
    """Every incremental table is optimized and vacuumed, and reads as before."""
    incremental = [m for m in built if m.config.materialized == "incremental"]
    before = {m.name: sides.athena.rows(m, comparable(m)) for m in incremental}
    sides.service.executions.clear()
    sides.athena.dbt("run-operation", "maintain_tables")
    names = [f"gavel_marts_{ENVIRONMENT}.{m.name}" for m in incremental]
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
