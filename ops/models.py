"""The dbt manifest of what was deployed last, kept in the code bucket: the next deployment builds what differs.

The manifest is that of the target `local`, parsed from the deployed sources: it names no relation of an environment,
and is compared with one that is parsed in the same manner.
"""

from __future__ import annotations

import json
from pathlib import Path

from ops.environment import Environment, OpsError

KEY = "models/manifest.json"


def fetch(where: Environment, folder: Path) -> Path | None:
    """Write the manifest that was kept to `folder`, which dbt takes as `--state`; None where none was kept yet.

    An earlier file there is removed in any case. Raises `OpsError` for an object that is no manifest.
    """
    from botocore.exceptions import ClientError

    file = folder / "manifest.json"
    file.unlink(missing_ok=True)
    bucket, s3 = _bucket(where), where.client("s3")
    try:
        body: bytes = s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
            return None
        raise
    _check(body, f"s3://{bucket}/{KEY}")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    return file


def keep(where: Environment, file: Path) -> str:
    """Keep a manifest as what the environment has; returns where. Raises `OpsError` for a file that is no manifest."""
    if not file.is_file():
        raise OpsError(f"{file}: expected a manifest of dbt, found no file; write it with `make keep-models`")
    body = file.read_bytes()
    _check(body, str(file))
    bucket = _bucket(where)
    where.client("s3").put_object(Bucket=bucket, Key=KEY, Body=body, ContentType="application/json")
    return f"s3://{bucket}/{KEY}"


def _bucket(where: Environment) -> str:
    account = where.client("sts").get_caller_identity()["Account"]
    return f"{where.resource('code')}-{account}"


def _check(body: bytes, place: str) -> None:
    try:
        read = json.loads(body)
    except ValueError:
        read = None
    if not isinstance(read, dict) or not {"metadata", "nodes"} <= read.keys():
        raise OpsError(f"{place}: expected a manifest of dbt, found something else; keep one with `make keep-models`")
