"""A role of people reads what it is for and nothing else: worked out for every column of contracts and models."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import Contracts, Field, load_contracts
from contracts.types import StringType, classification_of
from ops.governance.granting import resources
from ops.governance.roles import MOST_CLOSED, ROLES
from ops.governance.wanted import CellsFilter, TaggedTable, database, defaults, filters, tables
from tests.support.expanded import expanded, expanded_stack
from tests.support.lake_formation import LakeFormation
from tests.support.rights import ACCOUNT, PEOPLE, may, permitted, statements

ROOT = Path(__file__).parents[3]
CONTRACTS = load_contracts()
BUCKET = f"s3:::gavel-prod-data-{ACCOUNT}"
TABLES = {(table.database, table.name): table for table in tables(CONTRACTS)}
PERSONAL = {(entity, name) for entity, contract in CONTRACTS.items() for name in contract.personal}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return dict(expanded_stack("governance", "prod")["Resources"])


@pytest.fixture
def lake(template: dict[str, Any]) -> LakeFormation:
    return LakeFormation("prod", copy.deepcopy(template), filters(CONTRACTS))


def entity(table: TaggedTable) -> str:
    return table.name.removesuffix("_changes")


def is_personal(table: TaggedTable, column: str) -> bool:
    return table.database == "" and ((entity(table), column) in PERSONAL or column in ("_by", "_extra"))


def present(table: TaggedTable) -> list[str]:
    """The columns of a table, with what nothing is tagged for."""
    return [*table.columns, *(() if table.database else ("_extra",))]


def breaches(lake: LakeFormation, known: dict[tuple[str, str], TaggedTable] = TABLES) -> list[str]:
    """What a role reads although it is not for it, or does not read although it is."""
    found = []
    for role in ROLES:
        for table in known.values():
            reads = lake.columns(role.name, table, present(table))
            expected = EXPECTED[role.name](table)
            found += [f"{role.name} reads {table.name}.{c}" for c in reads.keys() - expected.keys()]
            found += [f"{role.name} does not read {table.name}.{c}" for c in expected.keys() - reads.keys()]
            found += [
                f"{role.name}: rows of {table.name}.{c}" for c in reads.keys() & expected if reads[c] != expected[c]
            ]
    return found


def analyst(table: TaggedTable) -> dict[str, str]:
    return {c: "" for c in present(table) if not is_personal(table, c)}


def staff(table: TaggedTable) -> dict[str, str]:
    if table.database:
        return analyst(table)
    contract = CONTRACTS[entity(table)]
    if table.name.endswith("_changes") or not contract.personal:
        return {}
    return dict.fromkeys(contract.field_names, "_deleted IS NULL OR _deleted = false")


def engineer(table: TaggedTable) -> dict[str, str]:
    return {c: "" for c in present(table) if c != "_extra"}


def auditor(table: TaggedTable) -> dict[str, str]:
    return dict.fromkeys(present(table), "")


EXPECTED: dict[str, Callable[[TaggedTable], dict[str, str]]] = {
    "analyst": analyst, "staff": staff, "engineer": engineer, "auditor": auditor,
}  # fmt: skip
"""What each role is for, written apart from what the product works out."""


def test_every_role_reads_every_column_that_it_is_for_and_no_other(lake: LakeFormation) -> None:
    assert len(TABLES) > 40
    assert len(PERSONAL) >= 6
    assert breaches(lake) == []
    assert [r.name for r in ROLES] == [*EXPECTED] == [*PEOPLE]


def widened(template: dict[str, Any], grant: str, key: str, value: str) -> LakeFormation:
    changed = copy.deepcopy(template)
    expression = changed[grant]["Properties"]["Resource"]["LFTagPolicy"]["Expression"]
    (pair,) = (pair for pair in expression if pair["TagKey"] == f"gavel_prod_{key}")
    pair["TagValues"].append(value)
    return LakeFormation("prod", changed, filters(CONTRACTS))


@pytest.mark.parametrize(
    ("grant", "key", "value", "seen"),
    [
        ("AnalystReads", "classification", "personal", "analyst reads customers.email"),
        ("StaffReads", "domain", "auctions", "staff reads bids.amount"),
        ("EngineerReads", "classification", MOST_CLOSED, "engineer reads customers._extra"),
    ],
)
def test_a_grant_that_is_widened_is_seen(template: dict[str, Any], grant: str, key: str, value: str, seen: str) -> None:
    assert seen in breaches(widened(template, grant, key, value))


def test_a_filter_that_is_widened_and_a_grant_beside_the_tags_are_seen(template: dict[str, Any]) -> None:
    more = CellsFilter("analyst", "", "customers", ("email",), "")
    assert breaches(LakeFormation("prod", template, [*filters(CONTRACTS), more])) == ["analyst reads customers.email"]
    rows = [replace(each, rows="") for each in filters(CONTRACTS)]
    assert "staff: rows of customers.email" in breaches(LakeFormation("prod", template, rows))
    named = copy.deepcopy(template["AnalystReads"])
    named["Properties"]["Resource"] = {"Table": {"DatabaseName": "gavel_prod", "Name": "customers"}}
    with pytest.raises(KeyError):
        breaches(LakeFormation("prod", {**template, "Another": named}, filters(CONTRACTS)))


def with_field(classification: Any) -> Contracts:
    """The contracts with a field of customers that nothing else says anything of."""
    customers = CONTRACTS["customers"]
    new = Field("remark", 900, StringType(), classification=classification)
    return Contracts({**CONTRACTS, "customers": replace(customers, fields=(*customers.fields, new))})


@pytest.mark.parametrize(
    ("classification", "readers"),
    [
        ("internal", {"analyst", "staff", "engineer", "auditor"}),
        ("personal", {"staff", "engineer", "auditor"}),
        ("special", {"auditor"}),
    ],
)
def test_a_new_field_is_as_closed_as_its_contract_says(classification: Any, readers: set[str]) -> None:
    contracts = with_field(classification)
    made = LakeFormation("prod", resources(contracts, "prod"), filters(contracts))
    (table,) = (t for t in tables(contracts) if t.name == "customers")
    assert {role.name for role in ROLES if "remark" in made.columns(role.name, table)} == readers


def test_a_column_and_a_table_that_nobody_has_tagged_are_closed_but_to_the_auditor(lake: LakeFormation) -> None:
    """A field is in Glue before its tag is, with the batch that brings it. The pipeline's own tables have no tags."""
    columns = [*TABLES["", "customers"].columns, "added"]
    assert {r.name for r in ROLES if "added" in lake.columns(r.name, TABLES["", "customers"], columns)} == {"auditor"}
    unknown = TaggedTable("", "publication_log", "", {})
    assert {r.name for r in ROLES if lake.columns(r.name, unknown, ["entity"])} == {"auditor"}


