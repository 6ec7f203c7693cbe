"""The keys, groups and pools of the graph: the one place where an entity's name becomes a name in Dagster."""

from __future__ import annotations

import dagster as dg

LANDING = "landing"
COMPACTED = "compacted"
CATALOG = "catalog"
MAINTENANCE = "maintenance"
SERVED = "serving"
SPICE = "spice"

WAREHOUSE_POOL = "warehouse"
"""Taken by whatever builds the warehouse with dbt: one build at a time."""


def landing(entity: str) -> dg.AssetKey:
    """The landed objects of an entity."""
    return dg.AssetKey([LANDING, entity])


def compacted(entity: str) -> dg.AssetKey:
    """The work table of an entity and its `_changes`."""
    return dg.AssetKey([COMPACTED, entity])


def catalog(entity: str) -> dg.AssetKey:
    """The published table of an entity: what readers see."""
    return dg.AssetKey([CATALOG, entity])


def maintenance(entity: str) -> dg.AssetKey:
    """The nightly maintenance of an entity's published table."""
    return dg.AssetKey([MAINTENANCE, entity])


def served(entity: str) -> dg.AssetKey:
    """The table of the website's PostgreSQL that follows an entity's published table."""
    return dg.AssetKey([SERVED, entity])


def serving_pool(entity: str) -> str:
    """The pool of what writes an entity's served table; others may write the lake's meanwhile."""
    return f"served_{entity}"


def spice(model: dg.AssetKey) -> dg.AssetKey:
    """QuickSight's copy of a model."""
    return dg.AssetKey([SPICE, model.path[-1]])


def spice_pool(model: str) -> str:
    """The pool of what refreshes a model's copy: one at a time."""
    return f"spice_{model}"


def pool(entity: str) -> str:
    """The pool of everything that writes an entity's tables: a single writer at a time."""
    return f"entity_{entity}"


def owners(owner: str) -> list[str]:
    """A contract's owner as Dagster wants it: an e-mail address, or a team."""
    if not owner:
        return []
    return [owner] if "@" in owner else [f"team:{owner}"]
