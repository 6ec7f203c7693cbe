"""A role reads what it may, with the very rows and columns, and is refused the rest: on a Trino whose access control is
made of the grants that Lake Formation gets. Without AWS this is the nearest that an engine comes to enforcing it.

What a role may read is said here once more, by `OPEN` and `who_reads`, and not read from what the rules are made of.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts import load_contracts
from contracts.types import classification_of
from lakehouse.storage.lake import Lake
from local import emulator
from local.aws import CREDENTIALS
from local.home import Home
from ops.governance.roles import ROLES
from ops.governance.wanted import database, tables
from tests.conformance.support.access_rules import Present, rules
from tests.conformance.support.auction_house import Change, batches, drop_countries, publish_batch
from tests.conformance.support.trino_client import OWNER, TrinoClient, TrinoError
from tests.conformance.support.trino_server import CATALOG, HIVE, running_trino

pytestmark = pytest.mark.timeout(3600)
ENVIRONMENT, BUCKET = "test", "gavel-test"
CHANGES = 400
CONTRACTS = load_contracts()
MARTS = [table for table in tables(CONTRACTS) if table.database == "marts"][:3]
PUBLISHED, MART = database("", ENVIRONMENT), database("marts", ENVIRONMENT)
ROLE_NAMES = [role.name for role in ROLES]
OPEN = {
    "analyst": {"public", "internal"},
    "staff": set[str](),
    "engineer": {"public", "internal", "personal"},
    "auditor": {"public", "internal", "personal", "special"},
}
"""Classifications of the columns that a role reads in entities and histories."""
REFUSED = "PERMISSION_DENIED"
HIDDEN = "Relation not found or not allowed"
"""What Trino says of `SELECT *` where a role may read no column; of a table that is not there it says another thing."""


@dataclass(frozen=True)
class House:
    """A published lake on a Trino with rules."""

    url: str
    present: Present

    def run(self, user: str, sql: str) -> list[list[Any]]:
        """The rows of a statement, as somebody. Raises `TrinoError`."""
        return TrinoClient(self.url, CATALOG, user).run(sql).rows

    def named(self, user: str, sql: str) -> tuple[list[str], list[list[Any]]]:
        """The columns and rows of a query."""
        answer = TrinoClient(self.url, CATALOG, user).run(sql)
        return [name for name, _ in answer.columns], answer.rows

    def refusal(self, user: str, sql: str) -> str:
        """How a statement is refused; empty if it is not."""
        try:
            self.run(user, sql)
        except TrinoError as error:
            return REFUSED if str(error).endswith(HIDDEN) else error.name
        return ""

    def good(self, sql: str) -> str:
        """How the owner is refused a statement before it runs."""
        return self.refusal(OWNER, f"EXPLAIN (TYPE VALIDATE) {sql}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The entities as the pipeline publishes them, and marts with the columns of some models."""
    if os.environ.get("GAVEL_TRINO_URL"):
        pytest.skip("the rules are for a Trino of their own")
    folder: Path = tmp_path_factory.mktemp("access")
    home, region = Home(folder / "home"), CREDENTIALS["AWS_REGION"]
    file = folder / "rules.json"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with home.locked():
            endpoint = emulator.start(home).stack.endpoint
        try:
            lake = Lake.of_environment(ENVIRONMENT, BUCKET, region, endpoint)
            lake.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
            drop_countries(lake)
            changes = [change for batch in batches(CONTRACTS, CHANGES, seed=7) for change in batch]
            publish_batch(lake, CONTRACTS, [*changes, *removals(changes)], 0)
            present = columns_of(lake) | {("marts", t.name): [*t.columns] for t in MARTS}
            file.write_text(json.dumps(rules(CONTRACTS, ENVIRONMENT, present)))
            with running_trino(endpoint, region, folder / "trino", file) as trino:
                make_marts(TrinoClient(trino.url, CATALOG))
                yield House(trino.url, present)
        finally:
            emulator.halt(home, clean=False)


def removals(changes: list[Change]) -> Iterator[Change]:
    """One row of each entity with personal data is removed in the end: staff may not read it."""
    for entity in (name for name, contract in CONTRACTS.items() if contract.personal):
        last = max((row for name, row in changes if name == entity), key=lambda row: int(row["_version"] or 0))
        version = int(last["_version"] or 0) + 1
        event = f"{last['_event_id']}/removed"
        yield entity, {**last, "_op": "remove", "_version": str(version), "_event_id": event}


