"""Puts on the tables that are there what `wanted` says: tags of columns, filters of cells, and that people opt in.
Takes away what somebody granted beside it.

Each step looks first and changes only what differs, so it may be stopped and run again. Until it has run for a table
of an entity, nobody but the auditor reads it, because a column has its database's tag; and a role that has not opted in
has no right to a file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from contracts import Contracts
from ops.environment import Environment, OpsError
from ops.governance.granting import by_tags
from ops.governance.roles import ROLES, Role
from ops.governance.wanted import CLASSIFICATION, DOMAIN, CellsFilter, TaggedTable, database, defaults, filters, tables
from ops.governance.wanted import tag as tag_key

NOT_THERE = "EntityNotFoundException"


@dataclass(frozen=True, slots=True)
class Change:
    """One call of Lake Formation that brings it nearer to what is wanted, and what to say of it."""

    line: str
    operation: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Governed:
    """An environment's lake as Lake Formation knows it. Raises `OpsError` if the governance was not deployed."""

    where: Environment
    contracts: Contracts

    @cached_property
    def _lake(self) -> Any:
        return self.where.client("lakeformation")

    @cached_property
    def _account(self) -> str:
        return str(self.where.client("sts").get_caller_identity()["Account"])

    @cached_property
    def _there(self) -> dict[str, dict[str, list[str]]]:
        """The columns of each table in Glue, by database (see `wanted.database`)."""
        pages = self.where.client("glue").get_paginator("get_tables").paginate
        found: dict[str, dict[str, list[str]]] = {}
        for name in defaults(self.contracts):
            listed = [t for p in pages(DatabaseName=database(name, self.where.name)) for t in p["TableList"]]
            found[name] = {t["Name"]: [c["Name"] for c in t["StorageDescriptor"]["Columns"]] for t in listed}
        return found

    def changes(self) -> Iterator[Change]:
        """What has to be done, in an order in which nobody reads for a moment what they may not."""
        self._require_tags()
        yield from self._beside()
        wished = {(table.database, table.name): table for table in tables(self.contracts)}
        for name, present in self._there.items():
            for table, columns in present.items():
                yield from self._tags(wished.get((name, table), TaggedTable(name, table, "", {})), columns)
        for wish in filters(self.contracts):
            if wish.table in self._there[wish.database]:
                yield from self._filter(wish)
        yield from self._opt_ins()

    def carry_out(self, change: Change) -> None:
        """Do it."""
        answer = getattr(self._lake, change.operation)(**change.arguments)
        if failures := (answer or {}).get("Failures"):
            raise OpsError(f"{change.line}: Lake Formation refused it: {failures[0]['Error']['ErrorMessage']}")

    def _require_tags(self) -> None:
        key = tag_key(CLASSIFICATION, self.where.name)
        try:
            self._lake.get_lf_tag(TagKey=key)
        except ClientError as error:
            if error.response["Error"]["Code"] != NOT_THERE:
                raise
            raise OpsError(
                f"expected the tag {key} in Lake Formation, found none: fill in governance in "
                f"deploy/parameters/{self.where.name}.json and deploy (gavel-ops deploy {self.where.name})"
            ) from error

    def _beside(self) -> Iterator[Change]:
        """Grants to a role, or to everybody of the account, that are neither the stack's nor a filter's: somebody gave
        them by hand, or a contract of before had them."""
        for role in ROLES:
            principal = self._principal(role.name)
            for one in self._granted_to(principal):
                if not self._is_wanted(role, one):
                    yield self._revoking(role.name, principal, one)
        everybody = {"DataLakePrincipalIdentifier": f"{self._account}:IAMPrincipals"}
        for one in self._granted_to(everybody):
            if self._is_of_lake(one["Resource"]):
                yield self._revoking("everybody of the account", everybody, one)

    def _granted_to(self, principal: Mapping[str, str]) -> list[Any]:
        return self._all("list_permissions", "PrincipalResourcePermissions", Principal=principal)

    def _is_wanted(self, role: Role, one: Mapping[str, Any]) -> bool:
        resource, rights = one["Resource"], {*one["Permissions"]}
        if one.get("PermissionsWithGrantOption"):
            return False
        if policy := resource.get("LFTagPolicy"):
            found = {pair["TagKey"]: {*pair["TagValues"]} for pair in policy.get("Expression", ())}
            return any(
                policy["ResourceType"] == grant.kind
                and found == {key: {*values} for key, values in grant.expression.items()}
                and rights <= {*grant.rights}
                for grant in by_tags(role, self.contracts, self.where.name)
            )
        if cells := resource.get("DataCellsFilter"):
            place = (cells["DatabaseName"], cells["TableName"], cells["Name"])
            return rights == {"SELECT"} and place in {
                (database(wish.database, self.where.name), wish.table, wish.name)
                for wish in filters(self.contracts)
                if wish.role == role.name
            }
        return False

    def _is_of_lake(self, resource: Mapping[str, Any]) -> bool:
        ours = {database(name, self.where.name) for name in defaults(self.contracts)}
        tags = {tag_key(key, self.where.name) for key in (CLASSIFICATION, DOMAIN)}
        named = {of.get("DatabaseName", of.get("Name")) for of in resource.values() if isinstance(of, Mapping)}
        keys = {pair["TagKey"] for pair in resource.get("LFTagPolicy", {}).get("Expression", ())}
        return bool(named & ours or keys & tags)

    def _revoking(self, who: str, principal: Mapping[str, str], one: Mapping[str, Any]) -> Change:
        (kind,) = one["Resource"]
        arguments = {
            "Principal": principal,
            "Resource": one["Resource"],
            "Permissions": one["Permissions"],
            "PermissionsWithGrantOption": one.get("PermissionsWithGrantOption", []),
        }
        what = json.dumps({k: v for k, v in one["Resource"][kind].items() if k != "CatalogId"}, sort_keys=True)
        line = f"{who} loses {', '.join(one['Permissions'])} on {kind} {what}: nothing here grants it"
        return Change(line, "revoke_permissions", arguments)

    def _tags(self, wish: TaggedTable, columns: list[str]) -> Iterator[Change]:
        """Tags that a table's columns lack, have otherwise, or have although nothing says how closed they are."""
        in_glue = database(wish.database, self.where.name)
        table = {"DatabaseName": in_glue, "Name": wish.name}
        answer = self._lake.get_resource_lf_tags(Resource={"Table": table}, ShowAssignedLFTags=True)
        if wish.domain and wish.domain != defaults(self.contracts)[wish.database][DOMAIN]:
            key = tag_key(DOMAIN, self.where.name)
            if _value(answer.get("LFTagsOnTable", ()), key) != wish.domain:
                yield self._tagging(f"{in_glue}.{wish.name}: {wish.domain}", {"Table": table}, key, wish.domain)
        key = tag_key(CLASSIFICATION, self.where.name)
        assigned = {of["Name"]: _value(of["LFTags"], key) for of in answer.get("LFTagsOnColumns", ())}
        differing = defaultdict(list)
        for column in columns:
            if assigned.get(column) != wish.columns.get(column):
                differing[wish.columns.get(column)].append(column)
        for value, names in differing.items():
            place = {"TableWithColumns": {**table, "ColumnNames": names}}
            line = f"{in_glue}.{wish.name}: {', '.join(names)}"
            if value is None:
                yield self._untagging(f"{line}: as closed as its database", place, key, assigned[names[0]])
            else:
                yield self._tagging(f"{line}: {value}", place, key, value)

    def _tagging(self, line: str, resource: Mapping[str, Any], key: str, value: str) -> Change:
        tags = [{"TagKey": key, "TagValues": [value]}]
        return Change(line, "add_lf_tags_to_resource", {"Resource": resource, "LFTags": tags})

    def _untagging(self, line: str, resource: Mapping[str, Any], key: str, value: str | None) -> Change:
        tags = [{"TagKey": key, "TagValues": [value]}]
        return Change(line, "remove_lf_tags_from_resource", {"Resource": resource, "LFTags": tags})

    def _filter(self, wish: CellsFilter) -> Iterator[Change]:
        in_glue = database(wish.database, self.where.name)
        table = {"CatalogId": self._account, "DatabaseName": in_glue, "Name": wish.table}
        listed = self._lake.get_paginator("list_data_cells_filter").paginate(Table=table)
        found = {f["Name"]: f for page in listed for f in page["DataCellsFilters"]}.get(wish.name)
        columns = [name for name in wish.columns if name in self._there[wish.database][wish.table]]
        data = {
            "TableCatalogId": self._account,
            "DatabaseName": in_glue,
            "TableName": wish.table,
            "Name": wish.name,
            "RowFilter": {"FilterExpression": wish.rows},
            "ColumnNames": columns,
        }
        line = f"{in_glue}.{wish.table}: {wish.role} reads {', '.join(columns)} where {wish.rows}"
        if found is None:
            yield Change(line, "create_data_cells_filter", {"TableData": data})
        elif (sorted(found.get("ColumnNames", ())), found.get("RowFilter", {}).get("FilterExpression")) != (
            sorted(columns),
            wish.rows,
        ):
            yield Change(line, "update_data_cells_filter", {"TableData": data})
        principal = self._principal(wish.role)
        resource = {
            "DataCellsFilter": {name: data[name] for name in ("TableCatalogId", "DatabaseName", "TableName", "Name")}
        }
        if found is None or not self._granted(principal, resource):
            grant = {"Principal": principal, "Resource": resource, "Permissions": ["SELECT"]}
            yield Change(f"{in_glue}.{wish.table}: {wish.role} is granted that", "grant_permissions", grant)

    def _granted(self, principal: Mapping[str, str], resource: Mapping[str, Any]) -> bool:
        listed = self._all("list_permissions", "PrincipalResourcePermissions", Principal=principal, Resource=resource)
        return any("SELECT" in one["Permissions"] for one in listed)

    def _opt_ins(self) -> Iterator[Change]:
        """Lake Formation decides for a role on a database, and on all tables in it, once the role has opted in."""
        for role in ROLES:
            principal = self._principal(role.name)
            listed = self._all("list_lake_formation_opt_ins", "LakeFormationOptInsInfoList", Principal=principal)
            resources = [one["Resource"] for one in listed]
            known = {r["Database"]["Name"] for r in resources if "Database" in r}
            tables = {r["Table"]["DatabaseName"] for r in resources if "TableWildcard" in r.get("Table", {})}
            for name in (database(name, self.where.name) for name in defaults(self.contracts)):
                wanted: dict[str, tuple[set[str], dict[str, Any]]] = {
                    "Database": (known, {"Name": name}),
                    "Table": (tables, {"DatabaseName": name, "TableWildcard": {}}),
                }
                for kind, (there, of) in wanted.items():
                    if name not in there:
                        arguments = {"Principal": principal, "Resource": {kind: {"CatalogId": self._account, **of}}}
                        line = f"{name}: Lake Formation decides for {role.name} ({kind.lower()})"
                        yield Change(line, "create_lake_formation_opt_in", arguments)

    def _all(self, operation: str, of: str, **arguments: Any) -> list[Any]:
        """All pages of a list that boto3 has no paginator for."""
        found: list[Any] = []
        token: dict[str, str] = {}
        while True:
            page = getattr(self._lake, operation)(**arguments, **token)
            found += page[of]
            if not page.get("NextToken"):
                return found
            token = {"NextToken": page["NextToken"]}

    def _principal(self, role: str) -> dict[str, str]:
        name = self.where.resource(role)
        partition = self._lake.meta.partition
        return {"DataLakePrincipalIdentifier": f"arn:{partition}:iam::{self._account}:role/{name}"}


def _value(tags: Any, key: str) -> str | None:
    return next((tag["TagValues"][0] for tag in tags if tag["TagKey"] == key), None)
