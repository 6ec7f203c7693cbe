"""Glue against the contracts, who changed it, and what several reports say together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from contracts import Contracts
from lakehouse.drift.back import Call
from lakehouse.drift.definitions import compare_loaded, switched_off
from lakehouse.drift.findings import Drifted, Report, Trace, Unit, Unread, current, look_at, read, written
from lakehouse.drift.tables import _was_published, table_units
from lakehouse.drift.who import WHO, Trail, with_authors
from lakehouse.publish.log_tables import prefix_of
from lakehouse.publish.publication_log import PUBLICATIONS
from lakehouse.storage.lake import Lake
from lakehouse.table import glue_tables, schemas
from tests.support.lakes import PARCELS, local_lake

CONTRACTS = Contracts({PARCELS.name: PARCELS})
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = ("gavel_landing_unit", "gavel_work_unit", "gavel_unit")


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A lake in moto's Glue, as it is when a batch was published."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        lake = Lake.of_environment("unit", "data", "eu-west-1")
        landing = glue_tables.landing_table(PARCELS, "s3://data/landing/parcels/")
        lake.entries.create(lake.landing_database, landing)
        for shape in (schemas.compacted(PARCELS), schemas.changes(PARCELS)):
            for database in (lake.work_database, lake.published_database):
                table = glue_tables.table_input(lake, PARCELS, shape, {"metadata_location": "s3://data/m.json"})
                lake.entries.create(database, table)
        yield lake


def found(lake: Lake, *databases: str, ever: bool = False) -> Report:
    return look_at(table_units(lake.client("glue"), lake, CONTRACTS, databases, lambda entity: ever))


def by_hand(lake: Lake, database: str, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    entry = lake.entries.get(database, name)
    assert entry is not None
    table = json.loads(json.dumps(entry.table))
    change(table)
    lake.entries.update(entry, table)


def test_the_same_difference_in_two_units_is_two(lake: Lake) -> None:
    """Two stacks have a resource of the same name; neither stands for the other."""
    drifted = tuple(Drifted("stacks", unit, "Letters", "/DelaySeconds", "5", "0", "Set it back.") for unit in "ab")
    assert sorted(one.unit for one in current([Report(NOON, ("stacks",), drifted)])[0]) == ["a", "b"]
    unread = Report(NOON, ("stacks",), drifted[:1], (Unread("stacks", "b", "AccessDenied"),))
    assert unread.after(Report(NOON, ("stacks",), drifted)).drifted == drifted


def test_a_landing_table_comes_back_by_the_call_that_is_shown(lake: Lake) -> None:
    def retype(table: dict[str, Any]) -> None:
        table["StorageDescriptor"]["Columns"][0]["Type"] = "int"

    by_hand(lake, lake.landing_database, PARCELS.name, retype)
    (one,) = found(lake).drifted
    assert one.back is not None
    (call,) = one.back.calls
    assert str(call).startswith("aws glue update-table --database-name gavel_landing_unit --table-input '{")
    getattr(lake.client(call.service), call.operation)(**call.arguments)
    assert found(lake).drifted == ()


def test_a_call_is_a_command_that_a_shell_takes() -> None:
    tag = Call("iam", "tag_role", {"RoleName": "gavel-dev-a", "Tags": [{"Key": "it's", "Value": "$(x)"}]})
    assert str(tag) == """aws iam tag-role --role-name gavel-dev-a --tags '[{"Key": "it'"'"'s", "Value": "$(x)"}]'"""
    off = Call("lambda", "update_event_source_mapping", {"UUID": "1", "Enabled": False}, "us-east-1")
    assert str(off) == "aws lambda update-event-source-mapping --uuid 1 --no-enabled --region us-east-1"
    versions = Call("s3", "delete_bucket_policy", {"Bucket": "b"})
    assert str(versions) == "aws s3api delete-bucket-policy --bucket b"


def test_what_was_just_published_has_not_drifted(lake: Lake) -> None:
    report = found(lake, *NAMES)
    assert (report.drifted, report.unread) == ((), ())


def test_an_environment_without_a_batch_lacks_its_landing_tables_alone(lake: Lake) -> None:
    glue = lake.client("glue")
    for database in NAMES:
        for name in lake.entries.names(database):
            glue.delete_table(DatabaseName=database, Name=name)
    assert [(one.name, one.found) for one in found(lake).drifted] == [("gavel_landing_unit.parcels", "none")]


@pytest.mark.parametrize(
    ("database", "change", "what"),
    [
        ("gavel_landing_unit", lambda t: t["StorageDescriptor"]["Columns"].pop(0), "column parcel_id"),
        ("gavel_landing_unit", lambda t: t["PartitionKeys"].pop(), "partition keys"),
        ("gavel_unit", lambda t: t["StorageDescriptor"]["Columns"][0].update(Type="int"), "column parcel_id"),
        ("gavel_unit", lambda t: t.update(Description="mine"), "description"),
        ("gavel_unit", lambda t: t["StorageDescriptor"].update(Location="s3://else/"), "location"),
        ("gavel_unit", lambda t: t["Parameters"].pop("metadata_location"), "pointer"),
        ("gavel_work_unit", lambda t: t["StorageDescriptor"]["Columns"].pop(0), "column parcel_id"),
    ],
)
def test_a_table_that_was_changed_by_hand_is_found(
    lake: Lake, database: str, change: Callable[[dict[str, Any]], None], what: str
) -> None:
    by_hand(lake, database, "parcels", change)
    (one,) = found(lake).drifted
    assert (one.part, one.unit, one.name, one.what) == ("tables", database, f"{database}.parcels", what)
    assert one.expected != one.found


TABLES = [f"{database}.{name}" for database in NAMES[1:] for name in ("parcels", "parcels_changes")]


@pytest.mark.parametrize("gone", TABLES)
def test_each_table_that_is_gone_is_found(lake: Lake, gone: str) -> None:
    """Also the one that readers see: while nothing lands, no batch misses it."""
    database, _, name = gone.partition(".")
    lake.client("glue").delete_table(DatabaseName=database, Name=name)
    (one,) = found(lake).drifted
    assert (one.name, one.found) == (gone, "none")
    assert "gavel ops recover catalog" in one.do


def test_a_catalog_that_is_gone_is_found_where_readers_ever_saw_something(lake: Lake) -> None:
    for gone in TABLES:
        database, _, name = gone.partition(".")
        lake.client("glue").delete_table(DatabaseName=database, Name=name)
    assert found(lake).drifted == ()
    assert sorted(one.name for one in found(lake, ever=True).drifted) == sorted(TABLES)


def test_tables_that_are_made_at_this_moment_are_not_missed(lake: Lake) -> None:
    """The published entry of the compacted table comes last."""

    def first(table: dict[str, Any]) -> None:
        table["Parameters"]["metadata_location"] = "s3://data/warehouse/00000-1.metadata.json"

    lake.client("glue").delete_table(DatabaseName="gavel_unit", Name="parcels")
    for database, name in (("gavel_work_unit", "parcels"), *((d, "parcels_changes") for d in NAMES[1:])):
        by_hand(lake, database, name, first)
    assert found(lake).drifted == ()


def test_the_publication_log_says_what_readers_ever_saw(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    assert not _was_published(lake, "parcels")
    lake.store.write(f"{prefix_of(PUBLICATIONS, 'parcels', NOON)}00001-a.json", b"{}")
    assert _was_published(lake, "parcels")
    assert not _was_published(lake, "orders")


def test_what_is_missing_or_of_no_contract_is_found(lake: Lake) -> None:
    glue = lake.client("glue")
    glue.delete_table(DatabaseName="gavel_unit", Name="parcels_changes")
    glue.create_table(DatabaseName="gavel_unit", TableInput={"Name": "mine", "StorageDescriptor": {"Columns": []}})
    report = found(lake, *NAMES, "gavel_marts_unit")
    assert {(one.name, one.what, one.found) for one in report.drifted} == {
        ("gavel_unit.parcels_changes", "table", "none"),
        ("gavel_unit.mine", "table", "one that no contract gives"),
        ("gavel_marts_unit", "database", "none"),
    }


# ---- who ------------------------------------------------------------------------------------------------------------


def event(arn: str, minutes: int = 0, request: Any = None, **more: Any) -> dict[str, Any]:
    record = {"userIdentity": {"type": "AssumedRole", "arn": arn}, "requestParameters": request, **more}
    return {"EventTime": NOON + timedelta(minutes=minutes), "CloudTrailEvent": json.dumps(record)}


class CloudTrail:
    """Answers of LookupEvents as AWS documents them, by the value that is searched; the newest first."""

    def __init__(self, **events: list[dict[str, Any]]) -> None:
        self.events = events

    def get_paginator(self, operation: str) -> CloudTrail:
        assert operation == "lookup_events"
        return self

    def paginate(self, *, LookupAttributes: list[dict[str, str]], PaginationConfig: Any) -> list[dict[str, Any]]:
        (attribute,) = LookupAttributes
        return [{"Events": self.events.get(attribute["AttributeValue"], [])}]


PERSON = "arn:aws:sts::111122223333:assumed-role/admin/somebody"
TABLE = Trace(("orders",), ("UpdateTable",), ("gavel_unit", "orders"))


def author(trace: Trace, **events: list[dict[str, Any]]) -> tuple[str, datetime] | None:
    return Trail(lambda region: CloudTrail(**events), ["gavel-unit-runs"]).last(trace)


def test_the_last_change_by_hand_counts() -> None:
    own = event("arn:aws:sts::111122223333:assumed-role/gavel-unit-runs/task", 9)
    deployed = event(PERSON, 8)
    deployed["CloudTrailEvent"] = json.dumps(
        {"userIdentity": {"arn": PERSON, "invokedBy": "cloudformation.amazonaws.com"}}
    )
    events = [own, deployed, event(PERSON, 7, readOnly=True), event(PERSON, 6, errorCode="AccessDenied"),
        event(PERSON, 5), event("arn:aws:iam::111122223333:user/earlier", 4)]  # fmt: skip
    assert author(TABLE, orders=events) == (PERSON, NOON + timedelta(minutes=5))
    assert author(TABLE, orders=events[:4]) is None


def test_events_that_name_no_resource_are_searched_by_their_request() -> None:
    def request(database: str, name: str) -> dict[str, Any]:
        return {"databaseName": database, "tableInput": {"name": name}}

    others = [event(PERSON, 9, request("gavel_unit", "bids")), event(PERSON, 8, request("gavel_other", "orders"))]
    ours = event(PERSON, 7, request("gavel_unit", "orders"))
    assert author(TABLE, UpdateTable=[*others, ours]) == (PERSON, NOON + timedelta(minutes=7))
    assert author(TABLE, UpdateTable=others) is None


def test_events_of_iam_are_where_aws_keeps_them() -> None:
    regions = []

    def client(region: str) -> CloudTrail:
        regions.append(region)
        return CloudTrail()

    for everywhere in (True, False):
        Trail(client).last(Trace(("role",), everywhere=everywhere))
    assert regions == ["us-east-1", ""]


def drifted(unit: str, name: str = "a", part: str = "tables") -> Drifted:
    return Drifted(part, unit, name, "column", "string", "int", "Do it.", trace=TABLE)


def test_cloudtrail_that_cannot_be_read_takes_no_difference_away() -> None:
    def denied(region: str) -> Any:
        raise PermissionError("cloudtrail:LookupEvents")

    report = with_authors(Report(NOON, ("tables",), (drifted("u"), drifted("v"))), Trail(denied))
    assert [one.who for one in report.drifted] == ["", ""]
    assert [(one.part, one.why) for one in report.unread] == [(WHO, "PermissionError: cloudtrail:LookupEvents")]


def test_who_and_when_are_said_and_nothing_else_of_an_event() -> None:
    trail = Trail(lambda region: CloudTrail(orders=[event(PERSON, 5, {"secret": "x"}, sourceIPAddress="192.0.2.1")]))
    report = with_authors(Report(NOON, ("tables",), (drifted("u"),)), trail)
    said = written(report).decode()
    assert f"by {PERSON}, 2026-11-21 12:05:00 UTC" in str(report.drifted[0])
    assert "secret" not in said
    assert "192.0.2.1" not in said


# ---- reports --------------------------------------------------------------------------------------------------------


def report(minutes: int, *ones: Drifted, parts: tuple[str, ...] = ("tables",), closed: tuple[str, ...] = ()) -> Report:
    unread = tuple(Unread("tables", unit, "AccessDenied") for unit in closed)
    return Report(NOON + timedelta(minutes=minutes), parts, ones, unread)


def test_a_unit_that_fails_hides_no_other_and_keeps_what_it_had_yielded() -> None:
    def breaks() -> Iterator[Drifted]:
        yield drifted("b")
        raise OSError("timed out")

    looked = look_at([Unit("tables", "b", breaks), Unit("tables", "c", lambda: [drifted("c")])])
    assert [one.unit for one in looked.drifted] == ["b", "c"]
    assert [(one.unit, one.why) for one in looked.unread] == [("b", "OSError: timed out")]


def test_a_unit_that_is_unread_keeps_what_was_found_before() -> None:
    before = report(0, drifted("a"), drifted("b"))
    assert [one.unit for one in report(1, closed=("a",)).after(before).drifted] == ["a"]
    assert report(1).after(before).drifted == ()
    assert report(1).after(None).drifted == ()


def test_a_report_is_written_and_read() -> None:
    one = drifted("a")
    kept = report(0, one, closed=("b",))
    assert read(written(kept)) == kept


def test_of_each_part_the_newest_report_counts_that_could_read_it() -> None:
    nightly, outside = report(1, drifted("a")), report(2, parts=("tables", "policies"))
    assert current([nightly, outside]) == ([], [])
    closed = report(2, closed=("a",))
    assert [one.unit for one in current([nightly, closed])[0]] == ["a"]
    assert current([nightly, closed])[1] == []
    alone = report(2, drifted("a"), closed=("a",))
    assert [one.unit for one in current([alone])[0]] == ["a"]
    assert [one.unit for one in current([alone])[1]] == ["a"]


# ---- definitions ----------------------------------------------------------------------------------------------------


def test_definitions_that_are_missing_or_of_another_version_are_found() -> None:
    expected = {"job": {"a", "b"}, "sensor": {"s"}, "schedule": {"t"}}
    assert list(compare_loaded(expected, expected)) == []
    loaded = {"job": {"a", "c"}, "sensor": {"s"}, "schedule": set()}
    assert [(one.name, one.found) for one in compare_loaded(expected, loaded)] == [
        ("job b", "none"),
        ("job c", "one of another version"),
        ("schedule t", "none"),
    ]


def test_what_is_switched_off_is_found() -> None:
    states = {("sensor", "s"): "RUNNING", ("schedule", "t"): "STOPPED"}
    assert [(one.name, one.found) for one in switched_off(states)] == [("schedule t", "STOPPED")]