def make_marts(owner: TrinoClient) -> None:
    """Tables of some models, with a row each; and a view of the layer that shows personal values."""
    for schema in (MART, database("personal", ENVIRONMENT)):
        owner.run(f"CREATE SCHEMA {schema} WITH (location = 's3://{BUCKET}/marts/{schema}/')")
    for mart in MARTS:
        values = ", ".join(f"'{column}' AS \"{column}\"" for column in mart.columns)
        owner.run(f"CREATE TABLE {MART}.{mart.name} AS SELECT {values}")
    view = f"{database('personal', ENVIRONMENT)}.people"
    owner.run(f"CREATE VIEW {view} AS SELECT customer_id, email FROM {PUBLISHED}.customers")


def columns_of(lake: Lake) -> dict[tuple[str, str], list[str]]:
    """What Glue knows of the published tables; the publication log is among them, which is no table of Iceberg's."""
    pages = lake.client("glue").get_paginator("get_tables").paginate(DatabaseName=PUBLISHED)
    listed = [table for page in pages for table in page["TableList"]]
    columns = {t["Name"]: [*t["StorageDescriptor"]["Columns"], *t.get("PartitionKeys", [])] for t in listed}
    return {("", name): [c["Name"] for c in found] for name, found in columns.items()}


def who_reads(role: str, name: str, table: str, columns: list[str]) -> tuple[list[str], str]:
    """The columns that a role reads, of a database and table, and the condition of their rows: the table of
    `docs/governance.md` in code."""
    if name == "marts":
        return columns, "true"
    contract = CONTRACTS.get(table.removesuffix("_changes"))
    if contract is None:
        return [c for c in columns if "special" in OPEN[role]], "true"
    fields = {field.name: classification_of(field) for field in contract.fields}
    if role == "staff":
        persons = contract.personal and table == contract.name
        return [
            c for c in columns if persons and fields.get(c, "special") != "special"
        ], "NOT coalesce(_deleted, false)"
    added = {"_by": "personal", "_extra": "special"}
    return [c for c in columns if fields.get(c, added.get(c, "internal")) in OPEN[role]], "true"


def as_text(rows: list[list[Any]]) -> Counter[str]:
    return Counter(json.dumps(row, default=str) for row in rows)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_role_reads_the_rows_and_columns_that_it_may_and_no_others(house: House, role: str) -> None:
    """Of every table that is there. What it reads is what the owner finds in those columns and rows."""
    for (name, table), columns in house.present.items():
        place = f'{database(name, ENVIRONMENT)}."{table}"'
        may, condition = who_reads(role, name, table, columns)
        if not may:
            assert house.refusal(role, f"SELECT count(*) FROM {place}") == REFUSED, place
            continue
        shown, rows = house.named(role, f"SELECT * FROM {place}")
        assert shown == may, place
        listed = ", ".join(f'"{column}"' for column in may)
        owned = house.run(OWNER, f"SELECT {listed} FROM {place} WHERE {condition}")
        assert as_text(rows) == as_text(owned), place
        for column in (column for column in columns if column not in may):
            assert house.refusal(role, f'SELECT "{column}" FROM {place}') == REFUSED, f"{place}.{column}"


def test_the_lake_has_what_roles_differ_in(house: House) -> None:
    """Rows of who was removed, personal values, and a column that no contract knows."""
    for table in ("customers", "shipping_addresses"):
        counted = f"SELECT count(*), count_if(_deleted) FROM {PUBLISHED}.{table}"
        ((everybody, removed),) = house.run(OWNER, counted)
        assert 0 < removed < everybody
        assert house.run("staff", f"SELECT count(*) FROM {PUBLISHED}.{table}") == [[everybody - removed]]
    assert house.run("engineer", f"SELECT count(email) FROM {PUBLISHED}.customers")[0][0] > 0
    assert house.run("analyst", f"SELECT count(kind) FROM {PUBLISHED}.customers")[0][0] > 0
    assert "_extra" in house.present["", "customers"]
    assert ("", "publication_log") in house.present
    assert len(house.present) > 20


PERSONAL = [
    "SELECT email FROM {p}.customers",
    "SELECT c.status FROM {p}.customers c WHERE c.email LIKE 'a%'",
    "SELECT status FROM {p}.customers ORDER BY email",
    "SELECT count(*) FROM {p}.customers GROUP BY email",
    "SELECT max(email) FROM {p}.customers",
    "SELECT 1 FROM {p}.customers c JOIN {p}.customers d ON c.email = d.email",
    "WITH q AS (SELECT email e FROM {p}.customers) SELECT e FROM q",
    "SELECT (SELECT max(email) FROM {p}.customers)",
    "EXECUTE IMMEDIATE 'SELECT email FROM {p}.customers'",
    "SELECT email FROM {p}.customers_changes",
    "SELECT email FROM {p}.customers FOR TIMESTAMP AS OF current_timestamp - interval '1' second",
    'SELECT * FROM {p}."customers$files"',
    'SELECT * FROM {p}."customers$partitions"',
    'SELECT * FROM {p}."customers$manifests"',
    'SELECT * FROM {p}."customers_changes$files"',
    "SELECT email FROM {v}.people",
]


