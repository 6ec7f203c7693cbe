"""A stand-in for the Athena API: an HTTP service that runs each query on Trino and answers as Athena does.

boto3, dbt-athena and pyathena talk to it by endpoint address. It keeps Athena's manner: queries run behind the call
that started them, results are a CSV at the output location, errors are a state with a reason, and the limit of bytes
scanned cancels. It knows SELECT and DML on Iceberg tables, and of Athena's own DDL what dbt-athena says (`athena_ddl`).
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.conformance.support.athena_ddl import Unsupported, created_as, is_ddl, keyword, translated
from tests.conformance.support.athena_values import column_info, csv, text
from tests.conformance.support.trino_client import Answer, TrinoClient, TrinoError

SCAN_LIMIT_REASON = "Bytes scanned limit was exceeded"
_FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
_CATEGORIES = {"USER_ERROR": 2, "INTERNAL_ERROR": 1, "EXTERNAL": 1, "INSUFFICIENT_RESOURCES": 1}
_PAGE = 1000


class Refused(Exception):
    """A call that Athena answers with an error of its API."""

    def __init__(self, kind: str, message: str, code: str = "INVALID_INPUT") -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code


@dataclass
class Execution:
    """One query and what became of it."""

    query_id: str
    sql: str
    request: Mapping[str, Any]
    location: str
    submitted: float = field(default_factory=time.time)
    state: str = "QUEUED"
    reason: str = ""
    error: TrinoError | None = None
    answer: Answer | None = None
    completed: float | None = None
    scanned: int = 0
    cancel_at: str | None = None
    stop: bool = False

    @property
    def is_query(self) -> bool:
        """Whether it gives rows."""
        return keyword(self.sql) in ("SELECT", "WITH", "SHOW", "DESCRIBE", "VALUES", "EXPLAIN")


@dataclass
class AthenaService:
    """The state of the stand-in. `scan_limit` is the workgroup's limit of bytes per query, None for none.

    `before` is called with each statement before it runs: tests use it to get in between, or to raise `TrinoError`.
    `refusals` are API errors that the next calls of StartQueryExecution meet.
    """

    trino: TrinoClient
    s3: Any
    glue: Any
    scan_limit: int | None = None
    before: Callable[[str], None] = lambda sql: None
    refusals: list[Refused] = field(default_factory=list)
    executions: dict[str, Execution] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    endpoint: str = ""

    @property
    def statements(self) -> list[str]:
        """Every statement that was started, in order."""
        return [e.sql for e in self.executions.values()]

    def answer(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one call; raises `Refused`."""
        handler = getattr(self, f"_{action}", None)
        if handler is None:
            raise Refused("InvalidRequestException", f"the stand-in does not know {action}")
        result: dict[str, Any] = handler(request)
        return result

    def _StartQueryExecution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self.refusals:
                raise self.refusals.pop(0)
            token = request.get("ClientRequestToken") or uuid.uuid4().hex
            known = self._tokens.get(token)
            if known is not None:
                if self.executions[known].sql != request["QueryString"]:
                    raise Refused("InvalidRequestException", "Idempotent parameters do not match")
                return {"QueryExecutionId": known}
            output = (request.get("ResultConfiguration") or {}).get("OutputLocation")
            if not output:
                raise Refused("InvalidRequestException", "No output location provided.")
            query_id = str(uuid.uuid4())
            execution = Execution(query_id, request["QueryString"], request, f"{output.rstrip('/')}/{query_id}")
            if execution.is_query:
                execution.location += ".csv"
            self._tokens[token] = query_id
            self.executions[query_id] = execution
        threading.Thread(target=self._run, args=(execution,), daemon=True).start()
        return {"QueryExecutionId": query_id}

    def _run(self, execution: Execution) -> None:
        def progress(cancel_at: str, scanned: int) -> None:
            execution.cancel_at, execution.scanned = cancel_at, scanned
            if execution.stop:
                self.trino.cancel(cancel_at)

        execution.state = "RUNNING"
        state, reason = "SUCCEEDED", ""
        try:
            self.before(execution.sql)
            answer = self._answer(execution, progress)
            execution.answer, execution.scanned = answer, answer.scanned
            # Trino looks at its limit once a second, which a short query does not live to see.
            if self.scan_limit is not None and answer.scanned > self.scan_limit and execution.is_query:
                state, reason = "CANCELLED", SCAN_LIMIT_REASON
            elif execution.is_query:
                self._put(execution.location, csv([name for name, _ in answer.columns], answer.rows))
                self._put(f"{execution.location}.metadata", b"")
        except TrinoError as error:
            execution.error = error
            if execution.stop or error.name == "USER_CANCELED":
                state, reason = "CANCELLED", "Query cancelled by user"
            elif error.name == "EXCEEDED_SCAN_LIMIT":
                state, reason = "CANCELLED", SCAN_LIMIT_REASON
            else:
                state, reason = "FAILED", str(error)
        except Unsupported as error:
            state, reason = "FAILED", str(error)
        except Exception as error:  # noqa: BLE001 (reported to the client, as Athena does)
            state, reason = "FAILED", f"GENERIC_INTERNAL_ERROR: {error!r}"
        execution.completed, execution.reason = time.time(), reason
        execution.state = state

    def _answer(self, execution: Execution, progress: Callable[[str, int], None]) -> Answer:
        """Run what Trino understands of it; the answer is that of the last statement."""
        schema = (execution.request.get("QueryExecutionContext") or {}).get("Database")

        def run(sql: str) -> Answer:
            return self.trino.run(
                sql,
                schema=schema,
                session={"query_max_scan_physical_bytes": f"{self.scan_limit}B"} if self.scan_limit else None,
                parameters=execution.request.get("ExecutionParameters") or (),
                progress=progress,
            )

        if created := created_as(execution.sql):
            # Trino would change what does not fit; Athena refuses it.
            for name, kind in run(f"SELECT * FROM ({created.query}) LIMIT 0").columns:
                _check_type(name, kind)
            return run(created.statement)
        *before, last = translated(execution.sql)
        for sql in before:
            run(sql)
        return run(last)

    def _put(self, location: str, content: bytes) -> None:
        address = urlsplit(location)
        self.s3.put_object(Bucket=address.netloc, Key=address.path.lstrip("/"), Body=content)

    def _GetQueryExecution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"QueryExecution": self._described(self._execution(request["QueryExecutionId"]))}

    def _BatchGetQueryExecution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = [self._described(self._execution(i)) for i in request["QueryExecutionIds"]]
        return {"QueryExecutions": found, "UnprocessedQueryExecutionIds": []}

    def _described(self, execution: Execution) -> dict[str, Any]:
        milliseconds = int(((execution.completed or time.time()) - execution.submitted) * 1000)
        status: dict[str, Any] = {"State": execution.state, "SubmissionDateTime": execution.submitted}
        if execution.completed is not None:
            status["CompletionDateTime"] = execution.completed
        if execution.reason:
            status["StateChangeReason"] = execution.reason
        if execution.state == "FAILED":
            kind = execution.error.kind if execution.error else "INTERNAL_ERROR"
            status["AthenaError"] = {
                "ErrorCategory": _CATEGORIES.get(kind, 3),
                "ErrorType": 1006,
                "Retryable": False,
                "ErrorMessage": execution.reason,
            }
        return {
            "QueryExecutionId": execution.query_id,
            "Query": execution.sql,
            "StatementType": "DDL" if is_ddl(execution.sql) else "DML",
            "SubstatementType": keyword(execution.sql),
            "ResultConfiguration": {"OutputLocation": execution.location},
            "QueryExecutionContext": dict(execution.request.get("QueryExecutionContext") or {}),
            "Status": status,
            "Statistics": {
                "EngineExecutionTimeInMillis": execution.answer.milliseconds if execution.answer else milliseconds,
                "DataScannedInBytes": execution.scanned,
                "TotalExecutionTimeInMillis": milliseconds,
                "QueryQueueTimeInMillis": 0,
                "ServiceProcessingTimeInMillis": 0,
            },
            "WorkGroup": execution.request.get("WorkGroup", "primary"),
            "EngineVersion": {
                "SelectedEngineVersion": "Athena engine version 3",
                "EffectiveEngineVersion": "Athena engine version 3",
            },
        }

    def _GetQueryResults(self, request: Mapping[str, Any]) -> dict[str, Any]:
        execution = self._execution(request["QueryExecutionId"])
        if execution.state != "SUCCEEDED" or execution.answer is None:
            raise Refused("InvalidRequestException", f"Query has not yet finished. Current state: {execution.state}")
        answer = execution.answer
        if not execution.is_query:
            return {
                "UpdateCount": answer.updated or 0,
                "ResultSet": {"Rows": [], "ResultSetMetadata": {"ColumnInfo": []}},
            }
        rows = [[name for name, _ in answer.columns], *([text(v) for v in row] for row in answer.rows)]
        start = int(request.get("NextToken") or 0)
        end = start + int(request.get("MaxResults") or _PAGE)
        page = [{"Data": [{} if v is None else {"VarCharValue": v} for v in row]} for row in rows[start:end]]
        result: dict[str, Any] = {
            "UpdateCount": 0,
            "ResultSet": {
                "Rows": page,
                "ResultSetMetadata": {"ColumnInfo": [column_info(name, kind) for name, kind in answer.columns]},
            },
        }
        return result | ({"NextToken": str(end)} if end < len(rows) else {})

    def _StopQueryExecution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        execution = self._execution(request["QueryExecutionId"])
        execution.stop = True
        if execution.state not in _FINAL and execution.cancel_at:
            self.trino.cancel(execution.cancel_at)
        return {}

    def _GetWorkGroup(self, request: Mapping[str, Any]) -> dict[str, Any]:
        configuration: dict[str, Any] = {
            "EnforceWorkGroupConfiguration": False,
            "PublishCloudWatchMetricsEnabled": False,
            "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
        }
        if self.scan_limit:
            configuration["BytesScannedCutoffPerQuery"] = self.scan_limit
        return {"WorkGroup": {"Name": request["WorkGroup"], "State": "ENABLED", "Configuration": configuration}}

    def _ListDataCatalogs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"DataCatalogsSummary": [{"CatalogName": "AwsDataCatalog", "Type": "GLUE"}]}

    def _GetDataCatalog(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"DataCatalog": {"Name": request["Name"], "Type": "GLUE"}}

    def _GetTableMetadata(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            table = self.glue.get_table(DatabaseName=request["DatabaseName"], Name=request["TableName"])["Table"]
        except self.glue.exceptions.EntityNotFoundException as error:
            raise Refused("MetadataException", f"EntityNotFoundException: {error}") from error
        columns = table.get("StorageDescriptor", {}).get("Columns", [])
        kept = ("Name", "Type", "Comment")
        return {
            "TableMetadata": {
                "Name": table["Name"],
                "TableType": table.get("TableType", ""),
                "Columns": [{k: c[k] for k in kept if k in c} for c in columns],
                "PartitionKeys": [{k: c[k] for k in kept if k in c} for c in table.get("PartitionKeys", [])],
                "Parameters": table.get("Parameters", {}),
            }
        }

    def _execution(self, query_id: str) -> Execution:
        try:
            return self.executions[query_id]
        except KeyError:
            raise Refused("InvalidRequestException", f"QueryExecution {query_id} was not found") from None


def _check_type(column: str, kind: str) -> None:
    """Refuse a column that an Iceberg table of Athena cannot have."""
    if kind.startswith("timestamp(") and not kind.startswith("timestamp(6)"):
        precision = kind.partition("(")[2].partition(")")[0]
        raise Unsupported(
            f"NOT_SUPPORTED: Timestamp precision ({precision}) not supported for Iceberg. "
            f'Use "timestamp(6)" instead. Column: {column}'
        )
    if kind.partition("(")[0] in ("tinyint", "smallint", "char", "unknown"):
        raise Unsupported(f"NOT_SUPPORTED: Type not supported for Iceberg: {kind}. Column: {column}")


@contextmanager
def serving(service: AthenaService) -> Iterator[str]:
    """The address at which the service answers while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            try:
                status, document = 200, service.answer(action, json.loads(body))
            except Refused as refused:
                status = 400
                document = {"__type": refused.kind, "Message": str(refused), "AthenaErrorCode": refused.code}
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests say what they requested."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    service.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service.endpoint
    finally:
        server.shutdown()
        server.server_close()
