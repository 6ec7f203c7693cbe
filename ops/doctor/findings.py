"""What a look at an environment finds, and what it looks with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from contracts import Contracts
from ops.environment import Environment


@dataclass(frozen=True)
class Finding:
    """One misconfiguration: of what, what was `expected` and `found`, and what to `do`."""

    what: str
    expected: str
    found: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, found {self.found}. {self.do}"


@dataclass
class Patient:
    """An environment that is looked at. `ui_url` leads to its Dagster, empty where nobody said it. Answers of AWS are
    kept, since several looks need the same."""

    environment: Environment
    contracts: Contracts
    ui_url: str = ""
    clients: dict[str, Any] = field(default_factory=dict)

    @property
    def on_aws(self) -> bool:
        """Whether it is on AWS. A laptop's emulator has no backups, deletion protection, lifecycle, key of the bucket,
        quotas and Athena; its stream is read by the pump, and its topic by nobody."""
        return self.environment.name != "local"

    @property
    def entities(self) -> list[str]:
        """The entities that have a Firehose."""
        return [contract.name for contract in self.contracts.of_origin("stream")]

    def client(self, service: str) -> Any:
        """The client of a service."""
        if service not in self.clients:
            self.clients[service] = self.environment.client(service)
        return self.clients[service]

    def name(self, of: str) -> str:
        """The full name of a part."""
        return self.environment.resource(of)


Look = Callable[[Patient], Iterator[Finding]]
"""Looks at one thing. What AWS refuses or does not have it may raise: that is a finding of its own."""

DEPLOY = "Deploy the stack again (docs/realtime.md); what somebody changed behind it stays so: set that back by hand."
