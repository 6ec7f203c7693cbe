"""An environment and the way to its AWS: its name decides the names of its queues, tables and functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contracts import Contracts
    from lakehouse.recovery.wanted import Source
    from lakehouse.storage.lake import Lake

LIVE = "live"
"""The alias by which functions are called: it leads to the version that runs, or to two while calls go over."""


class OpsError(RuntimeError):
    """A command cannot do its task; the message says what was expected and found, and what to do."""


@dataclass(frozen=True)
class Environment:
    """`name` is `local`, `dev`, `test` or `prod`; `client` makes a boto3 client of a service, `regional` one for a
    region. A laptop has the `endpoint` of an emulator, a client of its own for `exporting`, a file of the contracts
    that its stack uses, and its marts in the file `warehouse`."""

    name: str
    client: Callable[[str], Any]
    endpoint: str | None = None
    exporting: Callable[[], Any] | None = None
    contracts_file: Path | None = None
    regional: Callable[[str, str], Any] | None = None
    warehouse: Path | None = None

    @classmethod
    def of_credentials(cls, name: str) -> Environment:
        """The environment in the account of the person's credentials, as boto3 finds them.

        `AWS_ENDPOINT_URL` leads to an emulator instead, as `eval "$(gavel env)"` sets it.
        """
        import boto3

        make: Any = boto3.Session().client  # boto3's shared session keeps the credentials that it found first
        return cls(name, make, endpoint=os.environ.get("AWS_ENDPOINT_URL") or None, regional=make)

    def client_in(self, service: str, region: str) -> Any:
        """A client of a service in a region; where the region is empty, or there is only one, `client`'s."""
        return self.regional(service, region) if self.regional and region else self.client(service)

    @property
    def data_bucket(self) -> str:
        """The bucket of landed, failed and published objects."""
        account = self.client("sts").get_caller_identity()["Account"]
        return f"{self.resource('data')}-{account}"

    @cached_property
    def lake(self) -> Lake:
        """The environment's lake."""
        from lakehouse.storage.lake import Lake

        region = self.client("s3").meta.region_name
        return Lake.of_environment(self.name, self.data_bucket, region, self.endpoint)

    def contracts(self) -> Contracts:
        """The contracts: those of this installation, or those that the stack on this machine works by."""
        from contracts import load_contracts

        return load_contracts(self.contracts_file)

    def exports(self) -> Source:
        """The operational table, and what makes the client for its exports."""
        from lakehouse.recovery.wanted import Source

        return Source(f"gavel-{self.name}", self.exporting or partial(self.client, "dynamodb"))

    def resource(self, name: str) -> str:
        """The full name of a queue, table, function or usage plan of this environment."""
        return f"gavel-{self.name}-{name}"
