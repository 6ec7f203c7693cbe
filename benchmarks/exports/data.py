"""A full export of the house's table, as DynamoDB writes it: bids, orders, customers and lots in gzipped files."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from contracts import Contract, Field, load_contracts
from contracts.item import index_keys, item_keys, to_attribute
from contracts.types import BooleanType, DateType, DecimalType, IntegerType, ListType, TimestampType

AT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
ID = "01790000000000-abcdef01"
PREFIX = "exports"
_SHARES = {"bids": 0.55, "orders": 0.25, "customers": 0.1, "lots": 0.1}
_ITEMS_OF_A_FILE = 100_000
_VERSIONS = 10**12  # microseconds before the export in which items were written


def write_export(bucket: Path, items: int) -> int:
    """Write an export of about so many items below a bucket's folder; returns how many bytes of JSON they are."""
    folder = bucket / PREFIX / "AWSDynamoDB" / ID
    (folder / "data").mkdir(parents=True)
    made, decompressed, entries = _items(items), 0, []
    for number in range(-(-items // _ITEMS_OF_A_FILE)):
        lines = [orjson.dumps({"Item": item}) + b"\n" for item in islice(made, _ITEMS_OF_A_FILE)]
        content = gzip.compress(b"".join(lines), 6, mtime=0)
        path = folder / "data" / f"{number:04d}.json.gz"
        path.write_bytes(content)
        decompressed += sum(map(len, lines))
        key = str(path.relative_to(bucket))
        entries.append({"itemCount": len(lines), "md5Checksum": _md5(content), "etag": "x-1", "dataFileS3Key": key})
    _write(folder, "manifest-files", "".join(json.dumps(entry) + "\n" for entry in entries))
    _write(folder, "manifest-summary", json.dumps(_summary(folder.relative_to(bucket), entries)))
    return decompressed


def _summary(folder: Path, entries: list[dict[str, Any]]) -> dict[str, Any]:
    table = "arn:aws:dynamodb:eu-west-1:123456789012:table/gavel-bench"
    return {
        "version": "2023-08-01",
        "exportArn": f"{table}/export/{ID}",
        "tableArn": table,
        "exportTime": f"{AT:%Y-%m-%dT%H:%M:%S.000Z}",
        "s3Bucket": "data",
        "s3Prefix": PREFIX,
        "manifestFilesS3Key": f"{folder}/manifest-files.json",
        "itemCount": sum(entry["itemCount"] for entry in entries),
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
    }


def _write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.json").write_text(text)
    (folder / f"{name}.checksum").write_text(_md5(text.encode()))


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _items(count: int) -> Iterator[dict[str, Any]]:
    contracts, chance = load_contracts(), random.Random(1)  # noqa: S311 - the same items in each run
    names, shares = list(_SHARES), list(_SHARES.values())
    at = int(AT.timestamp()) * 1_000_000
    for number in range(count):
        contract = contracts[chance.choices(names, shares)[0]]
        values = {f.name: _value(contract, f, number) for f in contract.fields}
        item = {name: to_attribute(value) for name, value in values.items() if value is not None}
        item |= {k: {"S": v} for k, v in {**item_keys(contract, values), **index_keys(contract, values)}.items()}
        yield item | {
            "entity": {"S": contract.name},
            "_contract": {"S": contract.version},
            "_version": {"N": str(at - 1_000_000 - chance.randrange(_VERSIONS))},
            "_by": {"S": f"user:{chance.getrandbits(128):032x}"},
        }


def _value(contract: Contract, field: Field, number: int) -> Any:
    if field.enum:
        return field.enum[number % len(field.enum)]
    match field.type:
        case IntegerType():
            return number
        case DecimalType():
            return Decimal(number) / 100
        case BooleanType():
            return bool(number % 2)
        case TimestampType():
            return f"2026-09-{1 + number % 20:02d}T10:{number % 60:02d}:00Z"
        case DateType():
            return "2026-10-01"
        case ListType():
            return ["a", f"b{number}"] if contract.name == "customers" else None
    known = {"currency": "EUR", "country_code": "DE", "country": "DE"}
    return known.get(field.name, f"{field.name[:3]}-{number:09d}")