def test_a_personal_column_of_a_mart_is_closed_although_marts_are_open(lake: LakeFormation) -> None:
    mart = TaggedTable("marts", "dim_customer", "reporting", {"customer_id": "internal", "email": "personal"})
    assert set(lake.columns("analyst", mart)) == {"customer_id"}
    assert set(lake.columns("engineer", mart)) == {"customer_id", "email"}


def test_a_part_of_a_field_that_is_closed_closes_the_field() -> None:
    for contract in CONTRACTS.values():
        for field in contract.fields:
            assert TABLES["", contract.name].columns[field.name] == classification_of(field)


def test_people_may_do_nothing_but_read(lake: LakeFormation) -> None:
    for role in ROLES:
        assert lake.rights(role.name) == {"SELECT", "DESCRIBE"}, role.name
        for name in defaults(CONTRACTS):
            assert lake.finds(role.name, name), (role.name, name)


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("place", ["warehouse", "marts", "landing", "dropbox", "quarantine", "exports", "erasures"])
def test_no_role_of_people_reads_a_file_of_the_lake(role: str, place: str) -> None:
    assert not may(role, "prod", "s3:GetObject", f"{BUCKET}/{place}/customers/a.parquet")
    assert not may(role, "prod", "s3:PutObject", f"{BUCKET}/{place}/customers/a.parquet")


