"""Exports as AWS documents them, and as moto writes them: found, read, verified; what does not fit is reported."""

from __future__ import annotations

import dataclasses
import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from contracts import load_contracts
from lakehouse.exports.manifest import Export, UnusableExport, check_origin, fetch, folders, read, store_of
from lakehouse.exports.mapping import Mapper, stretches_of
from lakehouse.results import Failure
from lakehouse.storage.duck import connect
from lakehouse.storage.failures import class_of
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import S3Store, Store
from tests.support.exports import AT, ID, TABLE, Layout, item_line, md5, record_line, write_export, write_manifest
from tests.support.lakes import local_lake

CONTRACTS = load_contracts()
ORDER = {"pk": {"S": "ORDER#o-1"}, "sk": {"S": "ORDER"}, "entity": {"S": "orders"}, "order_id": {"S": "o-1"}}
LINES = [item_line(ORDER), item_line(ORDER | {"order_id": {"S": "o-2"}})]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path)


@pytest.fixture
def store(lake: Lake) -> Store:
    return lake.store


def rows(lake: Lake, export: Export) -> list[dict[str, str]]:
    """All rows of an export, read file by file."""
    found: list[dict[str, str]] = []
    with connect(lake) as duck:
        mapper = Mapper(duck, CONTRACTS, export)
        for file in export.files:
            fetch(lake.store, file, path := duck.scratch / "file")
            for stretch in map(mapper.map, stretches_of(file, path)):
                for table in stretch.tables.values():
                    found += table.to_pylist()
    return found


@pytest.mark.parametrize("named_with_prefix", [True, False])
@pytest.mark.parametrize("prefix", ["", "exports/", "a/b=c/"])
@pytest.mark.parametrize("suffix", [".checksum", ".md5"])
def test_a_full_export_is_read(lake: Lake, prefix: str, named_with_prefix: bool, suffix: str) -> None:
    layout = Layout(
        [LINES, [], LINES * 500], prefix=prefix, named_with_prefix=named_with_prefix, suffix=suffix, started=False
    )
    write_export(lake.store, layout)
    (folder,) = folders(lake.store, prefix.rstrip("/"))
    export = read(lake.store, folder)
    assert (export.id, export.kind, export.at, export.table, export.items) == (ID, "full", AT, TABLE, 1002)
    assert [(f.number, f.items) for f in export.files] == [(1, 2), (2, 0), (3, 1000)]
    assert export.doubts == ()
    assert [r["order_id"] for r in rows(lake, export)] == ["o-1", "o-2"] * 501


@pytest.mark.parametrize(
    ("view", "old_images"), [("NEW_AND_OLD_IMAGES", True), ("NEW_IMAGE", False), ("NEW_IMAGES", False)]
)
def test_an_incremental_export_is_read(lake: Lake, view: str, old_images: bool) -> None:
    second = int(AT.timestamp()) - 60
    gone = ORDER | {"ttl": {"N": str(second)}}
    lines = [
        record_line(second * 1_000_000, ORDER),
        record_line(second * 1_000_000 + 7, ORDER, ORDER),
        record_line(second * 1_000_000 + 8, old=ORDER),
        record_line(second * 1_000_000 + 9, old=gone),
        record_line(second * 1_000_000 + 9, ORDER | {"_deleted": {"BOOL": True}}, ORDER),
        record_line(second * 1_000_000 + 9, pk={"S": "ORDER#o-9"}, sk={"S": "ORDER"}),
    ]
    folder = write_export(lake.store, Layout([lines], incremental=True, view=view))
    export = read(lake.store, folder)
    assert (export.kind, export.at, export.old_images) == ("incremental", AT, old_images)
    assert export.since == datetime(2026, 11, 21, 11, tzinfo=UTC)
    found = rows(lake, export)
    changed = ["insert", "modify"] if old_images else ["snapshot", "snapshot"]
    assert sorted(r["_op"] for r in found) == sorted([*changed, "remove", "expire", "remove"])
    assert {r["_version"] for r in found} == {str(second * 1_000_000 + 999_999)}
    assert {r["_seq"] for r in found} == {"0" * 40}
    assert {r["_event_id"] for r in found} == {f"write:{second * 1_000_000 + more}" for more in (0, 7, 8, 9)}


