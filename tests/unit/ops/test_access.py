"""Who read whose data: the query over events as AWS documents them, run by DuckDB, and what is made of its rows.

The events follow AWS's own examples: Lake Formation's of an Athena query, Athena's, S3's and DynamoDB's data events.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
import sqlglot
from typer.testing import CliRunner, Result

from ops.command_line import app
from ops.environment import Environment
from ops.governance.granting import WHO_READ
from retrieval import log
from retrieval.log import Entry
from tests.support.expanded import expanded_stack

ACCOUNT = "111122223333"
QUERY = "33333333-4444-5555-6666-777777777777"
LENT = "AWSLF-00-AT-111122223333-EXAMPLE04"
DAY = "2026/11/20"


def identity(role: str, session: str, source: str | None = None) -> dict[str, Any]:
    """`userIdentity` of a session of a role."""
    issuer = {
        "type": "Role",
        "principalId": "AROAEXAMPLE",
        "arn": f"arn:aws:iam::{ACCOUNT}:role/{role}",
        "accountId": ACCOUNT,
    }
    context: dict[str, Any] = {
        "sessionIssuer": {**issuer, "userName": role},
        "attributes": {"creationDate": "2026-11-20T08:00:00Z", "mfaAuthenticated": "false"},
    }
    return {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLE:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        "accountId": ACCOUNT,
        "sessionContext": context | ({"sourceIdentity": source} if source else {}),
    }


def event(who: dict[str, Any], source: str, name: str, time: str, **more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11", "userIdentity": who, "eventTime": f"2026-11-20T{time}Z", "eventSource": source,
        "eventName": name, "awsRegion": "eu-west-1", "sourceIPAddress": "203.0.113.10", "readOnly": True,
        "requestParameters": None, "responseElements": None, "additionalEventData": None, "errorCode": None, **more,
    }  # fmt: skip


ANNA = identity("gavel-prod-staff", "anna@gavel.example", "anna@gavel.example")
LENDING = identity("gavel-prod-lending", LENT, "V2.111122223333.AROAEXAMPLE")


def lent(
    who: dict[str, Any], table: str, time: str, query: str = QUERY, name: str = LENT, **more: Any
) -> dict[str, Any]:
    return event(
        who | {"invokedBy": "athena.amazonaws.com"}, "lakeformation.amazonaws.com", "GetDataAccess", time,
        requestParameters={
            "tableArn": f"arn:aws:glue:eu-west-1:{ACCOUNT}:table/{table}",
            "permissions": ["SELECT"],
            "auditContext": {"additionalAuditContext": f"{{queryId: {query}}}"},
            "cellLevelSecurityEnforced": True,
        },
        additionalEventData={
            "requesterService": "ATHENA",
            "lakeFormationPrincipal": f"arn:aws:iam::{ACCOUNT}:role/gavel-prod-staff",
            "lakeFormationRoleSessionName": name,
        },
        **more,
    )  # fmt: skip


def file_read(who: dict[str, Any], key: str, time: str, size: int) -> dict[str, Any]:
    return event(
        who, "s3.amazonaws.com", "GetObject", time,
        requestParameters={"bucketName": f"gavel-prod-data-{ACCOUNT}", "key": key},
        additionalEventData={"bytesTransferredOut": size, "SignatureVersion": "SigV4"},
    )  # fmt: skip


OPERATOR = identity("administrator", "olaf")
EVENTS = [
    event(
        ANNA, "athena.amazonaws.com", "StartQueryExecution", "09:00:00",
        requestParameters={"queryString": "***OMITTED***", "workGroup": "gavel-prod-staff"},
        responseElements={"queryExecutionId": QUERY},
    ),
    lent(ANNA, "gavel_prod/customers", "09:00:02"),
    file_read(LENDING, "warehouse/customers/data/a.parquet", "09:00:03", 1000),
    file_read(LENDING, "warehouse/customers/data/b.parquet", "09:00:04", 500),
    lent(ANNA, "gavel_prod/orders", "09:10:00", query="99999999-4444-5555-6666-777777777777", name="AWSLF-00-AT-2"),
    lent(identity("gavel-dev-analyst", "ben", "ben"), "gavel_dev/customers", "09:20:00", name="AWSLF-00-AT-3"),
    lent(identity("gavel-prod-analyst", "ben", "ben"), "gavel_prod/customers", "09:30:00", errorCode="AccessDenied"),
    file_read(OPERATOR, "landing/customers/dt=2026-11-20/hh=09/a.parquet", "10:00:00", 70),
    file_read(OPERATOR, "landing/customers/dt=2026-11-20/hh=09/b.parquet", "10:00:01", 30),
    event(
        OPERATOR, "dynamodb.amazonaws.com", "GetItem", "11:00:00",
        requestParameters={"tableName": "gavel-prod", "key": {"pk": "CUSTOMER#c-7", "sk": "CUSTOMER"}},
    ),
]  # fmt: skip


def answered(events: list[dict[str, Any]], first: str = DAY, last: str = DAY) -> list[list[str]]:
    """The rows of the query, as texts: the table has the columns that the template gives it in Glue."""
    table = expanded_stack("governance", "prod")["Resources"]["AccessTrail"]["Properties"]["TableInput"]
    columns = [c["Name"] for c in table["StorageDescriptor"]["Columns"]]
    duck = duckdb.connect()
    struct = next(c["Type"] for c in table["StorageDescriptor"]["Columns"] if c["Name"] == "useridentity")
    assert " " not in struct, "Glue takes no type with spaces"
    kinds = {"useridentity": sqlglot.parse_one(struct, into=sqlglot.exp.DataType, dialect="hive").sql("duckdb")}
    declared = ", ".join(f"{name} {kinds.get(name, 'VARCHAR')}" for name in [*columns, "day"])
    duck.execute(f"CREATE TABLE trail ({declared})")
    for one in events:
        lower = {name.lower(): value for name, value in one.items()}
        found = {name: lower.get(name) for name in columns} | {"day": DAY}
        places = ", ".join(f"CAST(? AS {kinds[n]})" if n in kinds else "?" for n in found)
        duck.execute(f"INSERT INTO trail VALUES ({places})", [texted(n, v, kinds) for n, v in found.items()])
    (statement,) = sqlglot.transpile(WHO_READ.read_text("utf-8"), read="trino", write="duckdb")
    return [[str(value) for value in row] for row in duck.execute(statement, [first, last]).fetchall()]


def texted(name: str, value: Any, kinds: dict[str, str]) -> Any:
    if name in kinds:
        return lowered(value)
    return json.dumps(value) if isinstance(value, dict | list) else value


def lowered(value: Any) -> Any:
    """As the SerDe reads it: names without regard to upper and lower case, and what is not there as null."""
    known = {
        "type": None, "principalid": None, "arn": None, "accountid": None, "invokedby": None, "accesskeyid": None,
        "username": None, "sessioncontext": {
            "attributes": {"mfaauthenticated": None, "creationdate": None},
            "sessionissuer": dict.fromkeys(("type", "principalid", "arn", "accountid", "username")),
            "sourceidentity": None,
        },
    }  # fmt: skip

    def fill(shape: Any, of: Any) -> Any:
        if not isinstance(shape, dict):
            return of
        given = {name.lower(): inner for name, inner in (of or {}).items()}
        return {name: fill(inner, given.get(name)) for name, inner in shape.items()}

    return fill(known, value)


def test_the_query_says_who_read_which_table_for_which_query_and_how_much() -> None:
    rows = answered(EVENTS)
    assert rows[0] == [
        "2026-11-20T09:00:02Z", "anna@gavel.example", "gavel-prod-staff", "query", "gavel_prod.customers", "",
        "gavel-prod-staff", QUERY, "2", "1500",
    ]  # fmt: skip
    assert [row[:5] for row in rows[1:3]] == [
        ["2026-11-20T09:10:00Z", "anna@gavel.example", "gavel-prod-staff", "query", "gavel_prod.orders"],
        ["2026-11-20T09:20:00Z", "ben", "gavel-dev-analyst", "query", "gavel_dev.customers"],
    ]


def test_what_was_read_around_lake_formation_is_found() -> None:
    rows = answered(EVENTS)
    files = ["2026-11-20T10:00:00Z", "olaf", "administrator", "file", "landing/customers", "", "", "", "2", "100"]
    assert rows[3] == files
    assert rows[4][:5] == ["2026-11-20T11:00:00Z", "olaf", "administrator", "item", "gavel-prod"]
    assert "CUSTOMER#c-7" in rows[4][5]
    assert len(rows) == 5


def test_a_name_that_a_session_gives_itself_does_not_stand_before_its_source_identity() -> None:
    mallory = identity("gavel-prod-staff", "anna@gavel.example", "mallory@gavel.example")
    ((_, person, *_),) = answered([lent(mallory, "gavel_prod/customers", "09:00:00")])
    assert person == "mallory@gavel.example"


def test_only_the_days_that_are_given_are_read() -> None:
    assert answered(EVENTS, "2026/11/21", "2026/11/30") == []
    assert len(answered(EVENTS, "2026/11/19", "2026/11/21")) == 5


class Account:
    """Athena over the events, and a lake with a log of questions."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self.given: dict[str, Any] = {}
        self.state = "SUCCEEDED"

    def __call__(self, service: str) -> Account:
        return self

    def start_query_execution(self, **given: Any) -> dict[str, str]:
        self.given = given
        return {"QueryExecutionId": "own"}

    def get_query_execution(self, QueryExecutionId: str) -> dict[str, Any]:
        return {"QueryExecution": {"Status": {"State": self.state, "StateChangeReason": "no rights"}}}

    def get_paginator(self, operation: str) -> Any:
        first, last = (day.strip("'") for day in self.given["ExecutionParameters"])
        rows = [["head"] * 10, *answered(EVENTS, first, last)]

        class Pages:
            @staticmethod
            def paginate(**_: Any) -> Any:
                data = [{"Data": [{"VarCharValue": v} if v else {} for v in row]} for row in rows]
                return [{"ResultSet": {"Rows": data[:2]}}, {"ResultSet": {"Rows": data[2:]}}]

        return Pages

    def batch_get_query_execution(self, QueryExecutionIds: list[str]) -> dict[str, Any]:
        known = [i for i in QueryExecutionIds if i in self.texts]
        return {"QueryExecutions": [{"QueryExecutionId": i, "Query": self.texts[i]} for i in known]}


