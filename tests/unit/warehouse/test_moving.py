"""Readers of marts on Athena have one build or another, whole, whatever breaks off or interferes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from lakehouse.results import FilesMissing
from lakehouse.storage.entries import Entry, EntryConflict, GlueEntries, TableInput
from lakehouse.storage.lake import Lake
from lakehouse.table import schemas
from lakehouse.table.iceberg import write_empty_table
from tests.support.failing import Crash, Failpoints, Fault, Unanswered, failing_lake
from tests.support.lakes import PARCELS, local_lake
from warehouse.cleaning import clean
from warehouse.journal import builds, read_head
from warehouse.marts import BUILD, PINNED, Mart, as_published, as_work, marts_of, same_state
from warehouse.moving import publish, recover, reset, roll_back

FACTS = Mart("gavel_marts_unit", "fct_orders")
DAYS = Mart("gavel_marts_unit", "dim_date")
ORDERS = Mart("gavel_staging_unit", "stg_orders")
NEW = Mart("gavel_reports_unit", "rpt_new")
MARTS = [DAYS, FACTS, ORDERS, NEW]


def view(text: str) -> TableInput:
    encoded = base64.b64encode(json.dumps({"originalSql": text, "schema": "gavel_unit", "columns": []}).encode())
    return {
        "Name": "",
        "TableType": "VIRTUAL_VIEW",
        "ViewOriginalText": f"/* Presto View: {encoded.decode()} */",
        "ViewExpandedText": "/* Presto View */",
        "Parameters": {"presto_view": "true"},
    }


def sql(table: TableInput) -> str:
    text = table["ViewOriginalText"].removeprefix("/* Presto View: ").removesuffix(" */")
    return str(json.loads(base64.b64decode(text))["originalSql"])


def made(lake: Lake, mart: Mart, number: int) -> TableInput:
    """The work entry of a mart in a build of this number."""
    if mart == ORDERS:
        return view(f'SELECT {number} FROM "awsdatacatalog"."gavel_work_marts_unit"."dim_date"') | {"Name": mart.name}
    location = lake.store.uri(f"marts/{mart.work}/{mart.name}/{number}/metadata/{number:05d}.metadata.json")
    return {"Name": mart.name, "Parameters": {"table_type": "ICEBERG", "metadata_location": location}}


def build(lake: Lake, number: int, marts: list[Mart] = MARTS) -> None:
    """What dbt leaves in the work databases."""
    for mart in marts:
        entry = lake.entries.get(mart.work, mart.name)
        if entry is None:
            lake.entries.create(mart.work, made(lake, mart, number))
        else:
            lake.entries.update(entry, made(lake, mart, number))


def read(lake: Lake, mart: Mart) -> int | None:
    """The number of the build that readers have of a mart."""
    entry = lake.entries.get(mart.database, mart.name)
    if entry is None:
        return None
    if mart == ORDERS:
        assert "gavel_work_" not in sql(entry.table)
        return int(sql(entry.table).split()[1])
    return int(entry.metadata_location.split("/")[-3])


def seen(lake: Lake) -> tuple[int | None, ...]:
    return tuple(read(lake, mart) for mart in MARTS)


OLD = (1, 1, 1, None)
AFTER = (2, 2, 2, 2)


def begun(root: Path) -> Lake:
    """Three marts are published, and a build of four is about to be."""
    lake = local_lake(root)
    build(lake, 1, MARTS[:3])
    publish(lake, MARTS, MARTS[:3])
    build(lake, 2)
    return lake


def operations(root: Path, act: Callable[[Lake], Any]) -> int:
    begun(root)
    points = Failpoints()
    act(failing_lake(root, points))
    return len(points.operations)


def publish_all(lake: Lake) -> None:
    publish(lake, MARTS, MARTS)


def each(root: Path, act: Callable[[Lake], Any] = publish_all) -> Iterator[tuple[int, Path]]:
    """Every operation of a move, each with a lake of its own."""
    for at in range(1, operations(root / "counted", act) + 1):
        folder = root / str(at)
        begun(folder)
        yield at, folder


def test_what_is_built_is_published_all_at_once_and_says_which_build_it_is(tmp_path: Path) -> None:
    lake = begun(tmp_path)
    assert seen(lake) == OLD
    done = publish(lake, MARTS, MARTS, "run-7")
    assert seen(lake) == AFTER
    entries = [lake.entries.get(mart.database, mart.name) for mart in MARTS]
    assert {entry.parameters[BUILD] for entry in entries if entry} == {done.build} == {read_head(lake).published}
    assert [b.run_id for b in builds(lake, done.build)] == ["run-7", ""]


@pytest.mark.parametrize("kind", ["crash", "error", "refusal"])
@pytest.mark.parametrize("after", [True, False])
def test_a_move_that_breaks_off_anywhere_is_finished_or_was_never_begun(tmp_path: Path, kind: Any, after: bool) -> None:
    outcomes = set()
    for at, folder in each(tmp_path):
        points = Failpoints(Fault(at, kind, after))
        with suppress(Crash, Unanswered, EntryConflict):
            publish_all(failing_lake(folder, points))
        assert points.struck
        lake = local_lake(folder)
        recover(lake)
        assert seen(lake) in (OLD, AFTER), points.fault
        assert read_head(lake).moving == ""
        outcomes.add(seen(lake))
        build(lake, 3)
        publish_all(lake)
        assert seen(lake) == (3, 3, 3, 3), points.fault
    assert outcomes == ({AFTER} if kind == "refusal" else {OLD, AFTER})


def test_a_recovery_that_breaks_off_is_finished_by_the_next(tmp_path: Path) -> None:
    for at, folder in each(tmp_path):
        points = Failpoints(Fault(at, "crash", True))
        with pytest.raises(Crash):
            publish_all(failing_lake(folder, points))
        for again in range(1, 30):
            recovering = Failpoints(Fault(again, "crash", True))
            try:
                recover(failing_lake(folder, recovering))
            except Crash:
                continue
            break
        assert seen(local_lake(folder)) in (OLD, AFTER)
        assert read_head(local_lake(folder)).moving == ""


def test_who_changes_an_entry_meanwhile_wins_and_nothing_is_published(tmp_path: Path) -> None:
    """By hand, at any moment of the move: his change stays, and all other marts are of one build."""
    conflicts = 0
    for at, folder in each(tmp_path):
        other = local_lake(folder)

        def change(other: Lake = other) -> None:
            entry = other.entries.get(FACTS.database, FACTS.name)
            assert entry is not None
            other.entries.update(entry, {**entry.table, **made(other, FACTS, 77)})

        try:
            publish_all(failing_lake(folder, Failpoints(meanwhile=(at, change))))
        except EntryConflict:
            conflicts += 1
        recover(other)
        days, facts, orders, new = seen(other)
        assert (days, orders, new) in {(1, 1, None), (2, 2, 2)}
        assert facts in (2, 77)
        if days == 1:
            assert facts == 77
        assert read_head(other).moving == ""
    assert conflicts > 3


def test_what_was_changed_by_hand_during_a_move_that_died_stays(tmp_path: Path) -> None:
    """Dying at any operation, then a change by hand, then dying at any operation of the undoing."""
    for at, folder in each(tmp_path):
        with pytest.raises(Crash):
            publish_all(failing_lake(folder, Failpoints(Fault(at, "crash", True))))
        lake = local_lake(folder)
        if not read_head(lake).moving:
            continue
        entry = lake.entries.get(FACTS.database, FACTS.name)
        assert entry is not None
        lake.entries.update(entry, made(lake, FACTS, 77))
        for again in range(1, 40):
            try:
                recover(failing_lake(folder, Failpoints(Fault(again, "crash", True))))
            except Crash:
                continue
            break
        assert seen(lake) == (1, 77, 1, None)


def test_of_two_builds_that_end_at_once_readers_get_one_whole(tmp_path: Path) -> None:
    for at, folder in each(tmp_path):
        other = local_lake(folder)

        def meanwhile(other: Lake = other) -> None:
            build(other, 3)
            publish_all(other)

        with suppress(EntryConflict):
            publish_all(failing_lake(folder, Failpoints(meanwhile=(at, meanwhile))))
        recover(other)
        assert seen(other) in (AFTER, (3, 3, 3, 3)), at
        assert read_head(other).moving == ""


def test_two_recoveries_at_once_agree(tmp_path: Path) -> None:
    for at, folder in each(tmp_path):
        with pytest.raises(Crash):
            publish_all(failing_lake(folder, Failpoints(Fault(at, "crash", True))))
        for when in range(1, 12):
            other = local_lake(folder)
            recover(failing_lake(folder, Failpoints(meanwhile=(when, lambda other=other: recover(other)))))
        assert seen(local_lake(folder)) in (OLD, AFTER)


def test_a_writer_that_was_slow_does_not_move_what_was_undone(tmp_path: Path) -> None:
    """It stands before its update; meanwhile somebody changes another mart, and the move is undone by another."""
    tried = 0
    for at, folder in each(tmp_path):
        other = local_lake(folder)

        def undo(other: Lake = other) -> None:
            if not read_head(other).moving:
                return
            entry = other.entries.get(DAYS.database, DAYS.name)
            assert entry is not None
            other.entries.update(entry, made(other, DAYS, 77))
            recover(other)

        try:
            publish_all(failing_lake(folder, Failpoints(meanwhile=(at, undo))))
        except EntryConflict:
            tried += 1
        recover(other)
        assert seen(other)[1:] in ((1, 1, None), (2, 2, 2)), at
    assert tried > 3


def test_a_build_goes_on_from_what_readers_have(tmp_path: Path) -> None:
    """A build that did not pass, a table that dbt left half renamed, and a mart that was never published."""
    lake = begun(tmp_path)
    work = lake.entries.get(DAYS.work, DAYS.name)
    assert work is not None
    lake.entries.delete(work)
    reset(lake, MARTS)
    assert seen(lake) == OLD
    for mart in (DAYS, FACTS, ORDERS):
        entry = lake.entries.get(mart.work, mart.name)
        assert entry is not None
        assert same_state(entry.table, made(lake, mart, 1)), mart
    assert lake.entries.get(NEW.work, NEW.name) is None


def test_a_mart_that_was_not_built_stops_the_publication(tmp_path: Path) -> None:
    lake = begun(tmp_path)
    with pytest.raises(LookupError, match=r"gavel_work_marts_unit.fct_bids: expected what the build made"):
        publish(lake, MARTS, [*MARTS, Mart("gavel_marts_unit", "fct_bids")])
    assert seen(lake) == OLD


@pytest.fixture
def rolled(tmp_path: Path) -> Lake:
    """Four builds of one table that has files, each with its number as the table's comment."""
    lake = local_lake(tmp_path)
    shape = schemas.compacted(PARCELS)
    for number in range(1, 5):
        location = write_empty_table(lake, shape, {}, schemas.last_column_id())
        table = {"Name": FACTS.name, "Description": str(number), "Parameters": {"metadata_location": location}}
        entry = lake.entries.get(FACTS.work, FACTS.name)
        if entry is None:
            lake.entries.create(FACTS.work, table)
        else:
            lake.entries.update(entry, table)
        publish(lake, [FACTS], [FACTS])
    return lake


