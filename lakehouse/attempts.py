"""How often a landed object failed by itself, kept between runs: what fails again and again is held, a passing fault is
not. One small file per entity below `attempts/`, written only when an object fails; the entity has one writer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from lakehouse.store import ObjectMissing

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.lake import Lake
    from lakehouse.landing import LandedObject

_FORGOTTEN = timedelta(days=90)  # an object that did not fail for so long is gone, or was taken in


def record(lake: Lake, contract: Contract, landed: LandedObject, reason: str) -> int:
    """Note that this version of the object failed in one more run; returns in how many it did."""
    now = lake.now()
    known = {key: tries for key, tries in _read(lake, contract).items() if _last(tries) > now - _FORGOTTEN}
    before = known.get(landed.key, {})
    attempts = 1 + (before["attempts"] if before.get("etag") == landed.etag else 0)
    known[landed.key] = {"etag": landed.etag, "attempts": attempts, "last": now.isoformat(), "reason": reason}
    lake.store.write(_key(contract), orjson.dumps(known, option=orjson.OPT_SORT_KEYS))
    return attempts


def _read(lake: Lake, contract: Contract) -> dict[str, dict[str, Any]]:
    try:
        return dict(orjson.loads(lake.store.read(_key(contract))))
    except ObjectMissing:
        return {}


def _last(tries: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(tries["last"])


def _key(contract: Contract) -> str:
    return f"attempts/{contract.name}.json"