def command(account: Account, *options: str) -> Result:
    days = ("--since", "2026-11-20T00:00:00Z", "--until", "2026-11-21T00:00:00Z")
    environment = Environment("prod", account)
    return CliRunner().invoke(app, ["access", "who-read", *options, *days], obj=lambda name: environment)


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log in which one question is about `c-7`, and one about an order."""

    def kept(lake: Any, day: datetime) -> list[Entry]:
        at = datetime(2026, 11, 20, 12, tzinfo=UTC)
        about = Entry(
            "1", at, "arn:aws:sts::1:assumed-role/x/carla", "party_history", {"customer_id": "person-1"}, True
        )
        other = Entry("2", at, "dora", "order_as_of", {"order_id": "o-1"}, False)
        return [about, other] if f"{day:%Y-%m-%d}" == "2026-11-20" else []

    monkeypatch.setattr(log, "kept", kept)
    monkeypatch.setattr(log, "pseudonym", lambda lake, identity: "person-1" if identity == "c-7" else "person-2")
    monkeypatch.setattr(Environment, "lake", None)


@pytest.mark.usefixtures("put")
def test_a_person_is_found_in_tables_files_items_and_questions() -> None:
    account = Account({QUERY: "SELECT email FROM customers WHERE customer_id = 'c-7'"})
    shown = command(account, "customers", "c-7")
    lines = shown.output.splitlines()
    assert shown.exit_code == 0, shown.output
    assert "anna@gavel.example  as gavel-prod-staff  query gavel_prod.customers" in lines[0]
    assert lines[0].endswith("names the key")
    assert "olaf  as administrator  file landing/customers  2 files, 100 bytes" in lines[1]
    assert "item gavel-prod  names the key" in lines[2]
    assert "carla  as personal values shown  archive party_history(customer_id=person-1)" in lines[3]
    assert lines[4:] == ["4 reads"]
    assert account.given["WorkGroup"] == "gavel-prod-auditor"
    assert account.given["QueryExecutionContext"] == {"Database": "gavel_access_prod"}
    other = command(account, "customers", "c-8").output
    assert "does not name the key" in other.splitlines()[0]
    assert "carla" not in other


@pytest.mark.usefixtures("put")
@pytest.mark.parametrize(
    ("key", "text", "named"),
    [
        ("o-1/2", "WHERE order_id = 'o-1' AND line_number = 2", True),
        ("o-1/2", "WHERE order_id = 'o-1' AND line_number = 3", False),
        ("O'Neill", "WHERE customer_id = 'O''Neill'", True),
        ("a%2Fb", "WHERE customer_id = 'a/b'", True),
    ],
)
def test_a_key_is_named_as_a_query_writes_it(key: str, text: str, named: bool) -> None:
    first = command(Account({QUERY: text}), "customers", key).output.splitlines()[0]
    assert first.endswith("names the key" if named else "does not name the key")
    assert ("does not" in first) is not named


@pytest.mark.usefixtures("put")
def test_without_a_key_all_that_read_the_entity_are_shown_and_no_text_is_looked_up() -> None:
    output = command(Account({}), "customers").output
    assert "the key" not in output
    assert "carla" in output
    assert "dora" not in output
    assert "gavel_prod.orders" not in output
    assert "gavel_dev" not in output


@pytest.mark.usefixtures("put")
def test_a_query_whose_text_is_gone_is_shown_without_a_word_on_the_key() -> None:
    assert command(Account({}), "customers", "c-7").output.splitlines()[0].endswith("bytes")


def test_what_cannot_be_answered_is_said() -> None:
    failing = Account({})
    failing.state = "FAILED"
    assert "found FAILED: no rights" in command(failing, "customers").output
    assert "expected one of bids, countries" in command(Account({}), "persons").output
    environment = Environment("prod", Account({}))
    assert "expected a key, found an empty one" in command(Account({}), "customers", "").output
    open_ended = CliRunner().invoke(app, ["access", "who-read", "customers"], obj=lambda name: environment)
    assert "expected --since with a moment" in open_ended.output


def test_a_refused_read_is_no_read() -> None:
    refused = copy.deepcopy(EVENTS[1]) | {"errorCode": "AccessDenied"}
    assert answered([refused]) == []
