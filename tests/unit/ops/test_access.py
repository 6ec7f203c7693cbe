"""Who read whose data: the query over events as AWS documents them, run by DuckDB, and what is made of its rows.

The events follow AWS's own examples: Lake Formation's of an Athena query, Athena's, S3's and DynamoDB's data events.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import orjson
import pytest
import sqlglot
from botocore.session import Session
from botocore.validate import ParamValidator
from typer.testing import CliRunner, Result

from ops.command_line import app
from ops.environment import Environment
from ops.governance import texts
from ops.governance.granting import WHO_READ
from realtime.api.shown import named
from realtime.api.written import KEY_PLACE
from retrieval import log
from retrieval.log import Entry
from tests.support.expanded import expanded_stack

ACCOUNT = "111122223333"
QUERY = "33333333-4444-5555-6666-777777777777"
LENT = "AWSLF-00-AT-111122223333-EXAMPLE04"
DAY = "2026/11/20"
LOGS = Session().get_service_model("logs")


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

    def __init__(
        self, texts: dict[str, str], lines: Sequence[dict[str, Any]] = (), parameters: Sequence[str] = ()
    ) -> None:
        self.texts, self.lines, self.parameters = texts, lines, parameters
        self.given: dict[str, Any] = {}
        self.searched: dict[str, Any] = {}
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
        more = {"ExecutionParameters": [*self.parameters]} if self.parameters else {}
        return {"QueryExecutions": [{"QueryExecutionId": i, "Query": self.texts[i], **more} for i in known]}

    def get_item(self, TableName: str, Key: Any, ConsistentRead: bool) -> dict[str, Any]:
        assert (TableName, Key) == ("gavel-prod-requests", {"pk": {"S": KEY_PLACE}})
        return {"Item": {"key": {"B": SECRET}}}

    def start_query(self, **given: Any) -> dict[str, str]:
        report = ParamValidator().validate(given, LOGS.operation_model("StartQuery").input_shape)
        assert not report.has_errors(), report.generate_report()
        self.searched = given
        return {"queryId": "logs"}

    def get_query_results(self, queryId: str) -> dict[str, Any]:
        (text,) = re.findall(r"@message like '([^']+)'", self.searched["queryString"])
        written = [orjson.dumps(line).decode() for line in self.lines if line["message"] == "request"]
        found = [one for one in written if text in one or '"unsaid":' in one]
        return {"status": "Complete", "results": [[{"field": "@message", "value": one}] for one in found]}


SECRET = b"k" * 32


def line(request: str, time: str, **more: Any) -> dict[str, Any]:
    """A line of a request, as the API writes it."""
    return {
        "timestamp": f"2026-11-20T{time}+00:00", "level": "INFO", "message": "request", "request_id": request,
        "method": "GET", "route": "/{entity}/{key+}", "by": "user:u-1", "group": "staff", "status": 200, **more,
    }  # fmt: skip


LINES = [
    line("r-1", "13:00:00", read={"customers": [named(SECRET, "customers", "c-7")]}),
    line("r-2", "14:00:00", by="user:u-2", read={"customers": [named(SECRET, "customers", "c-70")], "orders": ["0a"]}),
    line("r-3", "15:00:00", by="user:u-3", route="/activity", unsaid=3),
    line("r-4", "16:00:00", read={"orders": [named(SECRET, "orders", "c-7")]}),
]


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
def test_a_person_is_found_in_tables_files_items_answers_and_questions() -> None:
    account = Account({QUERY: "SELECT email FROM customers WHERE customer_id = 'c-7'"}, LINES)
    shown = command(account, "customers", "c-7")
    lines = shown.output.splitlines()
    assert shown.exit_code == 0, shown.output
    assert "anna@gavel.example  as gavel-prod-staff  query gavel_prod.customers" in lines[0]
    assert lines[0].endswith("names the key")
    assert "olaf  as administrator  file landing/customers  2 files, 100 bytes" in lines[1]
    assert "item gavel-prod  names the key" in lines[2]
    assert "carla  as personal values shown  archive party_history(customer_id=person-1)" in lines[3]
    assert lines[4] == (
        "2026-11-20T13:00:00+00:00  user:u-1  as staff  api GET /{entity}/{key+}  request r-1  names the key"
    )
    assert lines[5].startswith("2026-11-20T15:00:00+00:00  user:u-3  as staff  api GET /activity (which items, is not")
    assert lines[6:] == ["6 reads"]
    assert account.given["WorkGroup"] == "gavel-prod-auditor"
    assert account.given["QueryExecutionContext"] == {"Database": "gavel_access_prod"}
    other = command(account, "customers", "c-8").output
    assert "names other keys alone" in other.splitlines()[0]
    assert "carla" not in other
    assert "r-1 " not in other


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("SELECT * FROM orders WHERE order_id = 'o-1'", (), "key"),
        ("SELECT * FROM orders WHERE order_id = 'o-10'", (), "others"),
        ("SELECT * FROM orders WHERE 'o-1' = order_id", (), "key"),
        ("SELECT * FROM orders WHERE order_id IN ('o-2', 'o-1')", (), "key"),
        ("SELECT * FROM orders WHERE order_id IN ('o-2', 'o-10') AND status = 'paid'", (), "others"),
        ("SELECT * FROM orders WHERE order_id IN ('o-2', 'o-10') OR status = 'paid'", (), "none"),
        ("SELECT * FROM orders WHERE order_id = ?", ("'o-1'",), "key"),
        ("SELECT * FROM orders WHERE order_id = ?", ("'o-10'",), "others"),
        ("SELECT * FROM orders WHERE order_id = ?", (), "none"),
        ("EXECUTE given USING 'o-1'", (), "key"),
        ("EXECUTE given USING 'o-10'", (), "none"),
        ("EXPLAIN ANALYZE SELECT * FROM orders WHERE order_id = 'o-1'", (), "key"),
        ("UNLOAD (SELECT * FROM orders WHERE order_id = 'o-1') TO 's3://b/' WITH (format = 'JSON')", (), "key"),
        ("SELECT * FROM orders", (), "none"),
        ("SELECT * FROM orders WHERE order_id LIKE 'o-1%'", (), "none"),
        ("SELECT * FROM orders WHERE order_id = 'o-' || '1'", (), "none"),
        ("SELECT * FROM orders WHERE order_id = U&'o\\002D1'", (), "key"),
        ("SELECT * FROM orders -- not 'o-1'", (), "none"),
        ('SELECT "o-1" FROM orders', (), "none"),
        ("SELECT * FROM orders WHERE order_id = 'o-2' UNION SELECT * FROM orders", (), "none"),
        ("SELECT * FROM lines l, orders WHERE l.order_id = 'o-2'", (), "none"),
        ("no SQL ' at all", (), "none"),
    ],
)  # fmt: skip
def test_a_key_is_named_as_a_whole_wherever_a_query_has_values(text: str, given: Sequence[str], said: str) -> None:
    assert texts.of_query(text, ("order_id",), ("o-1",), given) == said


@pytest.mark.parametrize(
    ("parts", "text", "said"),
    [
        (("o-1", "2"), "SELECT 1 FROM order_lines WHERE order_id = 'o-1' AND line_number = 2", "key"),
        (("o-1", "2"), "SELECT 1 FROM order_lines WHERE order_id = 'o-1' AND line_number = 3", "others"),
        (("o-1", "2"), "SELECT 1 FROM order_lines WHERE order_id = 'o-1'", "none"),
        (("O'Neill", "1"), "SELECT 1 FROM order_lines WHERE order_id = 'O''Neill' AND line_number = 1", "key"),
    ],
)
def test_a_key_of_parts_is_named_by_all_of_them(parts: Sequence[str], text: str, said: str) -> None:
    assert texts.of_query(text, ("order_id", "line_number"), parts) == said


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('GetItem {"tableName": "gavel-prod", "key": {"pk": "ORDER#o-1", "sk": "ORDER"}}', "key"),
        ('GetItem {"tableName": "gavel-prod", "key": {"pk": "ORDER#o-10", "sk": "ORDER"}}', "others"),
        ('Query {"expressionAttributeValues": {":pk": {"s": "ORDER#o-1"}}}', "key"),
        ('Scan {"tableName": "gavel-prod"}', "none"),
        ("Scan ", "none"),
    ],
)
def test_a_call_names_a_key_behind_its_prefix(call: str, said: str) -> None:
    assert texts.of_call(call, ("o-1",)) == said


@pytest.mark.usefixtures("put")
def test_a_text_is_looked_up_with_its_parameters() -> None:
    account = Account({QUERY: "SELECT * FROM customers WHERE customer_id = ?"}, parameters=("'a/b'",))
    assert command(account, "customers", "a%2Fb").output.splitlines()[0].endswith("names the key")
    assert command(account, "customers", "c-7").output.splitlines()[0].endswith("names other keys alone")
    wrong = command(account, "customers", "c-7/1").output
    assert "expected a key of customers as in an address of the API, customer_id; found 'c-7/1'" in wrong


@pytest.mark.usefixtures("put")
def test_without_a_key_all_that_read_the_entity_are_shown_and_no_text_is_looked_up() -> None:
    account = Account({}, LINES)
    output = command(account, "customers").output
    assert "names" not in output
    assert [r for r in ("r-1", "r-2", "r-3", "r-4") if f"request {r}" in output] == ["r-1", "r-2", "r-3"]
    assert account.searched["logGroupName"] == "/gavel/prod/api"
    assert account.searched["endTime"] - account.searched["startTime"] == 86_400
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


def test_copies_streams_queues_and_results_are_found() -> None:
    """Whoever copies an object reads it; so do the stream, a queue of dead letters, and an export of the table."""
    results = f"gavel-prod-results-{ACCOUNT}"
    copied = {"bucketName": "own", "key": "x", "x-amz-copy-source": f"/gavel-prod-data-{ACCOUNT}/landing/customers%2Fa"}
    queue = {"queueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/gavel-prod-inbound-dead-letters"}
    runs = identity("gavel-prod-runs", "1")
    export = {"tableArn": "arn:aws:dynamodb:eu-west-1:1:table/gavel-prod"}
    rows = answered(
        [
            event(OPERATOR, "s3.amazonaws.com", "CopyObject", "09:00:00", requestParameters=copied),
            event(OPERATOR, "s3.amazonaws.com", "GetObject", "09:10:00",
                  requestParameters={"bucketName": results, "key": "analyst/1.csv"}),
            event(OPERATOR, "sqs.amazonaws.com", "ReceiveMessage", "09:20:00", requestParameters=queue),
            event(OPERATOR, "dynamodb.amazonaws.com", "GetRecords", "09:30:00", requestParameters={}),
            event(OPERATOR, "dynamodb.amazonaws.com", "ExportTableToPointInTime", "09:40:00", requestParameters=export),
            event(runs, "dynamodb.amazonaws.com", "ExportTableToPointInTime", "09:50:00", requestParameters=export),
            event(OPERATOR, "dynamodb.amazonaws.com", "DescribeTable", "09:55:00", requestParameters={}),
        ]
    )  # fmt: skip
    assert [(row[1], row[3], row[4]) for row in rows] == [
        ("olaf", "file", "landing/customers"),
        ("olaf", "file", "results/analyst"),
        ("olaf", "item", "gavel-prod-inbound-dead-letters"),
        ("olaf", "item", "tables of DynamoDB"),
        ("olaf", "item", "tables of DynamoDB"),
    ]


@pytest.mark.usefixtures("put")
def test_more_requests_than_cloudwatch_gives_are_not_taken_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.governance.shown.MOST_LINES", 3)
    assert "expected fewer than 3 requests in /gavel/prod/api" in command(Account({}, LINES), "customers").output


def test_a_refused_read_is_no_read() -> None:
    refused = copy.deepcopy(EVENTS[1]) | {"errorCode": "AccessDenied"}
    assert answered([refused]) == []