DATA, OWN = BUCKET, f"s3:::gavel-prod-results-{ACCOUNT}"
ATTACKS = [
    ("s3:GetObject", f"{DATA}/ledger/customers/1.json"),
    ("s3:GetObject", f"{DATA}/relay-failures/dt=2026-11-20/customers-1"),
    ("s3:GetObject", f"{DATA}/athena-results/1.csv"),
    ("s3:GetObject", f"{DATA}/parity-samples/1.json"),
    ("s3:GetObject", f"{DATA}/retrieval/answers/1.json"),
    ("s3:GetObject", f"{DATA}/erasures/holds/1.sealed"),
    ("s3:GetObject", f"{DATA}/a-prefix-of-tomorrow/1.parquet"),
    ("s3:ListBucket", DATA),
    ("s3:ListBucket", OWN),
    ("s3:PutObject", "s3:::a-bucket-of-mine/copy.csv"),
    ("s3:GetObject", f"{OWN}/unload/1.csv"),
    ("s3:PutBucketPolicy", OWN),
    ("glue:CreateTable", "glue:table/gavel_marts_prod/mine"),
    ("glue:CreateDatabase", "glue:database/mine"),
    ("glue:UpdateTable", "glue:table/gavel_prod/customers"),
    ("glue:GetTable", "glue:table/gavel_work_prod/customers"),
    ("glue:GetTable", "glue:table/gavel_landing_prod/customers"),
    ("glue:GetTable", "glue:table/gavel_personal_prod/customers"),
    ("glue:GetTable", "glue:table/gavel_dev/customers"),
    ("glue:GetTable", "glue:table/default/mine"),
    ("athena:CreatePreparedStatement", "athena:workgroup/gavel-prod-{role}"),
    ("athena:GetPreparedStatement", "athena:workgroup/gavel-prod-{role}"),
    ("athena:UpdateWorkGroup", "athena:workgroup/gavel-prod-{role}"),
    ("athena:CreateDataCatalog", "athena:datacatalog/mine"),
    ("athena:GetDataCatalog", "athena:datacatalog/mine"),
    ("athena:StartSession", "athena:workgroup/gavel-prod-{role}"),
    ("lambda:InvokeFunction", "lambda:function:a-connector"),
    ("lambda:InvokeFunction", "lambda:function:gavel-prod-api"),
    ("dynamodb:GetItem", "dynamodb:table/gavel-prod"),
    ("dynamodb:Scan", "dynamodb:table/gavel-prod-requests"),
    ("dynamodb:GetRecords", "dynamodb:table/gavel-prod/stream/1"),
    ("dynamodb:ExportTableToPointInTime", "dynamodb:table/gavel-prod"),
    ("sqs:ReceiveMessage", "sqs:gavel-prod-inbound-dead-letters"),
    ("logs:PutLogEvents", "logs:log-group:/gavel/prod/api:log-stream:1"),
    ("logs:DeleteLogGroup", "logs:log-group:/gavel/prod/api:*"),
    ("logs:PutRetentionPolicy", "logs:log-group:/gavel/prod/api:*"),
    ("logs:FilterLogEvents", "logs:log-group:/gavel/prod/inbound:*"),
    ("s3:PutObject", f"s3:::gavel-prod-trail-{ACCOUNT}/AWSLogs/1.json.gz"),
    ("cloudtrail:StopLogging", "cloudtrail:trail/gavel-prod"),
    ("lakeformation:GrantPermissions", "*"),
    ("lakeformation:AddLFTagsToResource", "*"),
    ("lakeformation:DeleteLakeFormationOptIn", "*"),
    ("lakeformation:PutDataLakeSettings", "*"),
    ("sts:AssumeRole", "iam:role/gavel-prod-runs"),
    ("sts:AssumeRole", "iam:role/gavel-prod-lending"),
    ("iam:PassRole", "iam:role/gavel-prod-runs"),
    ("secretsmanager:GetSecretValue", "secretsmanager:secret:rds!db-1"),
]