def test_exports_below_a_prefix_are_found(store: Store) -> None:
    write_export(store, Layout([LINES], id="01-a"))
    write_export(store, Layout([LINES], id="02-b", incremental=True))
    store.write("exports/AWSDynamoDB/03-c/_started", b"")
    store.write("exports/other.txt", b"")
    expected = [f"exports/AWSDynamoDB/{name}" for name in ("01-a", "02-b", "03-c")]
    assert folders(store, "exports") == expected
    assert folders(store, "") == expected
    for place in ("exports/AWSDynamoDB/01-a", "exports/AWSDynamoDB/01-a/manifest-summary.json"):
        assert folders(store, place) == expected[:1]
    assert folders(store, "elsewhere") == []
    with pytest.raises(UnusableExport, match=r"03-c: expected manifest-summary.json of a completed export, found none"):
        read(store, expected[2])


def test_an_export_that_was_copied_elsewhere_is_read(lake: Lake) -> None:
    folder = write_export(lake.store, Layout([LINES]))
    for stored in list(lake.store.list(folder)):
        lake.store.copy(stored.key, f"copies/of/{stored.key.removeprefix('exports/')}")
    lake.store.delete([o.key for o in lake.store.list("exports/")])
    assert len(rows(lake, read(lake.store, f"copies/of/AWSDynamoDB/{ID}"))) == 2


def test_an_address_leads_to_its_bucket(lake: Lake) -> None:
    assert store_of(lake, "s3://data/exports/x/") == (lake.store, "exports/x")
    assert store_of(lake, "exports/") == (lake.store, "exports")
    store, key = store_of(lake, "s3://other/p")
    assert (store.uri(""), key) == (f"{lake.local_root}/other/", "p")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outputFormat": "ION"}, "expected outputFormat DYNAMODB_JSON, found 'ION'; Amazon Ion is not read"),
        (
            {"exportType": "PARTIAL"},
            "expected exportType to be one of FULL_EXPORT, INCREMENTAL_EXPORT, found 'PARTIAL'",
        ),
        ({"exportTime": "yesterday"}, "expected exportTime to be a time"),
        ({"exportTime": "2026-11-21T12:00:00"}, "expected exportTime to be a time with its zone"),
        (
            {
                "exportType": "INCREMENTAL_EXPORT",
                "exportFromTime": "2026-11-21T12:00:00Z",
                "exportToTime": "2026-11-21T12:00:00Z",
            },
            "expected exportToTime to be after",
        ),
        ({"tableArn": "arn:aws:dynamodb:eu-west-1:123456789012:function/x"}, "expected tableArn to be the ARN of a t"),
        ({"exportArn": "a/../b c"}, "expected exportArn to be one that ends with the id"),
        ({"tableArn": 3}, "expected tableArn to be a text, found 3"),
    ],
)
def test_a_summary_that_does_not_fit_is_refused(store: Store, change: dict[str, object], words: str) -> None:
    folder = write_export(store, Layout([LINES], summary=change))
    with pytest.raises(UnusableExport, match=words) as refused:
        read(store, folder)
    assert "manifest-summary.json" in str(refused.value)
    assert class_of(refused.value, reading=True) is Failure.DATA


def test_a_view_that_nobody_knows_is_refused(store: Store) -> None:
    folder = write_export(store, Layout([LINES], incremental=True, view="OLD_IMAGE"))
    with pytest.raises(UnusableExport, match="expected outputView to be one of NEW_AND_OLD_IMAGES"):
        read(store, folder)


