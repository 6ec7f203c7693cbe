"""Hourly builds by dbt itself: they build and test what has news and nothing else, and say so of the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from assets import dbt
from assets.resources import LakeResource, WarehouseResource
from assets.unchanged import LEFT_AS_IT_WAS, ONLY_NEWS
from contracts import load_contracts
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from tests.support.projects import copy_of_project
from tests.support.slices import Slice
from warehouse import project as on_disk

LOTS, PAYMENTS, BIDS = (dg.AssetKey(["marts", name]) for name in ("dim_lot", "fct_payments", "fct_bids"))
FEW = "{{ config(severity='warn') }} select count(*) as n from {{ ref('fct_payments') }} having count(*) > 1"


class House:
    """A small project, the tables that it reads, and a Dagster that remembers."""

    def __init__(self, project: Path, home: Path, instance: dg.DagsterInstance) -> None:
        self.project, self.home, self.instance, self.data = project, home, instance, Slice(load_contracts())
        self.write()

    def write(self) -> None:
        """Publish the tables that have other rows."""
        written, published = self.data.write(self.home / "written"), self.home / "slice"
        published.mkdir(exist_ok=True)
        for path in written.iterdir():
            there = published / path.name
            if not there.exists() or there.read_bytes() != path.read_bytes():
                path.replace(there)
        shutil.rmtree(written)

    def pay(self, number: int) -> None:
        """One more payment."""
        paid = {"payment_id": f"p-{number}", "order_id": "o", "kind": "capture", "method": "card", "currency": "EUR"}
        self.data.put("payments", number, amount="1.00", status="settled", created_at="2026-02-01T10:00:00", **paid)
        self.write()

    def bid(self, number: int) -> None:
        """One more lot with a bid."""
        when = f"2026-02-{number:02d}T10:00:00"
        lot = {"lot_id": f"lot-{number}", "seller_id": "s", "title": "A coin", "category": "Coins", "currency": "EUR"}
        lot |= {"status": "sold", "listed_at": when}
        self.data.put("lots", number, **lot)
        self.data.change("lots", number, number, **lot)
        bid = {"bid_id": f"bid-{number}", "lot_id": f"lot-{number}", "bidder_id": "b", "currency": "EUR"}
        self.data.put("bids", number, amount="1.00", status="accepted", placed_at=when, **bid)
        self.write()

    def build(self, *, hourly: bool = True, only: Sequence[dg.AssetKey] | None = None) -> dg.ExecuteInProcessResult:
        """A build of the project as it is: of what has news, or of everything; of these assets `only`."""
        files = dbt_files(Settings(home=self.home, endpoint_url="http://127.0.0.1:1"))
        if not on_disk.is_prepared(files):
            on_disk.prepare(files)
        manifest = on_disk.prepared_manifest(files)
        return dg.materialize(
            [dbt.warehouse_assets(files, manifest, load_contracts())],
            instance=self.instance,
            selection=only,
            tags={ONLY_NEWS: "true"} if hourly else {},
            resources={
                "lake": LakeResource(environment="local", bucket="b", local_root=str(self.home / "lake")),
                "warehouse": WarehouseResource(target="local", home=str(self.home)),
            },
            raise_on_error=False,
        )

    def statement(self, test: str) -> str:
        """The SQL of a test in the last build."""
        files = dbt_files(Settings(home=self.home))
        results = dbt.read_results(files.loaded(on_disk.prepared_manifest(files)).results)
        return str(results[f"test.gavel.{test}"]["compiled_code"])

    def rows(self) -> dict[str, int]:
        """How many rows the marts have."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as reader:
            names = [
                n
                for (n,) in reader.execute(
                    "select table_name from duckdb_tables() where schema_name = 'marts'"
                ).fetchall()
            ]
            return {n: reader.execute(f"select count(*) from marts.{n}").fetchall()[0][0] for n in names}


def built(result: dg.ExecuteInProcessResult) -> set[str]:
    """The marts that were built, and not left as they were."""
    made = [e.step_materialization_data.materialization for e in result.get_asset_materialization_events()]
    assert made
    return {m.asset_key.path[-1] for m in made if LEFT_AS_IT_WAS not in m.metadata and m.asset_key.path[0] == "marts"}


