"""Entries in Glue as their readers need them, and changes by hand noticed; objects on S3 by exact version."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish, rollback
from lakehouse.results import Counts
from lakehouse.storage import entries
from lakehouse.storage.entries import EntryConflict, GlueEntries
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectChanged, ObjectMissing, S3Store
from lakehouse.table.glue_tables import refresh_landing
from tests.support.lakes import PARCELS, Landing, change, published_rows

EVERYTHING = Scope.everything()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """Clients of moto's AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Lake.of_environment("unit", "data", "eu-west-1")


@pytest.fixture
def glue_lake(lake: Lake, aws: Lake) -> Lake:
    """A lake whose entries are in Glue, and whose files are in a folder that DuckDB can read without S3."""
    lake.__dict__["entries"] = GlueEntries(aws.client("glue"))
    return lake


def glue_table(lake: Lake, database: str, name: str) -> dict[str, Any]:
    table: dict[str, Any] = lake.entries._client.get_table(DatabaseName=database, Name=name)["Table"]  # type: ignore[attr-defined]
    return table


def change_by_hand(lake: Lake, database: str, name: str, **changed: Any) -> None:
    entry = lake.entries.get(database, name)
    assert entry is not None
    lake.entries.update(entry, {**entry.table, **changed})


def test_two_batches_are_published_through_glue(glue_lake: Lake) -> None:
    landing = Landing(glue_lake, PARCELS)
    for version in (1, 2):
        landing.land([change(version=version)])
        assert compact(glue_lake, PARCELS, EVERYTHING).counts == Counts(read=1, applied=1)
        publication = publish(glue_lake, PARCELS)
        assert publication.drift == ()
    assert [r["_version"] for r in published_rows(glue_lake)] == [2]
    assert publication.published.glue_version == glue_table(glue_lake, "gavel_unit", "parcels")["VersionId"]


def test_a_published_entry_has_columns_comments_statistics_and_pointers(glue_lake: Lake) -> None:
    Landing(glue_lake, PARCELS).land([change(version=1), change("p-2", version=1)])
    compact(glue_lake, PARCELS, EVERYTHING)
    location = publish(glue_lake, PARCELS).published.metadata_location

    table = glue_table(glue_lake, "gavel_unit", "parcels")

    columns = {c["Name"]: (c["Type"], c["Comment"]) for c in table["StorageDescriptor"]["Columns"]}
    assert columns["parcel_id"] == ("string", "Identity of the parcel.")
    assert columns["items"][0] == "array<struct<name:string,worth:decimal(10,2),checked:boolean>>"
    assert columns["labels"][0] == "map<string,string>"
    assert columns["_deleted"] == ("boolean", "Whether the item was removed: the row is a tombstone.")
    assert table["Description"] == PARCELS.description
    parameters = table["Parameters"]
    assert (parameters["table_type"], parameters["metadata_location"]) == ("ICEBERG", location)
    assert parameters["previous_metadata_location"] != location
    assert (parameters["recordCount"], parameters["objectCount"], parameters["gavel.batch"]) == ("2", "1", "1")
    assert parameters["gavel.watermark"] == "2026-11-21T12:00:00+00:00"
    changes = glue_table(glue_lake, "gavel_unit", "parcels_changes")
    assert changes["Parameters"]["recordCount"] == "2"
    assert [c["Name"] for c in changes["StorageDescriptor"]["Columns"]][-2:] == ["_batch", "_object"]


def test_the_landing_table_finds_its_partitions_by_projection(glue_lake: Lake) -> None:
    refresh_landing(glue_lake, PARCELS)
    table = glue_table(glue_lake, "gavel_landing_unit", "parcels")
    assert {c["Type"] for c in table["StorageDescriptor"]["Columns"]} == {"string"}
    assert [k["Name"] for k in table["PartitionKeys"]] == ["dt", "hh"]
    parameters = table["Parameters"]
    assert parameters["projection.dt.range"] == "NOW-365DAYS,NOW+1DAYS"
    assert parameters["storage.location.template"].endswith("landing/parcels/dt=${dt}/hh=${hh}/")


