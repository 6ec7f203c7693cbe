"""Runs one statement on Athena to its end: started once however often it is requested, waited for, stopped when it
costs too much or nobody waits any more, and its errors in words that say what to do.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import CommitFailedException

from lakehouse.merge.base import EngineError

if TYPE_CHECKING:
    from lakehouse.storage.athena import AthenaSettings
    from lakehouse.storage.lake import Lake

_FIRST_PAUSE = 0.1
_LAST_PAUSE = 5.0
_GROWTH = 1.4
_ATTEMPTS = 3
_FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


class AthenaError(EngineError):
    """A query did not do its work: which, what was found, and what to do. Nothing of it is committed."""


class ScanLimitExceeded(AthenaError):
    """A query scanned more than it may, and was stopped."""


@dataclass(frozen=True)
class Outcome:
    """A query that succeeded: where its result is, and the bytes it scanned."""

    location: str
    scanned: int


@dataclass
class Spent:
    """What a run's queries came to; `usd` is an estimate from the settings' price."""

    queries: int = 0
    scanned: int = 0
    usd: float = 0.0


@dataclass
class AthenaClient:
    """Athena as the merge uses it. `sleep` and `clock` are there for tests."""

    api: Any
    settings: AthenaSettings
    results: str
    spent: Spent = field(default_factory=Spent)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, lake: Lake) -> AthenaClient:
        """The client of the lake's Athena; raises `LookupError` if it has none."""
        settings = lake.athena
        if settings is None:
            raise LookupError("expected a lake with an Athena, found none; name its workgroup in the settings")
        return cls(_api(lake, settings), settings, lake.store.uri(settings.results))

    def run(self, sql: str, database: str, what: str, token: str) -> Outcome:
        """Run a statement; `what` names it in errors. Calls with the same token and statement run it once.

        Raises `AthenaError`, and `CommitFailedException` when another writer has committed first. A read is tried
        again when Athena says that it may be; a write never is.
        """
        reads = sql.lstrip().upper().startswith("SELECT")
        for attempt in range(1, _ATTEMPTS + 1):
            query_id = self._start(sql, database, what, f"{token}/{attempt}")
            execution = self._wait(query_id, what)
            status = execution["Status"]
            if status["State"] == "SUCCEEDED":
                return self._account(query_id, execution)
            if reads and attempt < _ATTEMPTS and (status.get("AthenaError") or {}).get("Retryable"):
                self.sleep(_LAST_PAUSE)
                continue
            break
        raise _failure(what, query_id, execution)

    def _start(self, sql: str, database: str, what: str, token: str) -> str:
        from botocore.exceptions import ClientError

        try:
            answer = self.api.start_query_execution(
                QueryString=sql,
                QueryExecutionContext={"Database": database, "Catalog": self.settings.catalog},
                ResultConfiguration={"OutputLocation": self.results},
                WorkGroup=self.settings.workgroup,
                ClientRequestToken=hashlib.sha256(f"{token}\n{sql}".encode()).hexdigest(),
            )
        except ClientError as error:
            raise _refusal(what, self.settings, error) from error
        return str(answer["QueryExecutionId"])

    def _wait(self, query_id: str, what: str) -> Mapping[str, Any]:
        """The execution once it has ended. It is stopped when this is left in any other way: a write that nobody
        waits for must not commit later."""
        limit, deadline, pause = self.settings.scan_limit, self.clock() + self.settings.seconds, _FIRST_PAUSE
        ended = False
        try:
            while True:
                execution: Mapping[str, Any] = self.api.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
                ended = execution["Status"]["State"] in _FINAL
                scanned = _scanned(execution)
                if limit is not None and scanned > limit:
                    raise ScanLimitExceeded(_over_limit(what, query_id, f"{limit:,}", f"{scanned:,} bytes"))
                if ended:
                    return execution
                if self.clock() > deadline:
                    raise AthenaError(
                        f"{what}: expected Athena's query {query_id} to end within {self.settings.seconds} s, found it "
                        f"{execution['Status']['State']}; it was stopped. Ingest less at once, or ask AWS for a "
                        "longer limit of DML statements"
                    )
                self.sleep(pause)
                pause = min(pause * _GROWTH, _LAST_PAUSE)
        finally:
            if not ended:
                self._stop(query_id)

    def _stop(self, query_id: str) -> None:
        """Stop a query and see it end, so that it commits nothing behind our back."""
        self.api.stop_query_execution(QueryExecutionId=query_id)
        for _ in range(20):
            execution = self.api.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            if execution["Status"]["State"] in _FINAL:
                return
            self.sleep(_FIRST_PAUSE)

    def _account(self, query_id: str, execution: Mapping[str, Any]) -> Outcome:
        scanned = _scanned(execution)
        self.spent.queries += 1
        self.spent.scanned += scanned
        self.spent.usd += self.settings.usd(scanned)
        return Outcome(str(execution["ResultConfiguration"]["OutputLocation"]), scanned)


