"""The rules of Trino's access control that say what Lake Formation says: from the same roles, contracts and models.

A rule for each role and table, which names the columns that the role does not read; Trino takes what no rule is about
for closed. A column that is added later is open in Trino until the rules are made again, and closed in Lake Formation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contracts import Contracts
from ops.governance.granting import resources
from ops.governance.roles import ROLES
from ops.governance.wanted import TaggedTable, database, filters, tables
from tests.conformance.support.trino_client import OWNER
from tests.conformance.support.trino_server import CATALOG, HIVE
from tests.support.lake_formation import LakeFormation

Present = Mapping[tuple[str, str], list[str]]
"""The columns in Glue of each table, by database (`wanted.database`) and name."""
CATALOGS = f"{CATALOG}|{HIVE}"
"""The two that are one in Athena: a table has the same rule in both."""
ALL = ["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP", "GRANT_SELECT"]


def rules(contracts: Contracts, environment: str, present: Present) -> dict[str, Any]:
    """The document of Trino's file-based access control."""
    everyone = [role.name for role in ROLES]
    return {
        "catalogs": [
            {"user": OWNER, "allow": "all"},
            *({"user": role, "catalog": CATALOGS, "allow": "read-only"} for role in everyone),
        ],
        "schemas": [{"user": OWNER, "owner": True}, {"owner": False}],
        "tables": [{"user": OWNER, "privileges": ALL}, *_tables(contracts, environment, present)],
        "queries": [{"user": OWNER, "allow": ["execute", "kill", "view"]}, {"allow": ["execute"]}],
        "functions": [{"user": OWNER, "privileges": ["EXECUTE", "OWNERSHIP"]}],
        "procedures": [{"user": OWNER, "privileges": ["EXECUTE"]}],
    }


def _tables(contracts: Contracts, environment: str, present: Present) -> Iterator[dict[str, Any]]:
    for (role, name, table), columns in _reads(contracts, environment, present).items():
        if not columns:
            continue
        closed = [c for c in present[name, table] if c not in columns]
        yield {
            "user": role,
            "catalog": CATALOGS,
            "schema": database(name, environment),
            "table": table,
            "privileges": ["SELECT"],
            "columns": [{"name": column, "allow": False} for column in closed],
            **_rows(columns.values()),
        }


def _rows(rows: Iterable[str]) -> dict[str, Any]:
    """The filter of a table's rows. Trino has one for a table, so columns may not differ in their rows."""
    (one,) = set(rows)
    return {"filter": one, "filter_environment": {"user": OWNER}} if one else {}


def _reads(contracts: Contracts, environment: str, present: Present) -> dict[tuple[str, str, str], dict[str, str]]:
    """What each role reads of each table that is there: the columns, each with its rows (see `LakeFormation`)."""
    lake = LakeFormation(environment, resources(contracts, environment), filters(contracts))
    known = {(table.database, table.name): table for table in tables(contracts)}
    found = {}
    for role in ROLES:
        for place, columns in present.items():
            table = known.get(place, TaggedTable(*place, "", {}))
            found[role.name, *place] = lake.columns(role.name, table, columns)
    return found
