"""DynamoDB's exports on the laptop: what the emulator only pretends to do, as AWS documents it.

A small HTTP server answers `ExportTableToPointInTime`, `DescribeExport`, `ListExports` and `DescribeTable` as boto3
expects them, and writes AWS's layout to the emulator's bucket: a full export by scanning the table, an incremental one
from the table's stream, which the emulator keeps from its start on. The product uses boto3 and knows nothing of it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from local.aws import REGION, Aws, make_client
from local.serving import answering
from local.stream import DynamoStream

Item = Mapping[str, Any]
Action = Callable[[Mapping[str, Any]], Mapping[str, Any]]

FILES = 4
"""Into how many files an export is cut, by the items' keys; some may be empty, as AWS's are."""


class ExportRefused(ValueError):
    """A request that AWS refuses, too: its code and what it says."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Exports:
    """The exports of one emulator. What was exported is forgotten with the process; the files stay in the bucket."""

    aws: Aws
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _done: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answer(self, action: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What AWS answers to an action of its JSON protocol. Raises `ExportRefused`."""
        actions: dict[str, Action] = {
            "ExportTableToPointInTime": self._export,
            "DescribeExport": self._describe,
            "ListExports": self._list,
            "DescribeTable": self._table,
        }
        if action not in actions:
            raise ExportRefused("UnknownOperationException", f"expected one of {', '.join(actions)}, found {action}")
        return actions[action](request)

    def _table(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Table": {"TableArn": self._arn(str(request["TableName"]))}}

    def _arn(self, table: str) -> str:
        found = self.aws.client("dynamodb").describe_table(TableName=table)
        return str(found["Table"]["TableArn"])

    def _list(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = request.get("TableArn")
        found = [d for d in self._done.values() if wanted in (None, d["TableArn"])]
        return {"ExportSummaries": [{n: d[n] for n in ("ExportArn", "ExportStatus", "ExportType")} for d in found]}

    def _describe(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        found = self._done.get(str(request["ExportArn"]))
        if found is None:
            raise ExportRefused("ExportNotFoundException", f"expected an export {request['ExportArn']}, found none")
        return {"ExportDescription": found}

    def _export(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Export now, before the answer: a laptop's table is small."""
        token = str(request.get("ClientToken") or secrets.token_hex(16))
        with self._lock:
            for found in self._done.values():
                if found["ClientToken"] == token:
                    return {"ExportDescription": found}
            made = self._exported(request, token)
            self._done[made["ExportArn"]] = made
            return {"ExportDescription": made}

    def _exported(self, request: Mapping[str, Any], token: str) -> dict[str, Any]:
        table_arn, bucket = str(request["TableArn"]), str(request["S3Bucket"])
        prefix = str(request.get("S3Prefix") or "").strip("/")
        begun = self.now()
        identity = f"{int(begun.timestamp() * 1000):014d}-{secrets.token_hex(4)}"
        window: Mapping[str, Any] = request.get("IncrementalExportSpecification") or {}
        incremental = request.get("ExportType") == "INCREMENTAL_EXPORT"
        if request.get("ExportFormat", "DYNAMODB_JSON") != "DYNAMODB_JSON":
            raise ExportRefused("ValidationException", "expected ExportFormat DYNAMODB_JSON: ION is not emulated")
        about: dict[str, Any] = {"exportType": "FULL_EXPORT", "exportTime": _stamp(begun)}
        if incremental:
            since, until = (_moment(window[name]) for name in ("ExportFromTime", "ExportToTime"))
            lines = self._changed(table_arn, since, until)
            view = window.get("ExportViewType", "NEW_AND_OLD_IMAGES")
            about = {"exportType": "INCREMENTAL_EXPORT", "exportFromTime": _stamp(since), "exportToTime": _stamp(until)}
            about |= {"outputView": view}
        else:
            lines = self._items(table_arn)
        folder = f"{prefix}/AWSDynamoDB/{identity}".lstrip("/")
        data = f"{prefix}/AWSDynamoDB/data".lstrip("/") if incremental else f"{folder}/data"
        summary = {
            "version": "2023-08-01",
            "exportArn": f"{table_arn}/export/{identity}",
            "startTime": _stamp(begun),
            "tableArn": table_arn,
            "tableId": "00000000-0000-0000-0000-000000000000",
            "s3Bucket": bucket,
            "s3Prefix": prefix,
            "s3SseAlgorithm": "AES256",
            "s3SseKmsKeyId": None,
            "manifestFilesS3Key": f"{folder}/manifest-files.json",
            "outputFormat": "DYNAMODB_JSON",
            **about,
        }
        count = _write(self.aws.client("s3"), bucket, folder, data, lines, summary, self.now)
        return {
            "ExportArn": summary["exportArn"],
            "ExportStatus": "COMPLETED",
            "ExportType": summary["exportType"],
            "ExportManifest": f"{folder}/manifest-summary.json",
            "TableArn": table_arn,
            "ClientToken": token,
            "S3Bucket": bucket,
            "S3Prefix": prefix,
            "ExportFormat": "DYNAMODB_JSON",
            "ItemCount": count,
            "ExportTime": begun.timestamp(),
        }

    def _items(self, table_arn: str) -> Iterator[tuple[str, Any]]:
        """Key and line of each item of the table."""
        pages = self.aws.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=table_arn.rpartition("/")[2], ConsistentRead=True):
            for item in page["Items"]:
                yield _key(item), {"Item": _plain(item)}

    def _changed(self, table_arn: str, since: datetime, until: datetime) -> Iterator[tuple[str, Any]]:
        """Key and line of each item that changed in the window: its last write there, with the image from before it."""
        name = table_arn.rpartition("/")[2]
        arn = self.aws.client("dynamodb").describe_table(TableName=name)["Table"]["LatestStreamArn"]
        first: dict[str, Any] = {}
        last: dict[str, tuple[int, Mapping[str, Any]]] = {}
        for record in _records(DynamoStream(self.aws.client("dynamodbstreams"), arn, REGION)):
            body = record["dynamodb"]
            second = int(body["ApproximateCreationDateTime"])
            if int(since.timestamp()) <= second < until.timestamp():
                key = _key(body["Keys"])
                first.setdefault(key, body.get("OldImage"))
                last[key] = (second, body)
        for key, (second, body) in last.items():
            new, old = body.get("NewImage"), first[key]
            if new is None and old is None:
                continue  # made and removed within the window: AWS says nothing of it
            line: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": {"N": str(second * 1_000_000)}}}
            line["Keys"] = body["Keys"]
            line |= {"NewImage": new} if new is not None else {}
            line |= {"OldImage": old} if old is not None else {}
            yield key, line