def number(lake: Lake) -> str:
    entry = lake.entries.get(FACTS.database, FACTS.name)
    assert entry is not None
    return str(entry.table["Description"])


def test_roll_back_goes_one_build_back_each_time_and_the_next_build_goes_on_from_there(rolled: Lake) -> None:
    first = [b.build for b in builds(rolled, read_head(rolled).published)][-1]
    publish(rolled, [FACTS], [FACTS], same_rows=True)  # maintenance is no build to stop at
    for expected in ("3", "2", "1"):
        roll_back(rolled)
        assert number(rolled) == expected
    with pytest.raises(LookupError, match="before the present one"):
        roll_back(rolled)
    reset(rolled, [FACTS])
    work = rolled.entries.get(FACTS.work, FACTS.name)
    assert work is not None
    assert work.table["Description"] == "1"
    roll_back(rolled, next(b.build for b in builds(rolled, read_head(rolled).published) if b.state == b.build))
    assert number(rolled) == "4"
    roll_back(rolled, first)
    assert number(rolled) == "1"


def test_roll_back_to_what_is_not_there_moves_nothing(rolled: Lake) -> None:
    with pytest.raises(LookupError, match="expected build nonsense among those kept, found 2"):
        roll_back(rolled, "nonsense")
    then = next(b for i, b in enumerate(builds(rolled, read_head(rolled).published)) if i == 1).moves[0].after
    rolled.store.delete([rolled.store.key(then["Parameters"]["metadata_location"])])
    with pytest.raises(FilesMissing, match="nothing was moved"):
        roll_back(rolled)
    assert number(rolled) == "4"