@pytest.mark.parametrize(
    ("arn", "found"),
    [
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/gavel-prod", "gavel-prod"),
        ("arn:aws:dynamodb:eu-west-1:210987654321:table/gavel-unit-table", "210987654321"),
        ("arn:aws-cn:dynamodb:cn-north-1:210987654321:table/Other.table_1", "Other.table_1"),
    ],
)
def test_an_export_of_another_table_or_account_is_not_the_lake_s(lake: Lake, arn: str, found: str) -> None:
    ours = dataclasses.replace(lake, operational_table=TABLE, bucket="gavel-unit-data-123456789012")
    check_origin(ours, read(lake.store, write_export(lake.store, Layout([LINES]))))
    other = read(lake.store, write_export(lake.store, Layout([LINES], summary={"tableArn": arn})))
    with pytest.raises(UnusableExport, match=rf"expected one of (table|account) .*found one of {found}"):
        check_origin(ours, other)


def test_an_export_of_a_moment_that_is_to_come_is_not_the_lake_s(lake: Lake) -> None:
    for ahead, refused in ((timedelta(minutes=9), False), (timedelta(minutes=11), True), (timedelta(days=400), True)):
        for incremental in (False, True):
            layout = Layout([LINES], at=lake.now() + ahead, incremental=incremental)
            export = read(lake.store, write_export(lake.store, layout))
            if refused:
                with pytest.raises(UnusableExport, match="expected a moment that is over"):
                    check_origin(lake, export)
            else:
                check_origin(lake, export)


def test_a_file_that_is_named_twice_is_reported_however_it_is_spelled(store: Store) -> None:
    folder = write_export(store, Layout([LINES]))
    entry = json.loads(store.read(f"{folder}/manifest-files.json"))
    other = {**entry, "dataFileS3Key": entry["dataFileS3Key"].removeprefix("exports/")}
    write_manifest(store, Layout([]), "manifest-files", f"{json.dumps(entry)}\n{json.dumps(other)}\n".encode())
    with pytest.raises(UnusableExport, match="that comes once"):
        read(store, folder)


@pytest.mark.parametrize("name", ["manifest-summary", "manifest-files"])
def test_a_manifest_that_its_checksum_refutes_is_refused(store: Store, name: str) -> None:
    folder = write_export(store, Layout([LINES]))
    store.write(f"{folder}/{name}.json", store.read(f"{folder}/{name}.json") + b" ")
    with pytest.raises(UnusableExport, match=rf"{name}.json: expected the MD5 .* of {name}.checksum, found"):
        read(store, folder)


def test_a_manifest_without_its_checksum_leaves_a_doubt(store: Store) -> None:
    export = read(store, write_export(store, Layout([LINES], suffix="")))
    assert export.doubts == (f"{store.uri(export.folder)}: expected a checksum of each manifest, found 0 of 2",)


def test_counts_that_do_not_fit_leave_a_doubt(store: Store) -> None:
    export = read(store, write_export(store, Layout([LINES], summary={"itemCount": 3})))
    assert "expected 3 items (itemCount), found files of 2 items" in export.doubts[0]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"dataFileS3Key": None}, "line 1, found None and 2"),
        ({"itemCount": "2"}, "line 1, found .* and '2'"),
        ({"md5Checksum": "abc"}, "expected an MD5 as base64 in line 1"),
        ("twice", "that comes once and an itemCount in line 2"),
        ("torn", "manifest-files.json: expected JSON"),
        ("missing", "expected the list of the export's files, found none"),
    ],
)
def test_a_list_of_files_that_does_not_fit_is_refused(store: Store, entry: dict[str, object] | str, words: str) -> None:
    layout = Layout([LINES])
    folder = write_export(store, layout)
    line = store.read(f"{folder}/manifest-files.json")
    if entry == "missing":
        store.delete([f"{folder}/manifest-files.json"])
    else:
        content = line * 2 if entry == "twice" else line[:20] if isinstance(entry, str) else b""
        write_manifest(store, layout, "manifest-files", content or json.dumps(json.loads(line) | entry).encode())
    with pytest.raises(UnusableExport, match=words):
        read(store, folder)


