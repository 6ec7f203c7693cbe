"""Where one environment's lake is, and the clients that reach it, made on first use.

Holds addresses and connections only: what is done with them belongs to the other modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from lakehouse.storage import secrets
from lakehouse.storage.entries import GlueEntries, LocalEntries
from lakehouse.storage.requests import Meter
from lakehouse.storage.store import LocalStore, S3Store

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.athena import AthenaSettings
    from lakehouse.storage.entries import Entries
    from lakehouse.storage.store import Store

CHANGES = "_changes"
"""What a table of changes adds to the entity's name."""

_making = Lock()
"""A session is not for several threads at once; its clients are."""


def utc_now() -> datetime:
    """The present moment; only for watermarks and bookkeeping, never to order changes."""
    return datetime.now(UTC)


def read_timestamp(value: Any) -> datetime:
    """A timestamp in an answer of AWS. The form in which S3 lists objects is read here: boto3's way takes twice as long
    as all the rest of a listing."""
    from botocore.utils import parse_timestamp

    if isinstance(value, str) and value.endswith("Z"):
        return datetime.fromisoformat(value)
    return parse_timestamp(value)


NO_PROFILE: dict[str, tuple[Any, Any, Any, Any]] = {"profile": (None, None, None, None)}
"""Variables of a botocore session that reads no profile: with one that is not there, it makes no client at all."""


@dataclass(frozen=True)
class Lake:
    """One environment's lake: the bucket, the Glue databases, and how to reach them.

    `endpoint` is set for an emulator only; with `placeholders` it is sent these in place of the credentials, and of the
    profile, that boto3 would find. `local_root` swaps S3 and Glue for a folder (tests, experiments): the
    same keys below `local_root/<bucket>`, the same entries as JSON files. `scratch` holds a batch's temporary files.
    `athena` is None where there is none to merge on: entities that ask for it are merged embedded then.
    `signing_key` is the KMS key (id or alias) that signs proofs of erasures, if there is one. `operational_table` is
    the table in DynamoDB that the lake follows; None where it is made for no environment. `kept` is for what other
    modules make once for each lake.
    """

    bucket: str
    landing_database: str
    work_database: str
    published_database: str
    region: str = "eu-west-1"
    endpoint: str | None = None
    placeholders: bool = False
    local_root: Path | None = None
    memory_limit: str = "512MB"
    threads: int = 2
    scratch: Path | None = None
    athena: AthenaSettings | None = None
    signing_key: str | None = None
    operational_table: str | None = None
    now: Callable[[], datetime] = field(default=utc_now, repr=False, compare=False)
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_environment(cls, environment: str, bucket: str, region: str, endpoint: str | None = None) -> Lake:
        """The lake of `local`, `dev`, `test` or `prod`, by the naming rule of its Glue databases."""
        return cls(
            bucket=bucket,
            landing_database=f"gavel_landing_{environment}",
            work_database=f"gavel_work_{environment}",
            published_database=f"gavel_{environment}",
            region=region,
            endpoint=endpoint,
            operational_table=f"gavel-{environment}",
        )

    @cached_property
    def session(self) -> Any:
        """The boto3 session: credentials by boto3's own chain, or placeholders for an emulator without any."""
        import boto3
        import botocore.session

        core = botocore.session.Session(session_vars=NO_PROFILE if self.placeholders else None)
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=read_timestamp)
        if self.placeholders or (self.endpoint and core.get_credentials() is None):
            core.set_credentials("test", "test")  # an emulator's placeholders
        return boto3.Session(botocore_session=core, region_name=self.region)

    def client(self, service: str) -> Any:
        """A new boto3 client of the service."""
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            max_pool_connections=64,
            s3={"addressing_style": "path"} if self.endpoint else {},
        )
        with _making:
            client = self.session.client(service, endpoint_url=self.endpoint, config=config)
        self.meter.watch(client)
        return client

    @cached_property
    def meter(self) -> Meter:
        """Counts what is requested of S3 and Glue by way of this lake."""
        return Meter()

    @cached_property
    def store(self) -> Store:
        """The data bucket."""

        if self.local_root is not None:
            return LocalStore(self.local_root / self.bucket)
        return S3Store(self.client("s3"), self.bucket)

    @cached_property
    def entries(self) -> Entries:
        """The catalog entries: AWS Glue, or JSON files below `local_root`."""

        if self.local_root is not None:
            return LocalEntries(self.local_root / "catalog")
        return GlueEntries(self.client("glue"))

    @cached_property
    def erasure_secret(self) -> bytes:
        """The key of this environment for what is kept of erased persons (32 bytes), which is not in the bucket."""
        if self.local_root is not None:
            return secrets.in_folder(self.local_root)
        return secrets.in_secrets_manager(self.client("secretsmanager"), f"{self.published_database}/erasure")

    def landing_prefix(self, contract: Contract) -> str:
        """Where the entity's objects arrive: `landing/<entity>/`, or `dropbox/<entity>/` for origin `files`."""
        return f"{'dropbox' if contract.origin == 'files' else 'landing'}/{contract.name}/"

    def table_location(self, table: str) -> str:
        """The root of an Iceberg table's files."""
        return self.store.uri(f"warehouse/{table}")