def test_a_change_by_hand_is_reported_and_set_right(glue_lake: Lake) -> None:
    compact(glue_lake, PARCELS, EVERYTHING)
    publish(glue_lake, PARCELS)
    entry = glue_table(glue_lake, "gavel_unit", "parcels")
    storage = entry["StorageDescriptor"]
    wrong = [{**c, "Type": "double"} if c["Name"] == "price" else c for c in storage["Columns"] if c["Name"] != "due"]
    change_by_hand(
        glue_lake, "gavel_unit", "parcels", Description="mine", StorageDescriptor={**storage, "Columns": wrong}
    )
    landing = glue_table(glue_lake, "gavel_landing_unit", "parcels")
    change_by_hand(
        glue_lake,
        "gavel_landing_unit",
        "parcels",
        Parameters={**landing["Parameters"], "projection.hh.range": "0,12", "note": "kept"},
    )

    drift = publish(glue_lake, PARCELS).drift

    assert {(d.table, d.what, d.expected, d.found) for d in drift} == {
        ("gavel_landing_unit.parcels", "parameter projection.hh.range", "0,23", "0,12"),
        ("gavel_unit.parcels", "column due", "date ()", "no such column"),
        ("gavel_unit.parcels", "column price", "decimal(14,2) ()", "double ()"),
        ("gavel_unit.parcels", "description", PARCELS.description, "mine"),
    }
    assert publish(glue_lake, PARCELS).drift == ()
    assert glue_table(glue_lake, "gavel_unit", "parcels")["Description"] == PARCELS.description
    assert glue_table(glue_lake, "gavel_landing_unit", "parcels")["Parameters"]["note"] == "kept"


def test_publishing_what_is_right_writes_nothing(glue_lake: Lake) -> None:
    compact(glue_lake, PARCELS, EVERYTHING)
    publish(glue_lake, PARCELS)
    names = [("gavel_unit", "parcels"), ("gavel_unit", "parcels_changes"), ("gavel_landing_unit", "parcels")]
    before = [glue_table(glue_lake, *name)["VersionId"] for name in names]
    publish(glue_lake, PARCELS)
    assert [glue_table(glue_lake, *name)["VersionId"] for name in names] == before


def test_a_stale_entry_is_not_overwritten(glue_lake: Lake) -> None:
    compact(glue_lake, PARCELS, EVERYTHING)
    stale = glue_lake.entries.get("gavel_unit", "parcels")
    assert stale is not None
    with pytest.raises(EntryConflict, match="exists already"):
        glue_lake.entries.create("gavel_unit", stale.table)
    assert glue_lake.entries.get("gavel_unit", "nothing") is None


@pytest.fixture
def bucket(aws: Lake) -> S3Store:
    client = aws.client("s3")
    client.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return S3Store(client, "data")


def test_a_part_behind_the_end_of_an_object_is_empty(bucket: S3Store) -> None:
    bucket.write("a", b"0123456789")
    bucket.write("empty", b"")
    assert bucket.read_part("a", 8, 5) == b"89"
    assert bucket.read_part("a", 10, 5) == b""
    assert bucket.read_part("empty", 0, 5) == b""
    with pytest.raises(ObjectMissing):
        bucket.read_part("b", 10, 5)


def test_an_object_is_read_in_exactly_the_version_that_was_listed(bucket: S3Store, tmp_path: Path) -> None:
    bucket.write("a/b", b"one")
    (listed,) = bucket.list("a/")
    bucket.download(listed.key, tmp_path / "x", listed.etag)
    assert (tmp_path / "x").read_bytes() == b"one"
    bucket.write("a/b", b"two")
    with pytest.raises(ObjectChanged, match="s3://data/a/b"):
        bucket.download(listed.key, tmp_path / "x", listed.etag)
    bucket.delete(["a/b", "a/none"])
    with pytest.raises(ObjectMissing):
        bucket.download(listed.key, tmp_path / "x", listed.etag)
    with pytest.raises(ObjectMissing):
        bucket.copy("a/b", "c")
    assert bucket.size("a/b") is None


def test_listing_goes_on_behind_a_key_and_over_pages(bucket: S3Store) -> None:
    for number in range(1005):
        bucket.write(f"p/{number:04d}", b"x")
    bucket.write("q", b"x")
    assert len(list(bucket.list("p/"))) == 1005
    assert [o.key for o in bucket.list("p/", "p/1002")] == ["p/1003", "p/1004"]
    assert bucket.key(bucket.uri("p/1")) == "p/1"
    with pytest.raises(ValueError, match="expected an address below s3://data/"):
        bucket.key("s3://other/p")