def _api(lake: Lake, settings: AthenaSettings) -> Any:
    from botocore.config import Config

    # Athena refuses starts beyond its quota of queries under way; boto3 waits and asks again.
    config = Config(retries={"mode": "standard", "max_attempts": 10})
    return lake.session.client("athena", endpoint_url=settings.endpoint or lake.endpoint, config=config)


def _scanned(execution: Mapping[str, Any]) -> int:
    return int((execution.get("Statistics") or {}).get("DataScannedInBytes", 0))


def _over_limit(what: str, query_id: str, expected: str, found: str) -> str:
    return (
        f"{what}: expected at most {expected} bytes scanned, found {found} in Athena's query {query_id}; nothing of "
        "it is published. Raise the limit if the batch is meant to touch that much, or ingest less at once"
    )


def _refusal(what: str, settings: AthenaSettings, error: Any) -> AthenaError:
    """An error of the call that starts a query."""
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    advice = {
        "TooManyRequestsException": "more queries are under way than the account may have: wait, or ask AWS for more",
        "ThrottlingException": "more calls were made than the account may make: wait, or ask AWS for more",
        "AccessDeniedException": f"let the role use the workgroup {settings.workgroup}, the results and the tables",
    }.get(code, f"check the workgroup {settings.workgroup} and its output location")
    return AthenaError(f"{what}: expected Athena to start the query, found {code}: {message}; {advice}")


_ADVICE = (
    ("TOO_MANY_OPEN_PARTITIONS", "one statement may write to 100 partitions: ingest less at once"),
    ("EXCEEDED_MEMORY_LIMIT", "the query needs more memory than Athena gives: ingest less at once"),
    ("Query exhausted resources", "the query needs more than Athena gives: ingest less at once"),
    ("EXCEEDED_TIME_LIMIT", "the query took longer than the quota of DML statements: ingest less at once"),
    ("Query timeout", "the query took longer than the quota of DML statements: ingest less at once"),
    ("MERGE_TARGET_ROW_MULTIPLE_MATCHES", "a key has two winners in `_changes`: audit the table before the next batch"),
    ("Access Denied", "let the role read and write the table's files and the results"),
    ("PERMISSION_DENIED", "let the role read and write the table's files and entries"),
    ("TABLE_NOT_FOUND", "the work table has no entry: run the entity's first batch"),
    ("ICEBERG_INVALID_METADATA", "the work entry points at metadata that cannot be read: roll the table back"),
)


def _failure(what: str, query_id: str, execution: Mapping[str, Any]) -> Exception:
    """What a query that failed or was cancelled means to the caller."""
    status = execution["Status"]
    reason = str(
        status.get("StateChangeReason") or (status.get("AthenaError") or {}).get("ErrorMessage") or "no reason"
    )
    if "ytes scanned limit was exceeded" in reason:
        return ScanLimitExceeded(
            _over_limit(what, query_id, "the workgroup's limit of", f"{_scanned(execution):,} bytes")
        )
    if "ICEBERG_COMMIT_ERROR" in reason or "ConcurrentModificationException" in reason:
        return CommitFailedException(
            f"{what}: another writer has committed first (Athena's query {query_id}: {reason})"
        )
    if status["State"] == "CANCELLED":
        return AthenaError(f"{what}: someone stopped Athena's query {query_id} ({reason}); run the batch again")
    advice = next((then for sign, then in _ADVICE if sign in reason), "look the query up in Athena's history")
    return AthenaError(f"{what}: expected Athena's query {query_id} to succeed, found {reason}; {advice}")
