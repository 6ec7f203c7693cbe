"""How a difference is taken back: calls of AWS as plain data, which a person reads as commands before they are made."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_COMMANDS = {"s3": "s3api"}
"""Services that the AWS CLI calls otherwise than boto3."""
DAGSTER = "dagster"
"""The service of calls that Dagster's UI takes."""


@dataclass(frozen=True)
class Call:
    """A call of a service: boto3's name of the operation, and its arguments. Empty `region`: the environment's."""

    service: str
    operation: str
    arguments: Mapping[str, Any]
    region: str = ""

    def __str__(self) -> str:
        """The same as a command of the AWS CLI; of Dagster, in words."""
        if self.service == DAGSTER:
            return f"Dagster: {self.operation.replace('_', ' ')} {self.arguments['name']}"
        words = ["aws", _COMMANDS.get(self.service, self.service), self.operation.replace("_", "-")]
        for name, value in self.arguments.items():
            flag = f"--{_WORD.sub('-', name).lower()}"
            if isinstance(value, bool):
                words.append(flag if value else f"--no-{flag[2:]}")
            else:
                words += [flag, shlex.quote(value if isinstance(value, str) else json.dumps(value))]
        if self.region:
            words += ["--region", self.region]
        return " ".join(words)


@dataclass(frozen=True)
class Back:
    """What takes a difference back. `note` says what it removes or what is to be done besides. `person`: nobody but a
    person may decide it, so that the calls are shown and not made."""

    calls: tuple[Call, ...]
    note: str = ""
    person: bool = False