class Versioned:
    """moto's Glue, which keeps versions as Glue does: not where an update says so, and whole batches of versions go at
    once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.versions: dict[tuple[str, str], list[int]] = {}
        self.requests: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_table(self, SkipArchive: bool = False, **given: Any) -> None:
        place = given["DatabaseName"], given["TableInput"]["Name"]
        before = self._client.get_table(DatabaseName=place[0], Name=place[1])["Table"]["VersionId"]
        self._client.update_table(**given)
        if not SkipArchive:
            self.versions.setdefault(place, []).append(int(before))

    def get_paginator(self, name: str) -> Any:
        assert name == "get_table_versions"
        return self

    def paginate(self, DatabaseName: str, TableName: str) -> Iterator[dict[str, Any]]:
        """In no order that anybody could lean on, three a page."""
        found = sorted(self.versions.get((DatabaseName, TableName), ()), key=lambda v: (v % 7, v))
        for start in range(0, len(found), 3):
            yield {"TableVersions": [{"VersionId": str(v)} for v in found[start : start + 3]]}

    def batch_delete_table_version(self, DatabaseName: str, TableName: str, VersionIds: list[str]) -> dict[str, Any]:
        assert 0 < len(VersionIds) <= 100
        self.requests.append(len(VersionIds))
        kept = self.versions[DatabaseName, TableName]
        self.versions[DatabaseName, TableName] = [v for v in kept if str(v) not in VersionIds]
        return {"Errors": []}


@pytest.fixture
def versioned(glue_lake: Lake) -> Versioned:
    client = Versioned(glue_lake.entries._client)  # type: ignore[attr-defined]
    glue_lake.__dict__["entries"] = GlueEntries(client)
    return client


def test_no_batch_and_no_quiet_look_leaves_a_version_behind(glue_lake: Lake, versioned: Versioned) -> None:
    """Whatever updates an entry: batches, commits of maintenance, publications, roll backs, changes of the contract."""
    landing = Landing(glue_lake, PARCELS)
    for version in (1, 2, 3):
        landing.land([change(version=version)])
        compact(glue_lake, PARCELS, EVERYTHING)
        publish(glue_lake, PARCELS)
    compact(glue_lake, PARCELS, EVERYTHING)
    publish(glue_lake, PARCELS)
    rollback(glue_lake, PARCELS)
    publish(glue_lake, dataclasses.replace(PARCELS, description="Another one."))
    maintain(glue_lake, PARCELS)
    assert versioned.versions == {}


def test_maintenance_deletes_the_versions_that_others_left_in_bounded_steps(
    glue_lake: Lake, versioned: Versioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "VERSIONS_KEPT", 5)
    monkeypatch.setattr(entries, "VERSIONS_AT_ONCE", 150)
    Landing(glue_lake, PARCELS).land([change(version=1)])
    compact(glue_lake, PARCELS, EVERYTHING)
    publish(glue_lake, PARCELS)
    place = glue_lake.published_database, "parcels"
    entry = glue_lake.entries.get(*place)
    assert entry is not None
    present = int(entry.version)
    versioned.versions[place] = list(range(present - 400, present))
    for left in (250, 100, 5, 5):
        maintain(glue_lake, PARCELS)
        assert len(versioned.versions[place]) == left
    assert versioned.versions[place] == list(range(present - 5, present))
    assert max(versioned.requests) == 100


def test_a_version_that_glue_does_not_delete_is_reported(
    glue_lake: Lake, versioned: Versioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(glue_lake, PARCELS, EVERYTHING)
    place = glue_lake.published_database, "parcels"
    versioned.versions[place] = [-1_000]
    for code, reported in (("EntityNotFoundException", False), ("AccessDeniedException", True)):
        answer = {"Errors": [{"VersionId": "-1000", "ErrorDetail": {"ErrorCode": code}}]}
        monkeypatch.setattr(versioned, "batch_delete_table_version", lambda answer=answer, **_: answer)
        with pytest.raises(RuntimeError, match=code) if reported else contextlib.nullcontext():
            glue_lake.entries.forget_versions(*place)
