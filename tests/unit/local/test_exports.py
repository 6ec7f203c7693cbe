"""The laptop's exports: AWS's layout, as the product's own reader proves, of the table and of its stream."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lakehouse.exports.manifest import Export, fetch, folders, read
from lakehouse.exports.mapping import stretches_of
from lakehouse.storage.store import S3Store
from local import exports as laptop
from local.exports import ExportRefused, Exports

NOW = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)


class Moto:
    """Clients of moto, which has no stream that could be read."""

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name="eu-west-1")


@pytest.fixture
def aws() -> Iterator[Moto]:
    with mock_aws():
        moto = Moto()
        moto.client("s3").create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        moto.client("dynamodb").create_table(
            TableName="t",
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in (("pk", "HASH"), ("sk", "RANGE"))],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        yield moto


def exported(aws: Moto, tmp_path: Any, **more: Any) -> tuple[Export, list[bytes]]:
    """Request an export as boto3 would; what the product reads of it."""
    exports = Exports(aws, lambda: NOW)  # type: ignore[arg-type]
    arn = exports.answer("DescribeTable", {"TableName": "t"})["Table"]["TableArn"]
    request = {"TableArn": arn, "S3Bucket": "data", "S3Prefix": "exports", "ClientToken": "x", **more}
    made = exports.answer("ExportTableToPointInTime", request)["ExportDescription"]
    assert exports.answer("ExportTableToPointInTime", request)["ExportDescription"] == made
    assert [s["ExportArn"] for s in exports.answer("ListExports", {"TableArn": arn})["ExportSummaries"]] == [
        made["ExportArn"]
    ]
    assert exports.answer("DescribeExport", {"ExportArn": made["ExportArn"]})["ExportDescription"] == made
    store = S3Store(aws.client("s3"), "data")
    export = read(store, folders(store, made["ExportManifest"])[0])
    assert export.doubts == ()
    lines = []
    for file in export.files:
        fetch(store, file, path := tmp_path / "file")
        lines += [line for stretch in stretches_of(file, path) for line in stretch.text.splitlines()]
    return export, lines


def test_a_full_export_has_every_item(aws: Moto, tmp_path: Any) -> None:
    item = {
        "pk": {"S": "a"},
        "sk": {"S": "é"},
        "b": {"B": b"\x00"},
        "n": {"NS": ["1", "2.5"]},
        "l": {"L": [{"BOOL": True}]},
    }
    aws.client("dynamodb").put_item(TableName="t", Item=item)
    for n in range(20):
        aws.client("dynamodb").put_item(TableName="t", Item={"pk": {"S": f"k{n}"}, "sk": {"S": "x"}})
    export, lines = exported(aws, tmp_path)
    assert (export.kind, export.at, export.table, export.items, len(export.files)) == ("full", NOW, "t", 21, 4)
    assert len(lines) == 21
    assert any('{"Item":{"pk":{"S":"a"},"sk":{"S":"é"},"b":{"B":"AA=="}'.encode() in line for line in lines)


def test_an_incremental_export_has_the_last_write_of_what_changed_in_its_window(
    aws: Moto, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(key: str, second: int, new: str | None, old: str | None) -> dict[str, Any]:
        keys = {"pk": {"S": key}, "sk": {"S": "x"}}
        body: dict[str, Any] = {"ApproximateCreationDateTime": int(NOW.timestamp()) + second, "Keys": keys}
        body |= {"NewImage": keys | {"v": {"S": new}}} if new else {}
        body |= {"OldImage": keys | {"v": {"S": old}}} if old else {}
        return {"dynamodb": body}

    records = [
        record("before", -3601, "1", None),
        record("twice", -3600, "1", "0"),
        record("twice", -10, "2", "1"),
        record("removed", -9, None, "1"),
        record("made and removed", -9, "1", None),
        record("made and removed", -8, None, "1"),
        record("made", -7, "1", None),
        record("after", 1, "1", None),
    ]
    monkeypatch.setattr(laptop, "_records", lambda stream: iter(records))
    window = {"ExportFromTime": (NOW - timedelta(hours=1)).timestamp(), "ExportToTime": NOW.timestamp()}
    export, lines = exported(aws, tmp_path, ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification=window)
    assert (export.kind, export.since, export.at) == ("incremental", NOW - timedelta(hours=1), NOW)
    assert len(lines) == 3
    (twice,) = [line for line in lines if b"twice" in line]
    assert b'"NewImage":{"pk":{"S":"twice"},"sk":{"S":"x"},"v":{"S":"2"}}' in twice
    assert b'"OldImage":{"pk":{"S":"twice"},"sk":{"S":"x"},"v":{"S":"0"}}' in twice
    assert str((int(NOW.timestamp()) - 10) * 1_000_000).encode() in twice


def test_what_aws_refuses_is_refused(aws: Moto) -> None:
    exports = Exports(aws)  # type: ignore[arg-type]
    with pytest.raises(ExportRefused) as unknown:
        exports.answer("DescribeExport", {"ExportArn": "x"})
    assert unknown.value.code == "ExportNotFoundException"
    with pytest.raises(ExportRefused, match="found PutItem"):
        exports.answer("PutItem", {})
    with pytest.raises(ExportRefused, match="ION is not emulated"):
        exports.answer("ExportTableToPointInTime", {"TableArn": "a/b", "S3Bucket": "data", "ExportFormat": "ION"})
