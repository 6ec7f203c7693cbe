"""Builds of a warehouse by dbt itself, on tables that are still empty: what is claimed, and what a failure leaves.

Each test has the models of the project that it is about and what they read; `tests/integration/dbt` builds them all.
"""

import json
import os
import shutil
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from assets import dbt
from assets.consumers import consumers
from assets.lineage import LINEAGE
from assets.manifest import LAYERS
from assets.reports import EXPOSURE, PAGE, PAGE_FILE, page_in_part, report_assets
from assets.resources import LakeResource, WarehouseResource
from contracts import figures, load_contracts
from contracts.dbt import PROJECT
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from tests.support.projects import copy_of_project, read_by
from tests.support.slices import Slice
from warehouse import project as on_disk

FACTS = dg.AssetKey(["marts", "fct_orders"])
REPORT = dg.AssetKey(["reports", "rpt_profit_by_party"])
FREE = "{{ config(contract={'enforced': false}, materialized='%s') }} "


def of_models(*models: str, tests: bool = True) -> pytest.MarkDecorator:
    """The models that `project` has, with what they read."""
    return pytest.mark.parametrize("project", [(models, tests)], ids=["-".join(models[:3])], indirect=True)


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dbt_program: Path) -> Path:
    """A copy of some of the dbt project, to be broken; it reads tables without rows."""
    models, tests = getattr(request, "param", (("dim_date",), True))
    copy = copy_of_project(tmp_path / "dbt_project", *models, tests=tests)
    (tmp_path / "slice").mkdir()
    (tmp_path / "slice" / "watermarks.json").write_text(json.dumps({}))
    monkeypatch.setattr(on_disk, "PROJECT", copy)
    monkeypatch.setattr(on_disk, "DBT", dbt_program)
    monkeypatch.setenv("GAVEL_SLICE", str(tmp_path / "slice"))
    return copy


def load(home: Path) -> dbt.Manifest:
    """What Dagster loads now."""
    files = dbt_files(Settings(home=home, endpoint_url="http://127.0.0.1:1"))
    if not on_disk.is_prepared(files):
        on_disk.prepare(files)
    return on_disk.prepared_manifest(files)


def build(
    home: Path, *selected: dg.AssetKey, page: bool = False, selection: dg.AssetSelection | None = None
) -> dg.ExecuteInProcessResult:
    """A build of the project as it is."""
    return run_build(home, load(home), *selected, page=page, selection=selection)


def run_build(
    home: Path,
    manifest: dbt.Manifest,
    *selected: dg.AssetKey,
    page: bool = False,
    selection: dg.AssetSelection | None = None,
) -> dg.ExecuteInProcessResult:
    files = dbt_files(Settings(home=home, endpoint_url="http://127.0.0.1:1"))
    exposure = consumers(manifest)[EXPOSURE] if page else None
    assets = dbt.warehouse_assets(files, manifest, load_contracts(), page_in_part(exposure) if exposure else None)
    before = held_open(files)
    result = dg.materialize(
        [assets, *(report_assets(exposure, manifest, load_contracts()) if exposure else [])],
        selection=selection or list(selected) or None,
        resources={
            "lake": LakeResource(environment="local", bucket="b", local_root=str(home / "lake")),
            "warehouse": WarehouseResource(target="local", home=str(home)),
        },
        raise_on_error=False,
    )
    assert [path for path, (link, content) in before.items() if link.read_bytes() != content] == []
    return result


def held_open(files: on_disk.DbtFiles) -> dict[Path, tuple[Path, bytes]]:
    """The files that starting processes read at any time, each with a link to it and what is in it: a build may put
    others in their place, but must not write into them."""
    held = files.home / "held"
    shutil.rmtree(held, ignore_errors=True)
    held.mkdir()
    found = [path for path in files.folder.iterdir() if path.is_file()]
    assert found
    for path in found:
        os.link(path, held / path.name)
    return {path: (held / path.name, path.read_bytes()) for path in found}


def built(result: dg.ExecuteInProcessResult) -> set[dg.AssetKey]:
    return {event.asset_key for event in result.get_asset_materialization_events() if event.asset_key}