def checks(result: dg.ExecuteInProcessResult, *, ran: bool) -> dict[str, bool]:
    """The outcomes of the tests that ran, or of those that were left."""
    found = result.get_asset_check_evaluations()
    return {c.check_name: c.passed for c in found if (LEFT_AS_IT_WAS not in c.metadata) is ran}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dbt_program: Path) -> Iterator[House]:
    project = copy_of_project(tmp_path / "dbt_project", "fct_bids", "fct_payments")
    (project / "tests" / "few_payments.sql").write_text(FEW)
    monkeypatch.setattr(on_disk, "PROJECT", project)
    monkeypatch.setattr(on_disk, "DBT", dbt_program)
    monkeypatch.setenv("GAVEL_SLICE", str(tmp_path / "slice"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(project, tmp_path, instance)


def test_hourly_builds_do_what_has_news_and_say_what_they_left(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """News of payments are no news of bids; a warning stays while its rows do; without news dbt does not run."""
    house.bid(1)
    house.pay(1)
    house.pay(2)
    first = house.build()
    assert first.success
    everything = built(first)
    assert {"dim_lot", "fct_bids", "fct_payments"} <= everything
    assert checks(first, ran=True)["few_payments"] is False

    house.pay(3)
    news = house.build()
    assert news.success, [str(e.step_failure_data.error)[:2000] for e in news.get_step_failure_events()]
    assert (news.success, built(news)) == (True, {"fct_payments"})
    assert checks(news, ran=True)["few_payments"] is False
    assert checks(news, ran=False), "those of bids"
    assert {*checks(news, ran=True), *checks(news, ran=False)} == {*checks(first, ran=True)}
    assert house.rows()["fct_payments"] == 3

    with monkeypatch.context() as patch:
        patch.setattr(on_disk, "DBT", Path("/no/such/program"))
        quiet = house.build()
    assert (quiet.success, built(quiet)) == (True, set())
    assert checks(quiet, ran=True) == {}
    assert checks(quiet, ran=False) == checks(first, ran=True), "what is red stays red"
    (event,) = quiet.asset_materializations_for_node("warehouse")[:1] or [None]
    assert event is not None

    with duckdb.connect(str(house.home / "warehouse.duckdb")) as hand:
        hand.execute("drop table marts.fct_bids")
    house.bid(2)
    assert built(house.build()) == everything, "a file that something else wrote is not known"
    assert house.rows()["fct_bids"] == 2
    assert built(house.build(hourly=False)) == everything


def test_what_failed_or_changed_is_news_until_it_is_well(house: House) -> None:
    """A failed test of a model that has no more news, a changed model, a changed macro."""
    house.bid(1)
    house.pay(1)
    assert house.build().success
    few = house.project / "tests" / "few_payments.sql"
    few.write_text(FEW.replace("warn", "error"))
    os.utime(few)
    house.pay(2)
    for _ in range(2):
        failed = house.build()
        assert not failed.success
        assert checks(failed, ran=True)["few_payments"] is False, "it is not forgotten"
        assert house.rows()["fct_payments"] == 1
    few.write_text(FEW.replace("warn", "error").replace("> 1", "> 9"))
    os.utime(few)
    healed = house.build()
    assert healed.success
    assert house.rows()["fct_payments"] == 2
    assert built(house.build()) == set()
    macro = house.project / "macros" / "keys.sql"
    macro.write_text(macro.read_text() + "\n{# another #}\n")
    assert {"dim_lot", "fct_payments"} <= built(house.build())


def test_a_model_with_the_news_that_what_it_reads_still_lacks_is_left(house: House) -> None:
    """A table is published between the request of a run, which does not name its views, and the run's beginning."""
    house.bid(1)
    house.pay(1)
    assert house.build().success
    house.pay(2)
    early = house.build(only=[PAYMENTS])
    assert (early.success, built(early)) == (True, {"fct_payments"})
    later = house.build()
    assert later.success, [str(e.step_failure_data.error)[:500] for e in later.get_step_failure_events()]
    assert built(later) == set()
    made = [e.asset_key.path[-1] for e in later.get_asset_materialization_events() if e.asset_key]
    assert made.index("stg_payments") < made.index("fct_payments")
    assert house.rows()["fct_payments"] == 2


def test_what_has_passed_is_not_looked_at_again_until_it_fails(house: House) -> None:
    """Hours look at what came since the test passed; what failed is due whole, and so is everything at night."""
    model = house.project / "models" / "marts" / "finance" / "fct_payments.sql"
    sound = model.read_text()
    model.write_text(sound.replace("cast(payments.amount as", "cast(payments.amount + (payment_id = 'p-4')::int as"))
    for path in (house.project / "tests" / "reconciliation").glob("fct_payments_*.sql"):
        path.write_text("{{ config(meta={'dagster': {'ref': {'name': 'fct_payments'}}}) }}" + path.read_text())
    test, whole, news = "fct_payments_reconciles_with_payments", "not in (select payment_id from news)", "_batch > {}"
    house.pay(1)
    assert house.build().success
    assert whole in house.statement(test)
    for number in (2, 3):
        house.pay(number)
        assert house.build().success
        assert news.format(number - 1) in house.statement(test), "the commit up to which it has passed"
        assert whole not in house.statement(test)
    house.pay(4)
    for looked_at in (news.format(3), whole):
        failed = house.build()
        assert not failed.success
        assert checks(failed, ran=True)[test] is False
        assert looked_at in house.statement(test)
        assert house.rows()["fct_payments"] == 3
    model.write_text(sound)
    os.utime(model)
    assert house.build().success
    assert whole in house.statement(test), "another project has passed nothing yet"
    house.pay(5)
    assert house.build(hourly=False).success
    assert whole in house.statement(test)
    assert news.format(4) not in house.statement(test)
