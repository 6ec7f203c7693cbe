"""Replay of a CSV file through the HTTP API, by a mapping file that says how its rows become items.

Reading the file (`table`), understanding the mapping (`mapping`, `expressions`) and turning rows into items (`items`)
need no network; `run` stands at the edge: files, progress and the client. `docs/replay.md` explains mapping files.
"""

from local.replay.items import Item, Reject, Transformation, transform
from local.replay.mapping import MappingError, load_mapping
from local.replay.run import Replay, ReplayError, prepare, replay

__all__ = [
    "Item",
    "MappingError",
    "Reject",
    "Replay",
    "ReplayError",
    "Transformation",
    "load_mapping",
    "prepare",
    "replay",
    "transform",
]