def models(database: Path) -> set[str]:
    with duckdb.connect(str(database), read_only=True) as reader:
        schemas = ", ".join(f"'{layer}'" for layer in LAYERS)
        query = f"select table_name from information_schema.tables where table_schema in ({schemas})"
        return {str(name) for (name,) in reader.execute(query).fetchall()}


@of_models("fct_orders", "rpt_profit_by_party")
def test_a_part_is_built_with_what_it_reads_and_only_it_is_claimed(project: Path, tmp_path: Path) -> None:
    first = build(tmp_path, FACTS)
    assert first.success
    assert built(first) == {FACTS}
    assert {"fct_orders", "stg_orders"} <= models(tmp_path / "warehouse.duckdb")
    (event,) = first.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["dagster/row_count"].value == 0
    earned = metadata[LINEAGE].value.deps_by_column["house_earnings"]
    assert dg.TableColumnDep(dg.AssetKey(["staging", "stg_payments"]), "processing_fee") in earned
    checks = {c.asset_key for c in first.get_asset_check_evaluations()}
    assert checks == {FACTS}

    (project / "models" / "reports" / "rpt_profit_by_party.sql").write_text(
        "select no_such_column from {{ ref('fct_orders') }}"
    )
    (project / "tests" / "nobody_buys.sql").write_text(
        "{{ config(severity='warn') }} select 'o-1' as order_id, 'ann@example.com' as email "
        "from (select count(*) as orders from {{ ref('fct_orders') }}) as counted"
    )
    failed = build(tmp_path, FACTS, REPORT)
    assert not failed.success
    assert built(failed) == {FACTS}
    assert "rpt_profit_by_party" not in models(tmp_path / "warehouse.duckdb")
    checks = failed.get_asset_check_evaluations()
    assert {c.asset_key for c in checks} == {FACTS}
    (warning,) = (c for c in checks if not c.passed)
    assert (warning.check_name, warning.severity) == ("nobody_buys", dg.AssetCheckSeverity.WARN)
    assert "o-1" in str(warning.metadata["rows"].value)
    assert "ann@example.com" not in str(warning.metadata["rows"].value), "no personal field leaves the warehouse"
    (step,) = failed.get_step_failure_events()
    error = str(step.step_failure_data.error)
    assert "rpt_profit_by_party: " in error
    assert "As they were stay: rpt_profit_by_party. All else is published." in error


@of_models(*read_by(EXPOSURE), tests=False)
def test_the_page_is_rendered_of_what_was_built_while_one_report_breaks(project: Path, tmp_path: Path) -> None:
    """Also where that report was never built. The run fails, and the page says what is as it was."""
    broken = "rpt_profit_by_party"
    data, report = Slice(load_contracts()), project / "models" / "reports" / f"{broken}.sql"
    query, page = report.read_text(), tmp_path / "reports" / PAGE_FILE

    def built_with(number: int, sql: str, *selected: dg.AssetKey) -> dg.ExecuteInProcessResult:
        put(data, number)
        shutil.rmtree(tmp_path / "slice")
        data.write(tmp_path / "slice")
        report.write_text(sql)
        os.utime(report)
        page.unlink(missing_ok=True)
        return build(tmp_path, *selected, page=True)

    never = built_with(1, "select 1 / no_such_column from {{ ref('fct_orders') }}")
    assert not never.success
    assert PAGE in built(never), never.get_step_failure_events()
    assert f"{broken} (not built yet)" in page.read_text()
    whole = built_with(2, query, REPORT, PAGE)
    assert whole.success
    assert "failed in part" not in page.read_text()
    bidding = dg.AssetKey(["reports", "rpt_bidding_by_category_and_month"])
    failed = built_with(3, "select no_such_column from {{ ref('fct_orders') }}", REPORT, bidding, PAGE)
    assert not failed.success
    assert {PAGE, bidding} <= built(failed)
    assert dg.AssetKey(["reports", broken]) not in built(failed)
    text = page.read_text()
    assert f"As they were: {broken}" in text
    shown = json.loads((tmp_path / "lake" / "b" / figures.KEY).read_text())
    assert [named.partition(" ")[0] for named in shown["as_they_were"]] == [broken]
    assert "not built yet" not in text
    (step,) = failed.get_step_failure_events()
    assert f"{broken}: " in str(step.step_failure_data.error)


