"""What CloudFormation makes of the roles: the tags, those of databases, and grants by expression.

Tags of columns, filters, and what opts a role in are put on what is there by `applying`: CloudFormation fails on a
table that a pipeline has yet to make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import Contracts
from contracts.types import CLASSIFICATIONS
from ops.governance.roles import REPORTING, ROLES, Role
from ops.governance.wanted import CLASSIFICATION, DOMAIN, database, defaults, domains, tag

ACCOUNT = {"Ref": "AWS::AccountId"}
WHO_READ = Path(__file__).with_name("who_read.sql")
ADMINISTRATION = "LakeSettings"
"""The resource that makes who deploys an administrator of the lake, without whom nothing here can be made."""


def resources(contracts: Contracts, environment: str) -> dict[str, Any]:
    """Resources by their names, for the template of the governance stack."""
    values: dict[str, list[str]] = {CLASSIFICATION: [*CLASSIFICATIONS], DOMAIN: [*domains(contracts), REPORTING]}
    tags = {f"Tag{key.capitalize()}": _tag(tag(key, environment), of) for key, of in values.items()}
    databases = {
        f"Tagged{name.capitalize() or 'Entities'}": _tagged(database(name, environment), of, environment)
        for name, of in defaults(contracts).items()
    }
    grants = {
        f"{role.name.capitalize()}{grant.name}": _grant(role, grant)
        for role in ROLES
        for grant in by_tags(role, contracts, environment)
    }
    return {**tags, **databases, **grants, "WhoRead": _saved_query(environment)}


def _saved_query(environment: str) -> dict[str, Any]:
    """The query of who read what, where auditors find it in Athena."""
    return {
        "Type": "AWS::Athena::NamedQuery",
        "DependsOn": ["AuditorWorkgroup"],
        "Properties": {
            "Name": "who-read-what",
            "Description": "Who read which table, file or item. The parameters are the first and the last day.",
            "Database": f"gavel_access_{environment}",
            "WorkGroup": f"gavel-{environment}-auditor",
            "QueryString": WHO_READ.read_text("utf-8"),
        },
    }


def _tag(key: str, values: list[str]) -> dict[str, Any]:
    properties = {"CatalogId": ACCOUNT, "TagKey": key, "TagValues": values}
    return {"Type": "AWS::LakeFormation::Tag", "DependsOn": [ADMINISTRATION], "Properties": properties}


def _tagged(name: str, tags: Mapping[str, str], environment: str) -> dict[str, Any]:
    pairs = [
        {"CatalogId": ACCOUNT, "TagKey": tag(key, environment), "TagValues": [value]} for key, value in tags.items()
    ]
    return {
        "Type": "AWS::LakeFormation::TagAssociation",
        "DependsOn": ["TagClassification", "TagDomain"],
        "Properties": {"Resource": {"Database": {"CatalogId": ACCOUNT, "Name": name}}, "LFTags": pairs},
    }


@dataclass(frozen=True, slots=True)
class ByTags:
    """Rights of a role on what has one of the values of each tag: on a `kind` of resource, `TABLE` or `DATABASE`."""

    name: str
    kind: str
    expression: Mapping[str, Sequence[str]]
    rights: Sequence[str]


def by_tags(role: Role, contracts: Contracts, environment: str) -> Iterator[ByTags]:
    """A role reads columns by classification and domain, and finds the databases that they, or its filters, are in."""
    read = [*(domains(contracts) if role.entities else ()), REPORTING]
    found = [*(domains(contracts) if role.entities or role.persons else ()), REPORTING]
    classification, domain = (tag(key, environment) for key in (CLASSIFICATION, DOMAIN))
    of_tables = {classification: [*role.classifications], domain: read}
    yield ByTags("Reads", "TABLE", of_tables, ["SELECT", "DESCRIBE"])
    yield ByTags("Finds", "DATABASE", {domain: found}, ["DESCRIBE"])


def _grant(role: Role, grant: ByTags) -> dict[str, Any]:
    name = f"{role.name.capitalize()}Role"
    pairs = [{"TagKey": key, "TagValues": values} for key, values in grant.expression.items()]
    return {
        "Type": "AWS::LakeFormation::PrincipalPermissions",
        "DependsOn": ["TagClassification", "TagDomain"],
        "Properties": {
            "Principal": {"DataLakePrincipalIdentifier": {"Fn::GetAtt": [name, "Arn"]}},
            "Resource": {"LFTagPolicy": {"CatalogId": ACCOUNT, "ResourceType": grant.kind, "Expression": pairs}},
            "Permissions": grant.rights,
            "PermissionsWithGrantOption": [],
        },
    }
