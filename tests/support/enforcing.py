"""The emulator as an enforcer of rights: functions act by their own roles, and what each asks for is written down.

As a script it is the emulator with that switched on (ministack's `AUTH`): a function's call is decided by its role's
policies, boundary and the resource's policy, and refused as AWS would. Everything else (the tests, the pump) acts as
the account itself, which may do everything. What a service does in a function's name (encrypt, deliver) is not heard.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded_rights import unnamed

RECORD = "GAVEL_RECORDED_CALLS"
"""The variable that names the file of calls."""
ROOT = Path(__file__).parents[2]
_IN_AWS = {"sqs:SendMessageBatch": "sqs:SendMessage"}
"""Actions that the emulator names otherwise than IAM does."""


@dataclass(frozen=True, order=True)
class Heard:
    """One decision: the role's name, action and resource (an ARN, with the prefix of what is listed, or `*`), and
    whether it was allowed."""

    role: str
    action: str
    resource: str
    allowed: bool


@contextmanager
def enforced(record: Path) -> Iterator[None]:
    """Emulators that are started meanwhile enforce rights, and write down what was decided."""
    from local import emulator

    spawn = emulator.spawn

    def enforcing(command: list[str], environment: dict[str, str], *more: Any) -> Any:
        paths = {"PYTHONPATH": str(ROOT), RECORD: str(record), "AUTH": "true"}
        return spawn([command[0], "-m", "tests.support.enforcing"], {**environment, **paths}, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulator, "spawn", enforcing)
        yield


def heard(record: Path) -> set[Heard]:
    """What was decided so far."""
    lines = record.read_text("utf-8").splitlines() if record.exists() else []
    return {Heard(*json.loads(line)) for line in lines}


def general(resource: str) -> str:
    """A resource without what differs from run to run: an object by its folder, a table without index and stream. The
    environment and the account are `{environment}` and `{account}`."""
    plain = unnamed(resource)
    if not plain.startswith("arn:aws:s3:::"):
        return plain
    folders = re.match(r"([^/]+)(/[a-z-]+/(?:[a-z]+/)?)?", plain)
    assert folders is not None
    return folders[1] + (f"{folders[2]}x" if folders[2] else "")


def main() -> None:
    """Run the emulator, and append each decision about a role to the file."""
    from ministack.core import iam_evaluator

    enforce, origin, known = iam_evaluator.enforce, iam_evaluator.pin_request_origin, set[str]()
    record = open(os.environ[RECORD], "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - as long as the process

    def listening(access_key_id: str, iam_action: str, service: str, region: str, **more: Any) -> Any:
        iam_action = _IN_AWS.get(iam_action, iam_action)
        answer = enforce(access_key_id, iam_action, service, region, **more)
        principal = iam_evaluator.resolve_principal(access_key_id or "", "000000000000")
        role = re.search(r":assumed-role/([^/]+)/", getattr(principal, "arn", ""))
        if role:
            listed = (more.get("service_context") or {}).get("s3:prefix")
            resource = more.get("resource_arn", "*") + (f"/{listed}" if listed else "")
            line = json.dumps([role[1], iam_action, resource, answer is None])
            if line not in known:
                known.add(line)
                record.write(f"{line}\n")
        return answer

    iam_evaluator.enforce = listening
    iam_evaluator.pin_request_origin = lambda address, secure: origin(address, True)  # TLS, as everything has it on AWS
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")


if __name__ == "__main__":
    main()
