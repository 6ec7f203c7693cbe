"""Which engine merges an entity: its contract says so in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lakehouse.merge.athena.client import AthenaClient
from lakehouse.merge.athena.engine import AthenaEngine
from lakehouse.merge.base import Engine
from lakehouse.merge.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.lake import Lake


def engine_of(lake: Lake, contract: Contract, progress: Callable[[str], None]) -> Engine:
    """The engine that the contract asks for. Where the lake has no Athena (a laptop), changes are merged embedded,
    which gives the same rows; `progress` is notified."""
    if contract.engine == "athena" and lake.athena is None:
        progress(f"{contract.name}: its contract asks for Athena, which this lake does not have: merging embedded")
    elif contract.engine == "athena":
        return AthenaEngine(AthenaClient.of(lake))
    return EmbeddedEngine()
