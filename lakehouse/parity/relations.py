"""What the steps of a comparison hand to each other: the tables of its DuckDB that one module makes and others read.

`k` is the number of a key and `st` that of its state, `v` a version (see `digests`). A table that only one module knows
has a name that begins with an underscore and is not listed here.
"""

from __future__ import annotations

from lakehouse.storage.sql import quoted

NEWEST = "parity_newest"
"""k, v, st: the newest state of each key by the history."""
AT = "parity_at"
"""k, v, st: the state of each key at the moment by the history."""
ASIDE = "parity_aside"
"""k: keys that changed in the very second of the moment."""
ROWS = "parity_rows"
"""k, v, st: every row of the compacted table."""
OF_HISTORY = "parity_of_history"
"""k, kind, v, e_v: keys for which the history does not say what the export says."""
TWICE = "parity_twice"
"""k: keys that more than one item of the export may have."""
DOUBLED = "parity_doubled"
"""k, name, said, places (a list of [pk, sk]): those that items in more than one place have."""
BREAKING = "parity_breaking"
"""k, why: those whose exported item breaks its contract."""
OF_TABLE = "parity_of_table"
"""k, kind, v: keys for which the compacted table does not say what the history says."""
WINNERS = "parity_winners"
"""_k, and all columns of the history: the change that a differing key had at the moment."""
NAMES = "parity_names"
"""k, name, said: what the differing keys are called, and what they say."""
SEEN = "parity_seen"
"""k, object, st, and the order: changes of differing keys in landed objects."""
SET_ASIDE = "parity_set_aside"
"""k, object, why: landed rows of differing keys that break their contract."""
KEPT = "parity_kept"
"""k, object: records of differing keys that the relay kept."""
CORRECTABLE = "parity_correctable"
"""k, kind: differing keys that may be corrected."""


def exported(entity: str) -> str:
    """k, st, v, file: every item of an entity in the export."""
    return quoted(f"parity_exported_{entity}")


def broken(entity: str) -> str:
    """k (null if the key itself is broken), why, file: its items that break the contract."""
    return quoted(f"parity_broken_{entity}")


def items(entity: str) -> str:
    """_k, typed columns as in the history, `_text` (the landed text by column): the whole items of differing keys."""
    return quoted(f"parity_items_{entity}")
