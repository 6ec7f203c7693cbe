"""The dbt manifest of what was deployed last, kept in the code bucket: the next deployment builds what differs.

The manifest is that of the target `local`, parsed from the deployed sources: it names no relation of an environment,
and is compared with one that is parsed in the same manner. With it is the commit that was deployed: the next one's
contracts and functions have to go together with its own, whatever was merged in between and never deployed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ops.environment import Environment, OpsError

KEY = "models/manifest.json"
COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(where: Environment, folder: Path) -> Path | None:
    """Write the manifest that was kept to `folder`, which dbt takes as `--state`, and its commit, if it is known, to
    `commit` beside it; None where none was kept yet.

    Earlier files there are removed in any case. Raises `OpsError` for an object that is no manifest.
    """
    from botocore.exceptions import ClientError

    file, commit = folder / "manifest.json", folder / "commit"
    for earlier in (file, commit):
        earlier.unlink(missing_ok=True)
    bucket, s3 = _bucket(where), where.client("s3")
    try:
        found = s3.get_object(Bucket=bucket, Key=KEY)
        body: bytes = found["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
            return None
        raise
    _check(body, f"s3://{bucket}/{KEY}")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    if COMMIT.fullmatch(named := found.get("Metadata", {}).get("commit", "")):
        commit.write_text(f"{named}\n", "utf-8")
    return file


def keep(where: Environment, file: Path, commit: str = "") -> str:
    """Keep a manifest as what the environment has, of a commit (40 hexadecimal digits; empty: not known); returns
    where. Raises `OpsError` for a file that is no manifest, or what is no commit."""
    if commit and not COMMIT.fullmatch(commit):
        raise OpsError(f"commit: expected 40 hexadecimal digits, as `git rev-parse HEAD` says them, found {commit!r}")
    if not file.is_file():
        raise OpsError(f"{file}: expected a manifest of dbt, found no file; write it with `make keep-models`")
    body = file.read_bytes()
    _check(body, str(file))
    bucket = _bucket(where)
    where.client("s3").put_object(
        Bucket=bucket, Key=KEY, Body=body, ContentType="application/json", Metadata={"commit": commit} if commit else {}
    )
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