def put(data: Slice, number: int) -> None:
    """One more lot with a bid, and a payment."""
    when = f"2026-02-{number:02d}T10:00:00"
    lot = {"lot_id": f"lot-{number}", "seller_id": "s", "title": "A coin", "category": "Coins", "currency": "EUR"}
    lot |= {"status": "sold", "listed_at": when}
    data.put("lots", number, **lot)
    data.change("lots", number, number, **lot)
    bid = {"bid_id": f"bid-{number}", "lot_id": f"lot-{number}", "bidder_id": "b", "currency": "EUR", "amount": "1.00"}
    data.put("bids", number, status="accepted", placed_at=when, **bid)
    paid = {"payment_id": f"p-{number}", "order_id": "o", "kind": "capture", "method": "card", "currency": "EUR"}
    data.put("payments", number, amount="1.00", status="settled", created_at=when, **paid)


@of_models("dim_lot", "fct_bids", "fct_payments")
def test_a_failed_test_holds_back_its_model_and_what_reads_it_and_nothing_else(project: Path, tmp_path: Path) -> None:
    """The rest is published, claimed and consistent; once the test passes, the next build catches up."""
    lots, bids, payments = (dg.AssetKey(["marts", name]) for name in ("dim_lot", "fct_bids", "fct_payments"))
    data, check = Slice(load_contracts()), project / "tests" / "few_lots.sql"
    check.write_text("select count(*) as lots from {{ ref('dim_lot') }} having count(*) > 1")

    def rows() -> tuple[int, ...]:
        with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as reader:
            tables = ("dim_lot", "fct_bids", "fct_payments")
            return tuple(reader.execute(f"select count(*) from marts.{table}").fetchall()[0][0] for table in tables)

    def built_after(number: int) -> dg.ExecuteInProcessResult:
        put(data, number)
        shutil.rmtree(tmp_path / "slice")
        data.write(tmp_path / "slice")
        return build(tmp_path, lots, bids, payments)

    first = built_after(1)
    assert (first.success, built(first), rows()) == (True, {lots, bids, payments}, (1, 1, 1))
    failed = built_after(2)
    assert (failed.success, built(failed), rows()) == (False, {payments}, (1, 1, 2))
    (wrong,) = (check for check in failed.get_asset_check_evaluations() if not check.passed)
    assert wrong.check_name == "few_lots"
    (step,) = failed.get_step_failure_events()
    assert "As they were stay: " in str(step.step_failure_data.error)
    check.write_text("select count(*) as lots from {{ ref('dim_lot') }} having count(*) > 9")
    healed = built_after(3)
    assert (healed.success, built(healed), rows()) == (True, {lots, bids, payments}, (3, 3, 3))


@of_models("dim_lot", "dim_date")
def test_a_build_is_of_the_project_that_was_loaded_whatever_becomes_of_it(project: Path, tmp_path: Path) -> None:
    """Models and tests that came, went or changed since, also by contracts, are for the next build."""
    marts, lots = project / "models" / "marts", dg.AssetKey(["marts", "dim_lot"])
    (marts / "gone_row.sql").write_text(FREE % "table" + "select 1 as number")
    (marts / "same_row.sql").write_text(FREE % "table" + "select 1 as number")
    loaded = load(tmp_path)
    (project / "models" / "staging" / "stg_new.sql").write_text("select no_such_column from {{ ref('dim_lot') }}")
    (project / "tests" / "new.sql").write_text("select lot_id from {{ ref('dim_lot') }} union all select 'wrong'")
    (marts / "gone_row.sql").unlink()
    (marts / "same_row.sql").write_text(FREE % "table" + "select number from {{ source('catalog', 'no_such_table') }}")
    next(marts.rglob("dim_date.yml")).write_text("models: [")
    for prepared_meanwhile in (False, True):
        if prepared_meanwhile:
            next(marts.rglob("dim_date.yml")).write_text(next(PROJECT.rglob("dim_date.yml")).read_text())
            with pytest.raises(Exception, match="no_such_table"):
                load(tmp_path)
            (marts / "same_row.sql").unlink()
            load(tmp_path)
        selected = [dg.AssetKey(["marts", name]) for name in ("gone_row", "same_row")] if prepared_meanwhile else []
        result = run_build(tmp_path, loaded, *selected)
        assert result.success, result.get_step_failure_events()
        assert built(result) >= {*selected, *([] if selected else [lots])}
        assert "stg_new" not in models(tmp_path / "warehouse.duckdb")
    assert not build(tmp_path, lots).success, "the next build has the new test"