@pytest.mark.parametrize("role", PEOPLE)
def test_no_role_of_people_has_a_way_around(role: str) -> None:
    """Files, other catalogs, statements and connectors of their own, tables and queues behind the lake, the logs."""
    assert [f"{a} {r}" for a, r in ATTACKS if may(role, "prod", a, r.format(role=role))] == []


def test_what_another_policy_allows_opens_no_file_and_takes_none_away() -> None:
    """Someone attaches an administrator's policy: the lake's files, and buckets of one's own, stay closed."""
    everything = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
    for role in PEOPLE:
        found = [*statements(role, "prod"), everything]
        for action, resource in ATTACKS:
            if action in ("s3:GetObject", "s3:PutObject") and "trail" not in resource:
                assert not permitted(found, action, resource), (role, action, resource)
        assert not permitted(found, "s3:GetObject", f"{DATA}/warehouse/customers/data/1.parquet")
        assert not permitted(found, "s3:GetObject", f"{DATA}/marts/gavel_work_marts_prod/fct_orders/1.parquet")
        for other in PEOPLE:
            assert permitted(found, "s3:GetObject", f"{OWN}/{other}/1.csv") == (role == other)


def test_the_auditor_alone_searches_what_the_api_showed() -> None:
    requests, log = "dynamodb:table/gavel-prod-requests", "logs:log-group:/gavel/prod/api:*"
    for role in PEOPLE:
        is_auditor = role == "auditor"
        key = {"dynamodb__LeadingKeys": "trail-key"}
        assert may(role, "prod", "dynamodb:GetItem", requests, **key) == is_auditor
        assert may(role, "prod", "logs:StartQuery", log) == is_auditor
        assert not may(role, "prod", "dynamodb:GetItem", requests, dynamodb__LeadingKeys="receipt 1")
        assert not may(role, "prod", "logs:StartQuery", "logs:log-group:/gavel/prod/inbound:*")


def test_the_trail_leaves_out_what_services_alone_read_as(template: dict[str, Any]) -> None:
    """A role that a person could take on is never left out, and no folder of the lake is."""
    services = of_services()
    kinds = {}
    for selector in template["Trail"]["Properties"]["AdvancedEventSelectors"]:
        fields = {f["Field"]: f for f in selector["FieldSelectors"]}
        if fields["eventCategory"]["Equals"] == ["Management"]:
            assert set(fields) == {"eventCategory", "eventSource"}
            continue
        (kind,) = fields["resources.type"]["Equals"]
        kinds[kind] = json.dumps(fields["resources.ARN"]["StartsWith"])
        for arn in fields["userIdentity.arn"]["NotStartsWith"]:
            name = arn["Fn::Sub"].rpartition(":assumed-role/gavel-${Environment}-")[2]
            assert name in services, f"{kind}: {name} is no role of a service alone; there are {sorted(services)}"
    assert kinds.keys() == {"AWS::S3::Object", "AWS::DynamoDB::Table", "AWS::DynamoDB::Stream", "AWS::SQS::Queue"}
    for bucket in ("data", "results"):
        assert f'gavel-${{Environment}}-{bucket}-${{AWS::AccountId}}/"' in kinds["AWS::S3::Object"]


