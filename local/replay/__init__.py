"""Replay of a CSV file through the HTTP API, by a folder of queries that say how its rows become items.

Reading the file (`lines`) and its cells (`cells`, `money`), the mapping (`mapping`), running its queries in DuckDB
(`engine`, `helpers`) and turning rows into items (`items`) need no network; `run` stands at the edge: files, progress
and the client. `docs/replay.md` explains mappings.
"""

from local.replay.engine import Reject
from local.replay.items import Item, Transformation
from local.replay.mapping import MappingError
from local.replay.run import Replay, ReplayError, prepare, replay

__all__ = [
    "Item",
    "MappingError",
    "Reject",
    "Replay",
    "ReplayError",
    "Transformation",
    "prepare",
    "replay",
]