names = st.sampled_from([f"gavel_{layer}_unit" for layer in ("staging", "marts", "personal")])


@given(st.lists(st.tuples(names, st.sampled_from(['"{}".', "{}.", "awsdatacatalog.{} .", '"a"."{}" .'])), max_size=6))
def test_views_read_the_other_databases_and_back(parts: list[tuple[str, str]]) -> None:
    marts = [Mart(f"gavel_{layer}_unit", "any") for layer in ("staging", "marts", "personal")]
    kept = "FROM gavel_unit.orders, gavel_work_unit.orders, my_gavel_marts_unit.x, gavel_marts_unit_2.x, gavel_marts"
    text = " ".join(form.format(name) for name, form in parts) + kept
    work = " ".join(form.format(Mart(name, "").work) for name, form in parts) + kept
    table = as_published(Entry("gavel_work_marts_unit", "any", "0", view(work)), marts, "b")
    assert sql(table) == text
    assert sql(as_work(Entry("gavel_marts_unit", "any", "0", table), marts)) == work


def test_what_is_neither_a_table_of_iceberg_nor_a_view_is_refused() -> None:
    for table in ({"Parameters": {}}, {"ViewOriginalText": "select 1"}):
        with pytest.raises(ValueError, match=r"gavel_work_marts_unit.odd: expected"):
            as_published(Entry("gavel_work_marts_unit", "odd", "0", table), MARTS, "b")


