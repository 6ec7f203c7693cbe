"""The AWS calls that a piece of work makes, as IAM sees them: an action and the resource that it is on.

Clients of boto3 are heard as they are called; DuckDB, which reads S3 by itself, by its own log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from botocore.client import BaseClient

from tests.support.policies import REGION
from tests.support.recorded_rights import unnamed

Call = tuple[str, str]
"""An action and its resource: the ARN without partition, account and region, or `*` where AWS knows none."""

_S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
}


def calls_of(service: str, operation: str, parameters: Mapping[str, Any]) -> set[Call]:
    """What IAM decides about for one operation of a client; raises `KeyError` for one that nobody mapped."""
    return set(_OF_SERVICE[service](operation, parameters))


def _s3(operation: str, given: Mapping[str, Any]) -> Iterator[Call]:
    bucket = f"s3:::{given['Bucket']}"
    if operation in ("HeadBucket", "ListObjectsV2", "ListObjectVersions"):
        yield f"s3:{_S3_ACTIONS[operation]}", bucket
    elif operation == "DeleteObjects":
        for each in given["Delete"]["Objects"]:
            yield ("s3:DeleteObjectVersion" if "VersionId" in each else "s3:DeleteObject"), f"{bucket}/{each['Key']}"
    else:
        if operation == "CopyObject":
            source = given["CopySource"]
            yield "s3:GetObject", f"s3:::{source['Bucket']}/{source['Key']}"
        version = "Version" if "VersionId" in given else ""
        yield f"s3:{_S3_ACTIONS.get(operation, operation)}{version}", f"{bucket}/{given['Key']}"


def _glue(operation: str, given: Mapping[str, Any]) -> Iterator[Call]:
    action = f"glue:{operation}"
    yield action, "glue:catalog"
    database = given.get("DatabaseName") or given.get("DatabaseInput", {}).get("Name") or given.get("Name")
    if database:
        yield action, f"glue:database/{database}"
    table = given.get("TableName") or given.get("TableInput", {}).get("Name") or given.get("Name")
    if "DatabaseName" in given:
        yield action, f"glue:table/{database}/{table or 'any'}"


def _named(service: str, kind: str, name: str) -> Any:
    def calls(operation: str, given: Mapping[str, Any]) -> Iterator[Call]:
        last = str(given[name]).rpartition("/")[2].rpartition(":")[2]
        yield f"{service}:{operation}", f"{service}:{kind}{last}"

    return calls


def _sqs(operation: str, given: Mapping[str, Any]) -> Iterator[Call]:
    yield f"sqs:{operation}", f"sqs:{given.get('QueueName') or given['QueueUrl'].rpartition('/')[2]}"


def _secrets(operation: str, given: Mapping[str, Any]) -> Iterator[Call]:
    yield f"secretsmanager:{operation}", f"secretsmanager:secret:{given.get('SecretId') or given['Name']}-a1b2c3"


def _dynamodb(operation: str, given: Mapping[str, Any]) -> Iterator[Call]:
    if operation == "TransactWriteItems":
        for part in given["TransactItems"]:
            ((name, what),) = part.items()
            yield from _dynamodb(f"{name}Item", what)
        return
    many = list(given["RequestItems"]) if operation == "BatchGetItem" else [given.get("TableName") or given["TableArn"]]
    for table in many:
        yield f"dynamodb:{operation}", f"dynamodb:table/{str(table).rpartition('/')[2]}"


def _anything(service: str) -> Any:
    return lambda operation, given: iter([(f"{service}:{operation}", "*")])


_OF_SERVICE: dict[str, Any] = {
    "s3": _s3,
    "glue": _glue,
    "sqs": _sqs,
    "dynamodb": _dynamodb,
    "secretsmanager": _secrets,
    "sns": _named("sns", "", "TopicArn"),
    "kms": _named("kms", "key/", "KeyId"),
    "athena": _named("athena", "workgroup/", "WorkGroup"),
    "cloudwatch": _anything("cloudwatch"),
}


@contextmanager
def recorded() -> Iterator[set[Call]]:
    """The calls of everything that runs in this process meanwhile."""
    from lakehouse.storage import requests

    calls: set[Call] = set()
    with pytest.MonkeyPatch.context() as patch:
        call, taken = BaseClient._make_api_call, requests.take_logged  # type: ignore[attr-defined]

        def heard(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
            calls.update(calls_of(client.meta.service_model.service_name, operation, parameters))
            return call(client, operation, parameters)

        def read(connection: Any) -> Any:
            rows = connection.execute("SELECT request.type, request.url FROM duckdb_logs_parsed('HTTP')").fetchall()
            calls.update(_of_engine(kind, url) for kind, url in rows)
            return taken(connection)

        patch.setattr(BaseClient, "_make_api_call", heard)
        patch.setattr(requests, "take_logged", read)
        yield calls


def general(call: Call) -> str:
    """A call as files of recorded calls have it: action and ARN, without what differs from run to run. A table of Glue
    is `x`, and so is of an object's key what no right names."""
    action, resource = call
    service, _, rest = resource.partition(":")
    if resource == "*":
        return f"{action} *"
    if service != "s3":
        rest = re.sub(r"^(table/gavel_\w+)/.+", r"\1/x", rest)
        return unnamed(f"{action} arn:aws:{service}:{REGION}:{{account}}:{rest}")
    bucket, _, key = rest.removeprefix("::").partition("/")
    return unnamed(f"{action} arn:aws:s3:::{bucket}") + (f"/{_of_keys(key)}" if key else "")


def _of_keys(key: str) -> str:
    if key == "retrieval/questions.json":
        return key
    folder, _, rest = key.partition("/")
    if folder == "warehouse":
        return f"{folder}/x/{rest.split('/')[1]}/x"
    return f"{folder}/x{PurePosixPath(key).suffix if folder == 'erasures' else ''}"


def _of_engine(kind: str, url: str) -> Call:
    bucket, _, key = unquote(urlsplit(url).path).lstrip("/").partition("/")
    if not key:
        return "s3:ListBucket", f"s3:::{bucket}"
    return ("s3:GetObject" if kind in ("GET", "HEAD") else "s3:PutObject"), f"s3:::{bucket}/{key}"
