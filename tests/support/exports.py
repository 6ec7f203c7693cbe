"""DynamoDB exports built to the layout that AWS documents, as files of a store."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakehouse.storage.store import Store

ID = "01693685827463-2d8752fd"
AT = datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)
TABLE = "gavel-unit-table"
ACCOUNT = "arn:aws:dynamodb:eu-west-1:123456789012:table/"


@dataclass
class Layout:
    """What may differ from one export to another. `summary` overrides members of the summary (None: leaves out);
    `files` has the lines of each file, without their ends."""

    files: Sequence[Sequence[bytes]]
    id: str = ID
    prefix: str = "exports/"
    incremental: bool = False
    named_with_prefix: bool = True
    suffix: str = ".checksum"
    started: bool = True
    at: datetime = AT
    since: datetime = datetime(2026, 11, 21, 11, tzinfo=UTC)
    view: str = "NEW_AND_OLD_IMAGES"
    table: str = TABLE
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"{self.prefix}AWSDynamoDB/{self.id}"


def item_line(item: Mapping[str, Any]) -> bytes:
    """A line of a full export."""
    return json.dumps({"Item": item}, ensure_ascii=False, separators=(",", ":")).encode()


def record_line(
    micros: int, new: Mapping[str, Any] | None = None, old: Mapping[str, Any] | None = None, **keys: Any
) -> bytes:
    """A line of an incremental export."""
    image = new or old or keys
    record: dict[str, Any] = {
        "Metadata": {"WriteTimestampMicros": {"N": str(micros)}},
        "Keys": {name: image[name] for name in ("pk", "sk") if name in image},
    }
    if new is not None:
        record["NewImage"] = new
    if old is not None:
        record["OldImage"] = old
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def write_export(store: Store, layout: Layout) -> str:
    """Write an export; answers its folder."""
    entries = []
    data = f"{layout.prefix}AWSDynamoDB/{'' if layout.incremental else layout.id + '/'}data/"
    for number, lines in enumerate(layout.files):
        content = gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
        key = f"{data}{layout.id[-4:]}{number:04d}.json.gz"
        store.write(key, content)
        entries.append(
            {
                "itemCount": len(lines),
                "md5Checksum": md5(content),
                "etag": hashlib.md5(hashlib.md5(content).digest()).hexdigest() + "-1",
                "dataFileS3Key": key if layout.named_with_prefix else key.removeprefix(layout.prefix),
            }
        )
    write_manifest(store, layout, "manifest-files", "".join(json.dumps(e) + "\n" for e in entries).encode())
    write_manifest(store, layout, "manifest-summary", json.dumps(summary_of(layout)).encode())
    if layout.started:
        store.write(f"{layout.folder}/_started", b"")
    return layout.folder


def summary_of(layout: Layout) -> dict[str, Any]:
    """The document `manifest-summary.json`."""
    document: dict[str, Any] = {
        "version": "2023-08-01",
        "exportArn": f"{ACCOUNT}{layout.table}/export/{layout.id}",
        "startTime": "2026-11-21T12:00:01.028Z",
        "endTime": "2026-11-21T12:05:43.897Z",
        "tableArn": f"{ACCOUNT}{layout.table}",
        "tableId": "12345a12-abcd-123a-ab12-1234abc12345",
        "s3Bucket": "data",
        "s3Prefix": layout.prefix.rstrip("/"),
        "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{layout.folder}/manifest-files.json",
        "billedSizeBytes": 0,
        "itemCount": sum(map(len, layout.files)),
        "outputFormat": "DYNAMODB_JSON",
    }
    if layout.incremental:
        document |= {
            "exportType": "INCREMENTAL_EXPORT",
            "exportFromTime": stamp(layout.since),
            "exportToTime": stamp(layout.at),
            "outputView": layout.view,
        }
    else:
        document |= {"exportType": "FULL_EXPORT", "exportTime": stamp(layout.at)}
    document |= layout.summary
    return {name: value for name, value in document.items() if value is not None}


def write_manifest(store: Store, layout: Layout, name: str, content: bytes) -> None:
    """Write a manifest with its checksum."""
    store.write(f"{layout.folder}/{name}.json", content)
    if layout.suffix:
        store.write(f"{layout.folder}/{name}{layout.suffix}", md5(content).encode())


def md5(content: bytes) -> str:
    """The MD5 of a content as base64."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def stamp(moment: datetime) -> str:
    """A time as AWS writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