def of_services() -> set[str]:
    """How sessions of roles begin that services alone take on, behind `gavel-<environment>-`."""
    found = set()
    for stack, template in (("realtime", expanded("prod")), ("pipeline", expanded_stack("pipeline", "prod"))):
        for name, role in template["Resources"].items():
            if role["Type"] != "AWS::IAM::Role":
                continue
            trusted = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            if all(set(statement["Principal"]) == {"Service"} for statement in trusted):
                own = role["Properties"].get("RoleName")
                if own:
                    found.add(f"{own['Fn::Sub'].removeprefix('gavel-${Environment}-')}/")
                elif stack == "realtime":  # whose name is gavel-<environment>, with which the names of its roles begin
                    found.add(f"{name}-")
    return found


def test_nobody_comes_into_a_task_that_reads_unseen() -> None:
    """With ECS Exec a person would read as the pipeline, whom the trail leaves out."""
    pipeline = json.dumps(expanded_stack("pipeline", "prod"))
    assert "EnableExecuteCommand" not in pipeline
    assert "ssmmessages" not in pipeline


def test_the_account_keeps_its_own_way_of_sharing(template: dict[str, Any]) -> None:
    (settings,) = of_type(template, "AWS::LakeFormation::DataLakeSettings")
    assert settings["Properties"]["Parameters"] == {"SET_SOURCE_IDENTITY": "TRUE"}


