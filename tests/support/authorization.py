"""Which actions there are, and what each is on: AWS's Service Authorization Reference, as cfn-lint has it."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@cache
def services() -> dict[str, Any]:
    """Each service's `Actions`, in small letters, and `Resources`. Read as a file: cfn-lint takes long to load."""
    spec = find_spec("cfnlint")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "AdditionalSpecs" / "Policies.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def exists(action: str) -> bool:
    """Whether AWS has an action, written as `service:Name` in any case."""
    service, _, name = action.lower().partition(":")
    return name in services().get(service, {"Actions": {}})["Actions"]
