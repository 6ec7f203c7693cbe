"""What dbt's parsing leaves, the same for the same project: for an image, whose files follow from its commit alone.

dbt writes when it parsed, and by which invocation, into the manifest and into what it parses in part by; and its log
and its durations. Here all of that becomes one moment, and the order of files that of their names.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack

_TIMES = ("generated_at", "invocation_started_at")
_OF_ONE_PARSING = ("dbt.log", "perf_info.json")


def copy_name(moment: int) -> str:
    """The name of the copy of the project that is parsed, for a moment in seconds since 1970."""
    return f"{moment:012x}"


def settle(manifest: Path, artifacts: Path, moment: int) -> None:
    """Give the manifest and dbt's artifacts this moment, in seconds since 1970; what is of one parsing only goes."""
    for path in {manifest, artifacts / "manifest.json"}:
        path.write_text(json.dumps(settled(json.loads(path.read_bytes()), moment)), "utf-8")
    partial = artifacts / "partial_parse.msgpack"
    parsed = settled(msgpack.unpackb(partial.read_bytes(), strict_map_key=False), moment)
    partial.write_bytes(msgpack.packb({**parsed, "files": dict(sorted(parsed["files"].items()))}))
    for name in _OF_ONE_PARSING:
        (artifacts / name).unlink(missing_ok=True)


def settled(parsed: Mapping[str, Any], moment: int) -> dict[str, Any]:
    """A manifest, in either form, as parsed at this moment."""
    time = datetime.fromtimestamp(moment, UTC)
    metadata = {
        **parsed["metadata"],
        **dict.fromkeys(_TIMES, time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        "run_started_at": time.isoformat(),
        "invocation_id": str(uuid.UUID(int=moment)),
    }
    return {**_at(parsed, float(moment)), "metadata": metadata}


def _at(value: Any, moment: float) -> Any:
    if isinstance(value, Mapping):
        return {k: moment if k == "created_at" and isinstance(v, float) else _at(v, moment) for k, v in value.items()}
    return [_at(one, moment) for one in value] if isinstance(value, list) else value