def test_marts_are_the_models_and_what_a_build_pins() -> None:
    nodes = {
        "model.gavel.fct_orders": {"name": "fct_orders", "schema": "gavel_work_marts_unit", "alias": "fct_orders"},
        "model.gavel.stg_watermarks": {"name": "stg_watermarks", "schema": "gavel_work_staging_unit", "alias": "w"},
    }
    assert marts_of({"nodes": nodes}, ["model.gavel.fct_orders"]) == [FACTS, Mart("gavel_staging_unit", PINNED)]
    assert marts_of({"nodes": nodes}, []) == []
    nodes["model.gavel.fct_orders"]["schema"] = "gavel_marts_unit"
    with pytest.raises(ValueError, match="expected a schema that begins with gavel_work_"):
        marts_of({"nodes": nodes}, ["model.gavel.fct_orders"])


def test_cleaning_removes_what_no_entry_and_no_late_build_needs(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    for number in (1, 2, 3):
        build(lake, number, [FACTS])
        lake.store.write(f"marts/{FACTS.work}/{FACTS.name}/{number}/data/rows.parquet", b"rows")
        publish(lake, MARTS, [FACTS])
    build(lake, 4, [FACTS])
    for number in (4, 5):
        lake.store.write(f"marts/{FACTS.work}/{FACTS.name}/{number}/data/rows.parquet", b"rows")
    gone = Mart("gavel_retired_unit", "old")  # its model is not in the project any more
    lake.store.write(f"marts/{gone.work}/old/1/data/rows.parquet", b"rows")
    lake.entries.create(gone.database, made(lake, gone, 1))

    def left() -> set[str]:
        return {key.key.split("/")[3] for key in lake.store.list(f"marts/{FACTS.work}/")}

    assert clean(replace(lake, now=lambda: datetime.now(UTC)), MARTS) == 0
    modified = max(found.modified for found in lake.store.list(""))
    later = replace(lake, now=lambda: modified + timedelta(days=6))
    assert clean(later, MARTS) == 2
    assert left() == {"2", "3", "4"}, "that of readers, of a roll back, of the work"
    assert [*lake.store.list(f"marts/{gone.work}/")]
    assert len([*lake.store.list("marts-builds/")]) == 1
    assert read(lake, FACTS) == 3


def test_the_same_with_glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version check, its creation of databases, its delete and its listing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        lake = local_lake(tmp_path)
        lake.__dict__["entries"] = GlueEntries(Lake.of_environment("unit", "data", "eu-west-1").client("glue"))
        build(lake, 1, MARTS[:3])
        publish(lake, MARTS, MARTS[:3])
        build(lake, 2)
        reset(lake, MARTS)
        assert seen(lake) == OLD
        assert lake.entries.get(NEW.work, NEW.name) is None
        build(lake, 2)
        publish(lake, MARTS, MARTS)
        assert seen(lake) == AFTER
        assert set(lake.entries.names(FACTS.database)) == {"dim_date", "fct_orders"}
        assert lake.entries.names("gavel_unknown") == []
        entry = lake.entries.get(NEW.database, NEW.name)
        assert entry is not None
        lake.entries.delete(entry)
        lake.entries.delete(entry)
        assert lake.entries.get(NEW.database, NEW.name) is None