def test_copies_of_the_project_that_nobody_works_on_are_removed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_disk, "COPIES", 1)
    files, loaded = dbt_files(Settings(home=tmp_path, endpoint_url="http://127.0.0.1:1")), []
    for _ in range(on_disk.COPIES + 1):
        on_disk.prepare(files)
        loaded.append(on_disk.prepared_manifest(files))
    assert {path.name for path in files.copies.iterdir()} == {files.loaded(m).project.name for m in loaded[1:]}
    with pytest.raises(on_disk.NotPrepared, match=r"expected the project that was parsed.*orchestration\.prepare"):
        files.loaded(loaded[0])
    assert on_disk.is_prepared(files)
    shutil.rmtree(files.loaded(loaded[-1]).project)
    assert not on_disk.is_prepared(files)


def test_a_view_that_became_a_table_whose_query_fails_stays_what_it_was(project: Path, tmp_path: Path) -> None:
    marts = project / "models" / "marts"
    one, view = (dg.AssetKey(["marts", name]) for name in ("one_row", "view_row"))
    (marts / "one_row.sql").write_text(FREE % "table" + "select 1 as number")
    (marts / "view_row.sql").write_text(FREE % "view" + "select 1 as number")
    assert build(tmp_path, one, view).success
    (marts / "one_row.sql").write_text(FREE % "table" + "select 2 as number")
    (marts / "view_row.sql").write_text(FREE % "table" + "select no_such_column")
    failed = build(tmp_path, one, view)
    assert (failed.success, built(failed)) == (False, {one})
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as reader:
        numbers = [reader.execute(f"select number from marts.{t}").fetchall() for t in ("one_row", "view_row")]
    assert numbers == [[(2,)], [(1,)]]


def test_a_check_alone_in_a_new_warehouse_builds_what_it_reads(project: Path, tmp_path: Path) -> None:
    (project / "models" / "marts" / "one_row.sql").write_text(FREE % "table" + "select 1 as number")
    (project / "models" / "marts" / "one_row.yml").write_text(
        "models: [{name: one_row, columns: [{name: number, data_tests: [{unique: {name: one_of_each}}]}]}]"
    )
    key = dg.AssetCheckKey(dg.AssetKey(["marts", "one_row"]), "one_of_each")
    result = build(tmp_path, selection=dg.AssetSelection.checks(key))
    assert result.success
    assert [(check.asset_check_key, check.passed) for check in result.get_asset_check_evaluations()] == [(key, True)]
    assert built(result) == set()


def test_a_whole_build_has_seeds_and_the_tests_that_read_no_model(project: Path, tmp_path: Path) -> None:
    (project / "seeds").mkdir()
    (project / "seeds" / "rates.csv").write_text("code,rate\nEUR,1\n")
    check = project / "tests" / "never.sql"
    check.write_text("select 1 as wrong from {{ source('catalog', 'bids') }} where false")
    whole = build(tmp_path)
    assert whole.success
    rates = {key for key in built(whole) if key.path[-1] == "rates"}
    assert len(rates) == 1
    check.write_text("select 1 as wrong")
    failed = build(tmp_path)
    assert not failed.success
    assert rates <= built(failed)
    (step,) = failed.get_step_failure_events()
    assert "never: " in str(step.step_failure_data.error)


def test_a_project_that_dbt_cannot_read_says_so_and_leaves_what_was_loaded(project: Path, tmp_path: Path) -> None:
    files = dbt_files(Settings(home=tmp_path, endpoint_url="http://127.0.0.1:1"))
    on_disk.prepare(files)
    before = files.manifest.read_bytes()
    next((project / "models" / "marts").rglob("dim_date.sql")).write_text("select {{ ref('no_such_model') }}")
    with pytest.raises(Exception, match="no_such_model"):
        on_disk.prepare(files)
    assert files.manifest.read_bytes() == before
    assert [path.name for path in files.copies.iterdir()] == [files.loaded(json.loads(before)).project.name]
