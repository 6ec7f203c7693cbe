"""What `governance apply` does to tables that are there: what differs and no more, in calls that AWS would take."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session
from botocore.validate import ParamValidator
from typer.testing import CliRunner, Result

from contracts import load_contracts
from ops.command_line import app
from ops.environment import Environment
from ops.governance.wanted import PRESENT, tables

ACCOUNT = "111122223333"
MODEL = Session().get_service_model("lakeformation")
KEY = "gavel_dev_classification"


class Lake:
    """Lake Formation, Glue and STS, as far as `apply` speaks with them; arguments are checked by botocore."""

    def __init__(self, there: dict[str, dict[str, list[str]]]) -> None:
        self.there = there
        self.tagged = True
        self.tags: dict[tuple[str, str], dict[str, str]] = {}
        self.filters: dict[str, dict[str, Any]] = {}
        self.granted: list[dict[str, Any]] = []
        self.opted: list[dict[str, Any]] = []
        self.meta = self
        self.partition = "aws"
        self.refused = ""

    def __call__(self, service: str) -> Lake:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNT}

    def get_paginator(self, operation: str) -> Any:
        class Pages:
            paginate = staticmethod(lambda **given: [getattr(self, operation)(**given)])

        return Pages

    def get_tables(self, DatabaseName: str) -> dict[str, Any]:
        tables = self.there.get(DatabaseName, {}).items()
        listed = [
            {"Name": n, "StorageDescriptor": {"Columns": [{"Name": c} for c in columns]}} for n, columns in tables
        ]
        return {"TableList": listed}

    def get_lf_tag(self, **given: Any) -> dict[str, Any]:
        check("GetLFTag", given)
        if not self.tagged:
            raise ClientError({"Error": {"Code": "EntityNotFoundException", "Message": ""}}, "GetLFTag")
        return {}

    def get_resource_lf_tags(self, **given: Any) -> dict[str, Any]:
        check("GetResourceLFTags", given)
        table = given["Resource"]["Table"]
        columns = self.tags.get((table["DatabaseName"], table["Name"]), {})
        pairs = {name: [{"TagKey": KEY, "TagValues": [value]}] for name, value in columns.items()}
        return {"LFTagsOnColumns": [{"Name": name, "LFTags": tags} for name, tags in pairs.items()]}

    def add_lf_tags_to_resource(self, **given: Any) -> dict[str, Any]:
        check("AddLFTagsToResource", given)
        if self.refused:
            return {"Failures": [{"Error": {"ErrorMessage": self.refused}}]}
        place, (tag,) = given["Resource"]["TableWithColumns"], given["LFTags"]
        of = self.tags.setdefault((place["DatabaseName"], place["Name"]), {})
        of |= dict.fromkeys(place["ColumnNames"], tag["TagValues"][0])
        return {"Failures": []}

    def remove_lf_tags_from_resource(self, **given: Any) -> dict[str, Any]:
        check("RemoveLFTagsFromResource", given)
        place = given["Resource"]["TableWithColumns"]
        for name in place["ColumnNames"]:
            del self.tags[place["DatabaseName"], place["Name"]][name]
        return {}

    def list_data_cells_filter(self, **given: Any) -> dict[str, Any]:
        check("ListDataCellsFilter", given)
        return {"DataCellsFilters": [f for f in self.filters.values() if f["TableName"] == given["Table"]["Name"]]}

    def create_data_cells_filter(self, **given: Any) -> None:
        check("CreateDataCellsFilter", given)
        self.filters[given["TableData"]["Name"]] = given["TableData"]

    def update_data_cells_filter(self, **given: Any) -> None:
        check("UpdateDataCellsFilter", given)
        self.filters[given["TableData"]["Name"]] |= given["TableData"]

    def list_permissions(self, **given: Any) -> dict[str, Any]:
        check("ListPermissions", given)
        found = [g for g in self.granted if g["Principal"] == given["Principal"]]
        found = [g for g in found if "Resource" not in given or g["Resource"] == given["Resource"]]
        return {"PrincipalResourcePermissions": found}

    def grant_permissions(self, **given: Any) -> None:
        check("GrantPermissions", given)
        self.granted.append(given)

    def revoke_permissions(self, **given: Any) -> None:
        check("RevokePermissions", given)
        self.granted = [
            g for g in self.granted if (g["Principal"], g["Resource"]) != (given["Principal"], given["Resource"])
        ]

    def list_lake_formation_opt_ins(self, **given: Any) -> dict[str, Any]:
        """One on each page."""
        check("ListLakeFormationOptIns", given)
        found = [o for o in self.opted if o["Principal"] == given["Principal"]]
        at = int(given.get("NextToken", "0"))
        more = {"NextToken": str(at + 1)} if at + 1 < len(found) else {}
        return {"LakeFormationOptInsInfoList": found[at : at + 1], **more}

    def create_lake_formation_opt_in(self, **given: Any) -> None:
        check("CreateLakeFormationOptIn", given)
        self.opted.append(given)


def check(operation: str, given: dict[str, Any]) -> None:
    report = ParamValidator().validate(given, MODEL.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()


def apply(lake: Lake, *options: str) -> Result:
    return CliRunner().invoke(
        app, ["governance", "apply", "--environment", "dev", *options], obj=lambda name: Environment("dev", lake)
    )


@pytest.fixture
def lake() -> Lake:
    """An account in which the first tables were published."""
    known = {t.name: [*t.columns, "_extra"] for t in tables(load_contracts()) if t.database == ""}
    names = ("customers", "customers_changes", "orders")
    marts = {"fct_orders": ["order_id", "hammer_price"]}
    return Lake({"gavel_dev": {name: known[name] for name in names}, "gavel_marts_dev": marts})


def test_columns_get_the_tags_of_their_contract_and_a_second_time_nothing_is_done(lake: Lake) -> None:
    first = apply(lake)
    assert first.exit_code == 0, first.output
    customers = lake.tags["gavel_dev", "customers"]
    assert (customers["email"], customers["status"]) == ("personal", "internal")
    assert "_extra" not in customers
    assert lake.tags["gavel_dev", "customers_changes"]["_by"] == "personal"
    assert lake.tags["gavel_marts_dev", "fct_orders"] == {"order_id": "internal", "hammer_price": "internal"}
    again = apply(lake)
    assert again.output.strip() == "0 changed"


def test_staff_get_a_filter_of_who_is_there_and_its_grant(lake: Lake) -> None:
    apply(lake)
    (made,) = lake.filters.values()
    assert (made["TableName"], made["RowFilter"]) == ("customers", {"FilterExpression": PRESENT})
    assert "email" in made["ColumnNames"]
    (grant,) = lake.granted
    assert grant["Principal"]["DataLakePrincipalIdentifier"] == f"arn:aws:iam::{ACCOUNT}:role/gavel-dev-staff"
    assert grant["Resource"]["DataCellsFilter"]["Name"] == made["Name"]
    made["ColumnNames"].append("added")
    lake.granted.clear()
    assert apply(lake).exit_code == 0
    assert "added" not in lake.filters[made["Name"]]["ColumnNames"]
    assert len(lake.granted) == 1


def test_every_role_opts_in_on_every_database_and_its_tables(lake: Lake) -> None:
    apply(lake)
    roles = {o["Principal"]["DataLakePrincipalIdentifier"].rpartition("-")[2] for o in lake.opted}
    assert roles == {"analyst", "staff", "engineer", "auditor"}
    assert len(lake.opted) == 4 * 3 * 2


def test_what_somebody_opened_by_hand_is_closed_again(lake: Lake) -> None:
    apply(lake)
    lake.tags["gavel_dev", "customers"] |= {"email": "public", "_extra": "internal"}
    dry = apply(lake, "--dry-run")
    assert dry.exit_code == 3
    assert lake.tags["gavel_dev", "customers"]["email"] == "public"
    done = apply(lake)
    assert "gavel_dev.customers: email: personal" in done.output
    assert "gavel_dev.customers: _extra: as closed as its database" in done.output
    assert lake.tags["gavel_dev", "customers"]["email"] == "personal"
    assert "_extra" not in lake.tags["gavel_dev", "customers"]


def role_arn(role: str) -> dict[str, str]:
    return {"DataLakePrincipalIdentifier": f"arn:aws:iam::{ACCOUNT}:role/gavel-dev-{role}"}


def of_tags(kind: str, **values: list[str]) -> dict[str, Any]:
    pairs = [{"TagKey": f"gavel_dev_{key}", "TagValues": of} for key, of in values.items()]
    return {"LFTagPolicy": {"CatalogId": ACCOUNT, "ResourceType": kind, "Expression": pairs}}


EVERYBODY = {"DataLakePrincipalIdentifier": f"{ACCOUNT}:IAMPrincipals"}
CUSTOMERS = {"Table": {"CatalogId": ACCOUNT, "DatabaseName": "gavel_dev", "Name": "customers"}}
EMAIL = {"TableWithColumns": {**CUSTOMERS["Table"], "ColumnNames": ["email"]}}
OPEN = ["public", "internal"]
DOMAINS = sorted({contract.domain for contract in load_contracts().values()} | {"reporting"})


@pytest.mark.parametrize(
    ("principal", "resource", "rights", "stays"),
    [
        (role_arn("analyst"), CUSTOMERS, ["SELECT"], False),
        (role_arn("analyst"), EMAIL, ["SELECT"], False),
        (role_arn("analyst"), {"Database": {"CatalogId": ACCOUNT, "Name": "gavel_work_dev"}}, ["DESCRIBE"], False),
        (role_arn("analyst"), {"DataLocation": {"ResourceArn": "arn:aws:s3:::b/x"}}, ["DATA_LOCATION_ACCESS"], False),
        (role_arn("analyst"), of_tags("TABLE", classification=OPEN, domain=DOMAINS), ["SELECT", "DESCRIBE"], True),
        (role_arn("analyst"), of_tags("TABLE", classification=OPEN, domain=DOMAINS), ["SELECT", "DELETE"], False),
        (role_arn("analyst"), of_tags("TABLE", classification=OPEN), ["SELECT"], False),
        (role_arn("analyst"), of_tags("TABLE", classification=[*OPEN, "personal"], domain=DOMAINS), ["SELECT"], False),
        (role_arn("engineer"), of_tags("DATABASE", domain=DOMAINS), ["DESCRIBE"], True),
        (EVERYBODY, CUSTOMERS, ["SELECT"], False),
        (EVERYBODY, of_tags("TABLE", classification=["special"]), ["SELECT"], False),
        (EVERYBODY, {"Table": {"DatabaseName": "another", "Name": "customers"}}, ["SELECT"], True),
        (role_arn("tool"), CUSTOMERS, ["SELECT"], True),
    ],
)  # fmt: skip
def test_what_somebody_granted_beside_the_contracts_is_taken_away(
    lake: Lake, principal: dict[str, str], resource: dict[str, Any], rights: list[str], stays: bool
) -> None:
    apply(lake)
    by_hand = {"Principal": principal, "Resource": resource, "Permissions": rights}
    lake.granted.append(by_hand)
    dry = apply(lake, "--dry-run")
    assert ("nothing here grants it" in dry.output) is not stays, dry.output
    assert by_hand in lake.granted
    assert apply(lake).exit_code == 0
    assert (by_hand in lake.granted) is stays
    assert apply(lake).output.strip() == "0 changed"


def test_a_right_to_grant_on_is_taken_away(lake: Lake) -> None:
    apply(lake)
    (filtered,) = lake.granted
    filtered["PermissionsWithGrantOption"] = ["SELECT"]
    assert "staff loses SELECT on DataCellsFilter" in apply(lake).output
    apply(lake)
    assert [g.get("PermissionsWithGrantOption", []) for g in lake.granted] == [[]]


def test_a_table_that_nobody_knows_gets_no_tag(lake: Lake) -> None:
    lake.there["gavel_dev"]["publication_log"] = ["entity"]
    lake.tags["gavel_dev", "publication_log"] = {"entity": "public"}
    apply(lake)
    assert lake.tags["gavel_dev", "publication_log"] == {}


def test_what_is_missing_or_refused_is_said(lake: Lake) -> None:
    lake.refused = "columns not found"
    refused = apply(lake)
    assert refused.exit_code == 1
    assert "Lake Formation refused it: columns not found" in refused.output
    lake.tagged = False
    absent = apply(lake)
    assert absent.exit_code == 1
    assert f"expected the tag {KEY} in Lake Formation, found none" in absent.output