@pytest.mark.parametrize("sql", PERSONAL)
def test_an_analyst_gets_no_personal_value_in_any_way(house: House, sql: str) -> None:
    statement = sql.format(p=PUBLISHED, v=database("personal", ENVIRONMENT))
    assert house.refusal("analyst", statement) == REFUSED
    assert house.refusal(OWNER, statement) == "", "the statement itself is a good one"


@pytest.mark.parametrize("sql", ["SHOW STATS FOR {p}.customers", "SHOW COLUMNS FROM {p}.customers"])
def test_what_describes_a_table_leaves_out_what_is_closed(house: House, sql: str) -> None:
    may, _ = who_reads("analyst", "", "customers", house.present["", "customers"])
    named = {row[0] for row in house.run("analyst", sql.format(p=PUBLISHED))}
    assert named - {None} == set(may)  # the last of the statistics is of the rows, without a name


BOUNDS = [
    'SELECT lower_bounds, upper_bounds FROM {p}."customers$files"',
    'SELECT data FROM {p}."customers$partitions"',
    'SELECT partition_summaries FROM {p}."customers$manifests"',
    'SELECT readable_metrics FROM {p}."customers_changes$entries"',
    'SELECT readable_metrics FROM {p}."customers_changes$all_entries"',
]


@pytest.mark.parametrize("sql", BOUNDS)
def test_bounds_of_files_that_tell_values_are_closed_to_all(house: House, sql: str) -> None:
    """Also to who reads only some rows or columns: bounds are of all of them."""
    statement = sql.format(p=PUBLISHED)
    assert {role: house.refusal(role, statement) for role in ROLE_NAMES} == dict.fromkeys(ROLE_NAMES, REFUSED)
    assert house.good(statement) == ""


WRITES = [
    "INSERT INTO {p}.countries SELECT * FROM {p}.countries",
    "DELETE FROM {p}.orders",
    "UPDATE {p}.orders SET status = 'paid'",
    "DROP TABLE {p}.orders",
    "ALTER TABLE {p}.orders ADD COLUMN mine varchar",
    "CREATE TABLE {m}.mine AS SELECT 1 one",
    "CREATE VIEW {m}.mine AS SELECT 1 one",
    "CREATE SCHEMA mine WITH (location = 's3://a-bucket-of-mine/')",
    "CALL {c}.system.rollback_to_snapshot('{p}', 'orders', 1)",
    "CREATE FUNCTION {c}.{m}.mine() RETURNS integer RETURN 1",
    "GRANT SELECT ON {p}.customers TO USER analyst",
]


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_nobody_of_the_roles_writes(house: House, role: str) -> None:
    """Procedures of a table (`ALTER TABLE … EXECUTE optimize`) are left out: Trino's rules have no word for them, and
    whoever reads all rows of a table may run them."""
    statements = [sql.format(p=PUBLISHED, m=MART, c=CATALOG) for sql in WRITES]
    assert {sql: house.refusal(role, sql) for sql in statements} == dict.fromkeys(statements, REFUSED)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_other_databases_and_catalogs_are_closed(house: House, role: str) -> None:
    """Landing by either connector, the tables that no audit has passed, and what others ask."""
    work, landing = f"gavel_work_{ENVIRONMENT}", f"gavel_landing_{ENVIRONMENT}"
    for place in (f"{CATALOG}.{work}", f"{CATALOG}.{landing}", f"{HIVE}.{landing}"):
        for sql in (f"SELECT * FROM {place}.customers", f"SELECT email FROM {place}.customers"):
            assert house.refusal(role, sql) == REFUSED, sql
            assert house.good(sql) == "", sql
    assert house.run(role, "SHOW CATALOGS") == [[CATALOG], [HIVE], ["system"]]
    assert house.run(role, "SHOW SCHEMAS") == [[MART], [PUBLISHED]]
    assert house.refusal(role, "SELECT query FROM system.runtime.queries") == REFUSED
    listed = f"SELECT table_name FROM information_schema.tables WHERE table_schema IN ('{work}', '{landing}')"
    assert house.run(role, listed) == []
    assert house.run(OWNER, listed) != []