def _records(stream: DynamoStream) -> Iterator[Mapping[str, Any]]:
    """All records that the stream still has, those of a key in their order."""
    for shard in stream.shards():
        iterator: str | None = stream.iterator(shard.shard_id, None)
        while iterator is not None:
            page = stream.read(iterator, 1000)
            yield from page.records
            iterator = page.next_iterator if page.records else None


# Everything that a file's layout is made of.
def _write(
    s3: Any,
    bucket: str,
    folder: str,
    data: str,
    lines: Iterable[tuple[str, Any]],
    summary: dict[str, Any],
    now: Callable[[], datetime],
) -> int:
    """Write the files, then the manifests, as AWS does; answers how many items there are."""
    s3.put_object(Bucket=bucket, Key=f"{folder}/_started", Body=b"")
    shares: list[list[bytes]] = [[] for _ in range(FILES)]
    for key, line in lines:
        share = shares[int(hashlib.sha256(key.encode()).hexdigest(), 16) % FILES]
        share.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    entries = []
    for share in shares:
        content = gzip.compress(b"".join(share))
        key = f"{data}/{secrets.token_hex(13)}.json.gz"
        etag = s3.put_object(Bucket=bucket, Key=key, Body=content)["ETag"].strip('"')
        entries.append({"itemCount": len(share), "md5Checksum": _md5(content), "etag": etag, "dataFileS3Key": key})
    count = sum(map(len, shares))
    summary |= {"endTime": _stamp(now()), "billedSizeBytes": 0, "itemCount": count}
    files = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
    for name, content in (("manifest-files", files), ("manifest-summary", json.dumps(summary).encode())):
        s3.put_object(Bucket=bucket, Key=f"{folder}/{name}.json", Body=content)
        s3.put_object(Bucket=bucket, Key=f"{folder}/{name}.checksum", Body=_md5(content).encode())
    return count


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _key(item: Item) -> str:
    return json.dumps([item["pk"], item["sk"]], sort_keys=True)


def _plain(value: Any) -> Any:
    """What boto3 decoded, as DynamoDB's JSON has it."""
    match value:
        case Mapping():
            return {k: _plain(v) for k, v in value.items()}
        case list():
            return [_plain(v) for v in value]
        case bytes():
            return base64.b64encode(value).decode()
    return value


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: float | str) -> datetime:
    """A time in a request: seconds since 1970 in AWS's JSON protocol."""
    return datetime.fromtimestamp(float(value), UTC)


@contextmanager
def serving(exports: Exports) -> Iterator[str]:
    """Answer requests in a thread; gives the endpoint for boto3."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            action = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            try:
                status, answer = 200, exports.answer(action, request)
            except ExportRefused as error:
                status, answer = (
                    400,
                    {"__type": f"com.amazonaws.dynamodb.v20120810#{error.code}", "message": str(error)},
                )
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: the requests of a laptop are in nobody's way."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with answering(server, "exports") as port:
        yield f"http://127.0.0.1:{port}"


def client_of(url: str) -> Any:
    """A boto3 client of the exports at that endpoint."""
    return make_client("dynamodb", url)
