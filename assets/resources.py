"""The resources that assets ask for: how to reach the lake, the warehouse and the UI's links.

A resource holds addresses and makes what reaches them; it knows no business rule.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from lakehouse.storage.athena import AthenaSettings
from lakehouse.storage.lake import Lake


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the lake of this environment is. `local_root` swaps S3 and Glue for a folder (tests, experiments).

    `workgroup` is the Athena that entities may be merged on, none if empty; `scan_limit_gb` stops one of its queries.
    `scratch` is the folder for a batch's temporary files, the system's if empty. `signing_key` is the KMS key that
    signs proofs of erasures, if there is one.
    """

    environment: str
    bucket: str
    region: str = "eu-west-1"
    endpoint: str | None = None
    local_root: str | None = None
    workgroup: str | None = None
    scan_limit_gb: int | None = None
    scratch: str | None = None
    signing_key: str | None = None
    _lake: Lake | None = PrivateAttr(default=None)

    @property
    def lake(self) -> Lake:
        """The lake that the engine's functions take: one for all steps of a run, and for all ticks of a code server.
        Dagster makes a resource for each, and the clients of S3 and Glue alone take a tenth of a second to make."""
        if self._lake is None:
            lake = Lake.of_environment(self.environment, self.bucket, self.region, self.endpoint)
            if self.local_root:
                lake = replace(lake, local_root=Path(self.local_root))
            if self.scratch:
                lake = replace(lake, scratch=Path(self.scratch))
            lake = replace(lake, athena=self._athena(), signing_key=self.signing_key)
            self._lake = lake if self.local_root else shared(lake)
        return self._lake

    def _athena(self) -> AthenaSettings | None:
        if not self.workgroup:
            return None
        limit = None if self.scan_limit_gb is None else self.scan_limit_gb * 10**9
        return AthenaSettings(workgroup=self.workgroup, scan_limit=limit)


@lru_cache(maxsize=4)
def shared(lake: Lake) -> Lake:
    """The lake of this process that is equal to this one and was made first: with its connections, and what it knows of
    immutable files."""
    return lake


class ExportsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The operational table, and where its exports are requested (a laptop has an endpoint of its own for them)."""

    table: str
    region: str = "eu-west-1"
    endpoint: str | None = None
    table_endpoint: str | None = None

    def table_client(self) -> Any:
        """A new boto3 client that reads the table itself."""
        import boto3

        return boto3.client("dynamodb", region_name=self.region, endpoint_url=self.table_endpoint)

    def client(self) -> Any:
        """A new boto3 client of DynamoDB."""
        import boto3

        return boto3.client("dynamodb", region_name=self.region, endpoint_url=self.endpoint)


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the marts are, as files on a laptop or by Athena elsewhere, and where reports are written."""

    target: str
    home: str

    @property
    def folder(self) -> Path:
        """What the warehouse keeps on disk lives below this folder."""
        return Path(self.home)

    @property
    def database(self) -> Path:
        """The DuckDB file that readers open (target `local`). It is only ever replaced as a whole."""
        return self.folder / "warehouse.duckdb"

    @property
    def reports(self) -> Path:
        """The folder of rendered reports."""
        return self.folder / "reports"
