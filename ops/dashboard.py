"""The staff dashboard's built files, and how they come to the bucket that an environment's distribution serves.

Files below `assets/` are named by their content: they go first, and stay, because an open page may load them later.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops.environment import Environment, OpsError

ASSETS = "assets/"
SETTINGS = "config.json"
PAGE = "index.html"
OUTPUTS = frozenset({"SiteBucketName", "DistributionId", "DashboardUrl", "Issuer", "ClientId", "SignInUrl"})
"""Of the dashboard's stack, all of which are needed."""
_TYPES = mimetypes.MimeTypes()
"""Those that Python knows, whatever this machine adds."""


def headers(name: str) -> dict[str, str]:
    """Type and caching of a built file, by its name in the folder, for example `assets/index-1.js`."""
    kind = _TYPES.guess_type(name)[0] or "application/octet-stream"
    kind += "; charset=utf-8" if kind.startswith("text/") else ""
    lasting = name.startswith(ASSETS)
    return {"Content-Type": kind, "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache"}


@dataclass(frozen=True)
class _File:
    name: str
    body: bytes

    @property
    def checksum(self) -> str:
        return base64.b64encode(hashlib.sha256(self.body).digest()).decode()

    def is_in(self, client: Any, bucket: str) -> bool:
        """Whether the bucket has it so, headers included."""
        try:
            there = client.head_object(Bucket=bucket, Key=self.name, ChecksumMode="ENABLED")
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return False
            raise
        found = {"Content-Type": there.get("ContentType"), "Cache-Control": there.get("CacheControl")}
        return there.get("ChecksumSHA256") == self.checksum and found == headers(self.name)

    def put(self, client: Any, bucket: str) -> None:
        sent = headers(self.name)
        client.put_object(
            Bucket=bucket, Key=self.name, Body=self.body, ChecksumAlgorithm="SHA256",
            ContentType=sent["Content-Type"], CacheControl=sent["Cache-Control"],
        )  # fmt: skip


def publish(where: Environment, folder: Path, say: Callable[[str], None], *, dry_run: bool) -> None:
    """Bring the files of a built `folder` to an environment, and let the distribution fetch its pages again.

    What is there already is not sent, and nothing is removed. A page never names what is not there: assets come first,
    the page last, so whoever stops in between leaves the earlier dashboard. Raises `OpsError`.
    """
    outputs = _outputs(where)
    bucket = outputs["SiteBucketName"]
    files = [*_in_order(folder, settings(where.name, outputs))]
    s3 = where.client("s3")
    new = [file for file in files if not file.is_in(s3, bucket)]
    for file in new:
        say(f"{'would send' if dry_run else 'sending'} {file.name}, {len(file.body):,} bytes")
        if not dry_run:
            file.put(s3, bucket)
    if not dry_run:
        paths = [f"/{quote(file.name)}" for file in files if not file.name.startswith(ASSETS)]
        _fetched_again(where, outputs["DistributionId"], paths)
    say(f"{outputs['DashboardUrl']}: {len(new)} of {len(files)} files {'would be' if dry_run else 'were'} sent")


def settings(environment: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    """What pages must know of an environment, none of it secret, from the outputs of its stack."""
    return {
        "environment": environment,
        "api": f"{outputs['DashboardUrl']}/api",
        "signIn": {
            "authority": outputs["Issuer"],
            "clientId": outputs["ClientId"],
            "authorize": f"{outputs['SignInUrl']}/oauth2/authorize",
            "token": f"{outputs['SignInUrl']}/oauth2/token",
            "signOut": f"{outputs['SignInUrl']}/logout",
        },
    }


def _outputs(where: Environment) -> dict[str, str]:
    client = where.client("cloudformation")
    name = where.resource("dashboard")
    try:
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise OpsError(f"expected the stack {name}, found none: deploy it first, see docs/deploy.md") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
    if missing := OUTPUTS - outputs.keys():
        raise OpsError(
            f"expected {', '.join(sorted(missing))} of the stack {name}, which is {stack['StackStatus']}, found none: "
            "deploy it first, see docs/deploy.md"
        )
    return outputs


def _in_order(folder: Path, known: Mapping[str, Any]) -> Iterator[_File]:
    """The files in the order in which they are sent: what others name comes before them. Hidden ones are nobody's: file
    managers leave them."""
    if not (folder / PAGE).is_file():
        raise OpsError(f"expected built files with {PAGE} in {folder}, found none: `make dashboard` builds them")
    if links := [str(path) for path in folder.rglob("*") if path.is_symlink()]:
        raise OpsError(f"expected files that were built, found links, which may lead anywhere: {', '.join(links)}")
    inside = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = {path.as_posix() for path in inside if not any(part.startswith(".") for part in path.parts)}
    for name in sorted(names - {PAGE, SETTINGS}):
        yield _File(name, (folder / name).read_bytes())
    yield _File(SETTINGS, json.dumps(known, indent=2).encode())
    yield _File(PAGE, (folder / PAGE).read_bytes())


def _fetched_again(where: Environment, distribution: str, paths: list[str]) -> None:
    """Also where nothing was sent: an earlier run may have ended before it came here."""
    where.client("cloudfront").create_invalidation(
        DistributionId=distribution,
        InvalidationBatch={"Paths": {"Quantity": len(paths), "Items": paths}, "CallerReference": str(uuid.uuid4())},
    )