def test_a_file_that_is_gone_or_changed_is_reported(lake: Lake, tmp_path: Path) -> None:
    export = read(lake.store, write_export(lake.store, Layout([LINES, LINES])))
    one, other = export.files
    lake.store.delete([one.key])
    lake.store.write(other.key, lake.store.read(other.key)[:-9])
    with pytest.raises(UnusableExport, match=r"0000.json.gz: expected this file of the export, found none"):
        fetch(lake.store, one, tmp_path / "x")
    with pytest.raises(UnusableExport, match=rf"expected the MD5 {other.md5} of the manifest, found"):
        fetch(lake.store, other, tmp_path / "x")


@pytest.mark.parametrize("cut", [1, 9, 40, 60])
def test_a_file_that_is_cut_is_reported_even_if_no_checksum_says_so(lake: Lake, cut: int) -> None:
    export = read(lake.store, write_export(lake.store, Layout([LINES * 20])))
    (file,) = export.files
    lake.store.write(file.key, lake.store.read(file.key)[:-cut])
    with pytest.raises(UnusableExport, match="expected a whole file of gzip"):
        rows(lake, dataclasses.replace(export, files=(dataclasses.replace(file, md5=None),)))


def test_items_that_the_manifest_has_not_counted_are_reported(lake: Lake) -> None:
    export = read(lake.store, write_export(lake.store, Layout([LINES])))
    changed = dataclasses.replace(export, files=(dataclasses.replace(export.files[0], items=3),))
    with pytest.raises(UnusableExport, match="expected 3 items as the manifest says, found 2"):
        rows(lake, changed)


def test_an_empty_file_of_no_bytes_is_an_empty_file(lake: Lake) -> None:
    layout = Layout([LINES, []])
    folder = write_export(lake.store, layout)
    entries = [json.loads(line) for line in lake.store.read(f"{folder}/manifest-files.json").splitlines()]
    entries[1]["md5Checksum"] = md5(b"")
    lake.store.write(entries[1]["dataFileS3Key"], b"")
    write_manifest(lake.store, layout, "manifest-files", "\n".join(map(json.dumps, entries)).encode())
    assert len(rows(lake, read(lake.store, folder))) == 2


@mock_aws
def test_an_export_of_moto_is_read(lake: Lake, tmp_path: Path) -> None:
    """It writes the items as AWS does, but no manifest: the caller says when it was taken."""
    dynamodb, s3 = (boto3.client(name, region_name="eu-west-1") for name in ("dynamodb", "s3"))
    s3.create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    arn = dynamodb.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in (("pk", "HASH"), ("sk", "RANGE"))],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]["TableArn"]
    dynamodb.update_continuous_backups(
        TableName="t", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    exact = "12345678901234567890123456789012345678"
    dynamodb.put_item(TableName="t", Item=ORDER | {"more": {"NS": ["1", exact]}, "é": {"B": b"\x00\xff"}})
    requested = dynamodb.export_table_to_point_in_time(TableArn=arn, S3Bucket="exports", S3Prefix="p")[
        "ExportDescription"
    ]
    while (
        dynamodb.describe_export(ExportArn=requested["ExportArn"])["ExportDescription"]["ExportStatus"] == "IN_PROGRESS"
    ):
        time.sleep(0)
    store = S3Store(s3, "exports")
    (folder,) = folders(store, "p")
    with pytest.raises(UnusableExport, match="say when it was taken"):
        read(store, folder)
    export = read(store, folder, taken_at=AT)
    assert export.doubts
    path = tmp_path / "file.gz"
    fetch(store, export.files[0], path)
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 1
    with connect(lake) as duck:
        (stretch,) = stretches_of(export.files[0], path)
        (row,) = Mapper(duck, CONTRACTS, export).map(stretch).tables["orders"].to_pylist()
    assert (row["order_id"], row["_op"]) == ("o-1", "snapshot")
    assert json.loads(row["_extra"])["more"] == {"NS": ["1", exact]}
