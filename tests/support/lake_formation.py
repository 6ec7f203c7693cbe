"""Lake Formation's answer to who reads which column, worked out from a template's tags and grants, and from filters.

As AWS documents it: a column has its own tag, else its table's, else its database's; a grant by expression holds where
every key of it has one of its values; grants add up; a filter gives its columns in its rows. A grant of another kind
than these is an error, so that none goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.governance.wanted import CellsFilter, TaggedTable, database, tag


@dataclass
class LakeFormation:
    """The tags and grants of an environment; `filters` are granted to the roles that they name."""

    environment: str
    resources: Mapping[str, Mapping[str, Any]]
    filters: Iterable[CellsFilter] = ()
    databases: dict[str, dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.filters = [*self.filters]
        self.databases = {
            p["Resource"]["Database"]["Name"]: {t["TagKey"]: t["TagValues"][0] for t in p["LFTags"]}
            for p in self._of("AWS::LakeFormation::TagAssociation")
        }
        self.values = {p["TagKey"]: set(p["TagValues"]) for p in self._of("AWS::LakeFormation::Tag")}

    def columns(self, role: str, table: TaggedTable, present: Iterable[str] | None = None) -> dict[str, str]:
        """The columns that a role reads of a table, each with the rows: `""` for all. `present` are the columns that
        the table has in Glue, if it has others than those with a tag."""
        found: dict[str, str] = {}
        for each in self.filters:
            if (each.role, each.database, each.table) == (role, table.database, table.name):
                found |= dict.fromkeys(each.columns, each.rows)
        for column in table.columns if present is None else present:
            if self._by_tags(role, self._tags(table, column)):
                found[column] = ""
        return found

    def finds(self, role: str, name: str) -> bool:
        """Whether a role sees a database."""
        tags = self.databases[database(name, self.environment)]
        return any(self._holds(e, tags) for kind, e, _ in self._granted(role) if kind == "DATABASE")

    def rights(self, role: str) -> set[str]:
        """All that a role may do with what it is granted."""
        return {right for _, _, rights in self._granted(role) for right in rights}

    def _tags(self, table: TaggedTable, column: str) -> dict[str, str]:
        tags = dict(self.databases.get(database(table.database, self.environment), {}))
        if table.domain:
            tags[tag("domain", self.environment)] = table.domain
        if column in table.columns:
            tags[tag("classification", self.environment)] = table.columns[column]
        for key, value in tags.items():
            assert value in self.values[key], f"{table.name}.{column}: {key} has no value {value}"
        return tags

    def _by_tags(self, role: str, tags: Mapping[str, str]) -> bool:
        return any(
            self._holds(e, tags) for kind, e, rights in self._granted(role) if kind == "TABLE" and "SELECT" in rights
        )

    def _holds(self, expression: Mapping[str, list[str]], tags: Mapping[str, str]) -> bool:
        return all(tags.get(key) in values for key, values in expression.items())

    def _granted(self, role: str) -> list[tuple[str, dict[str, list[str]], list[str]]]:
        found = []
        for grant in self._of("AWS::LakeFormation::PrincipalPermissions"):
            who = grant["Principal"]["DataLakePrincipalIdentifier"]
            if who != {"Fn::GetAtt": [f"{role.capitalize()}Role", "Arn"]}:
                assert "LFTagPolicy" not in grant["Resource"] or "Fn::GetAtt" in who, who
                continue
            policy = grant["Resource"]["LFTagPolicy"]
            expression = {pair["TagKey"]: pair["TagValues"] for pair in policy["Expression"]}
            assert grant["PermissionsWithGrantOption"] == [], role
            found.append((policy["ResourceType"], expression, grant["Permissions"]))
        return found

    def _of(self, kind: str) -> list[Mapping[str, Any]]:
        return [r["Properties"] for r in self.resources.values() if r["Type"] == kind]
