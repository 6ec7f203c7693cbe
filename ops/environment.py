"""An environment and the way to its AWS: its name decides the names of its queues, tables and functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class OpsError(RuntimeError):
    """A command cannot do its task; the message says what was expected and found, and what to do."""


@dataclass(frozen=True)
class Environment:
    """`name` is `local`, `dev`, `test` or `prod`; `client` makes a boto3 client of a service."""

    name: str
    client: Callable[[str], Any]

    @classmethod
    def of_credentials(cls, name: str) -> Environment:
        """The environment in the account of the person's credentials, as boto3 finds them.

        `AWS_ENDPOINT_URL` leads to an emulator instead, as `eval "$(gavel env)"` sets it.
        """
        import boto3

        make: Any = boto3.client
        return cls(name, make)

    @property
    def data_bucket(self) -> str:
        """The bucket of landed, failed and published objects."""
        account = self.client("sts").get_caller_identity()["Account"]
        return f"{self.resource('data')}-{account}"

    def resource(self, name: str) -> str:
        """The full name of a queue, table, function or usage plan of this environment."""
        return f"gavel-{self.name}-{name}"
