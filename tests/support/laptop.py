"""A laptop stack for tests: its own emulator with the real-time path deployed, in a folder that is thrown away."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from contracts import Contracts, load_contracts
from local import stack as laptop_stack
from local.aws import Aws
from local.client import ApiClient
from local.draining import drain
from local.home import Home, Stack
from local.pump import Counts


@dataclass
class Laptop:
    """A running stack. Tests that share it must use keys of their own and not count what others wrote."""

    home: Home
    stack: Stack
    contracts: Contracts = field(repr=False)

    @cached_property
    def aws(self) -> Aws:
        """Clients of its emulator."""
        return Aws(self.stack.endpoint)

    @cached_property
    def client(self) -> ApiClient:
        """A signed-in client of its HTTP API."""
        return laptop_stack.connect(self.stack)

    @property
    def bucket(self) -> str:
        """Its data bucket."""
        return self.stack.outputs["DataBucketName"]

    @property
    def environment(self) -> dict[str, str]:
        """The environment for what runs against it, Dagster for example."""
        return laptop_stack.environment(self.home, self.stack)

    def pump(self) -> Counts:
        """Hand everything that is in the stream to the relay."""
        return drain(self.home, self.stack)

    def keys(self, prefix: str) -> list[str]:
        """The keys below a prefix of the data bucket."""
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [o["Key"] for page in pages for o in page.get("Contents", ())]

    def landed(self, entity: str) -> list[dict[str, Any]]:
        """Every landed row of an entity, all text, in the order of versions."""
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = []
        for key in self.keys(f"landing/{entity}/"):
            body = self.aws.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()
            rows += pq.read_table(io.BytesIO(body)).to_pylist()
        return sorted(rows, key=lambda row: (row["_version"], row["_seq"]))

    def given_up(self) -> list[dict[str, Any]]:
        """What the pump's failure destination holds."""
        s3 = self.aws.client("s3")
        return [
            json.loads(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()) for key in self.keys("aws/lambda/")
        ]


@contextmanager
def running_laptop(folder: Path) -> Iterator[Laptop]:
    """Start and deploy a stack in `folder`; it is stopped at the end, whatever happened to it."""
    home, contracts = Home(folder), load_contracts()
    try:
        yield Laptop(home, laptop_stack.up(home, contracts).stack, contracts)
    finally:
        laptop_stack.down(home)