@pytest.mark.parametrize("role", PEOPLE)
def test_a_role_of_people_has_a_workgroup_and_results_of_its_own(role: str, template: dict[str, Any]) -> None:
    results = f"s3:::gavel-prod-results-{ACCOUNT}"
    for other in PEOPLE:
        assert may(role, "prod", "athena:StartQueryExecution", f"athena:workgroup/gavel-prod-{other}") == (
            other == role
        )
        assert may(role, "prod", "s3:GetObject", f"{results}/{other}/1.csv") == (other == role)
    assert not may(role, "prod", "athena:StartQueryExecution", "athena:workgroup/gavel-prod")
    assert may(role, "prod", "glue:GetTable", "glue:table/gavel_prod/customers")
    configuration = template[f"{role.capitalize()}Workgroup"]["Properties"]["WorkGroupConfiguration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["ResultConfiguration"]["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert configuration["BytesScannedCutoffPerQuery"] == {"Ref": "QueryLimitBytes"}


def test_the_trail_is_the_auditors_alone_and_the_auditor_writes_nothing() -> None:
    trail = f"s3:::gavel-prod-trail-{ACCOUNT}/AWSLogs/1.json.gz"
    for role in PEOPLE:
        for action, resource in (("s3:GetObject", trail), ("glue:GetTable", "glue:table/gavel_access_prod/trail")):
            assert may(role, "prod", action, resource) == (role == "auditor")
    actions = {a for s in statements("auditor", "prod") if s["Effect"] == "Allow" for a in s["Action"]}
    reading = ("Get", "List", "BatchGet", "Decrypt")
    own = {"athena:StartQueryExecution", "athena:StopQueryExecution", "kms:GenerateDataKey"}
    own |= {"s3:AbortMultipartUpload", "s3:PutObject"}  # its results
    own.add("logs:StartQuery")
    assert {a for a in actions if not a.partition(":")[2].startswith(reading)} == own


@pytest.mark.parametrize("role", PEOPLE)
def test_a_role_is_taken_on_by_whom_the_provider_names_with_a_second_factor(
    role: str, template: dict[str, Any]
) -> None:
    (trusted,) = template[PEOPLE[role]]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Federated": {"Ref": "IdentityProvider"}}
    assert trusted["Condition"] == {
        "StringEquals": {
            "SAML:aud": "https://signin.aws.amazon.com/saml",
            "sts:SourceIdentity": "${saml:sub}",
            "sts:RoleSessionName": "${saml:sub}",
            "aws:RequestTag/mfa": "true",
        }
    }


def test_the_pipeline_goes_on_writing(template: dict[str, Any]) -> None:
    """Places are registered in hybrid mode, and who makes or moves tables there has the right that it asks for."""
    places = {json.dumps(r["Properties"]["ResourceArn"]): r for r in of_type(template, "AWS::LakeFormation::Resource")}
    assert len(places) == 2
    writers: dict[str, list[str]] = {place: [] for place in places}
    for grant in of_type(template, "AWS::LakeFormation::PrincipalPermissions"):
        if location := grant["Properties"]["Resource"].get("DataLocation"):
            assert grant["Properties"]["Permissions"] == ["DATA_LOCATION_ACCESS"]
            who = grant["Properties"]["Principal"]["DataLakePrincipalIdentifier"]["Ref"]
            writers[json.dumps(location["ResourceArn"])].append(who)
    for place, registered in places.items():
        assert registered["Properties"]["HybridAccessEnabled"] is True
        assert sorted(writers[place]) == ["Administrator", "PipelineRole"]
    (settings,) = of_type(template, "AWS::LakeFormation::DataLakeSettings")
    assert settings["Properties"]["MutationType"] == "APPEND"
    for of in ("CreateDatabaseDefaultPermissions", "CreateTableDefaultPermissions"):
        everyone = {"DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS"}
        assert settings["Properties"][of] == [{"Principal": everyone, "Permissions": ["ALL"]}]


def test_what_lake_formation_lends_is_read_only_and_of_registered_places(template: dict[str, Any]) -> None:
    lending = template["LendingRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert {a for s in lending for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])} == {
        "s3:ListBucket", "s3:GetObject", "kms:Decrypt"
    }  # fmt: skip
    read = json.dumps(next(s for s in lending if s["Sid"] == "ReadTables")["Resource"])
    assert read.count("warehouse/*") == read.count("marts/*") == 1
    assert len(json.loads(read)) == 2


def test_environments_of_one_account_do_not_share_tags() -> None:
    for first, second in (("dev", "prod"), ("test", "dev")):
        keys = [
            {r["Properties"]["TagKey"] for r in of_type(resources(CONTRACTS, e), "AWS::LakeFormation::Tag")}
            for e in (first, second)
        ]
        assert not keys[0] & keys[1]
        assert database("", first) != database("", second)


def of_type(made: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [r for r in made.values() if r["Type"] == kind]
    assert found, kind
    return found


def test_the_page_says_what_the_roles_read(lake: LakeFormation) -> None:
    """The table of docs/governance.md, a line for each role and kind of column."""
    page = (ROOT / "docs" / "governance.md").read_text("utf-8")
    for line in page_lines(lake):
        assert line in page, f"docs/governance.md lacks: {line}"


def page_lines(lake: LakeFormation) -> list[str]:
    kinds = {
        "marts and reports": (TABLES["marts", "fct_orders"], "order_id"),
        "entities and histories: public, internal": (TABLES["", "customers_changes"], "status"),
        "personal, of who is there": (TABLES["", "customers"], "email"),
        "personal, in histories": (TABLES["", "customers_changes"], "email"),
        "special, and what no contract knows": (TABLES["", "customers"], "_extra"),
    }
    header = f"| | {' | '.join(role.name for role in ROLES)} |"
    lines = [header]
    for kind, (table, column) in kinds.items():
        read = (column in lake.columns(role.name, table, present(table)) for role in ROLES)
        lines.append(f"| {kind} | {' | '.join('yes' if one else '–' for one in read)} |")
    return lines


def test_nothing_that_is_added_takes_the_place_of_what_is_written() -> None:
    text = (ROOT / "deploy" / "governance.yaml").read_text("utf-8")
    assert [name for name in resources(CONTRACTS, "prod") if f"\n  {name}:" in text] == []


def test_yaml_names_the_roles_that_the_code_has() -> None:
    people = expanded_stack("governance", "prod")["Mappings"]["People"]
    assert {(name, of["Name"], of["Purpose"].rstrip(".").lower()) for name, of in people.items()} == {
        (r.name.capitalize(), r.name, r.purpose.lower()) for r in ROLES
    }
    assert yaml.safe_load((ROOT / "deploy" / "wildcards.yaml").read_text("utf-8"))["roles"][
        "lakeformation:GetDataAccess"
    ]
