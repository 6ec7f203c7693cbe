"""Refreshing a data set that QuickSight keeps a copy of (SPICE): once for each version of what it copies, and no more
often than QuickSight allows.

An ingestion's id follows from the version. So whoever begins again, after a crash or an answer that was lost, finds the
ingestion that was begun, and awaits it. People refresh the same data set, and share its ingestions of a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from lakehouse.results import Failure

MOST_A_DAY = 32
"""Ingestions that QuickSight grants a data set in 24 hours (Enterprise edition)."""
DAY = timedelta(hours=24)
LOOK_EVERY = 10.0  # seconds
MOST_LOOKS = 720  # two hours
WAITS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before a request that was throttled, or had no answer, is made again."""
PAGE = 100

_UNDER_WAY = ("INITIALIZED", "QUEUED", "RUNNING")
_PASSING = ("ThrottlingException", "InternalFailureException")
_OF_DATA = frozenset(
    {
        "DATA_TOLERANCE_EXCEPTION", "DATA_SET_SIZE_LIMIT_EXCEEDED", "DUPLICATE_COLUMN_NAMES_FOUND",
        "INVALID_DATAPREP_SYNTAX", "INVALID_DATE_FORMAT", "ROW_SIZE_LIMIT_EXCEEDED", "SQL_NUMERIC_OVERFLOW",
        "SQL_SCHEMA_MISMATCH_ERROR",
    }
)  # fmt: skip
"""What QuickSight says when rows, columns or the data set's own definition are to blame; all else passes by itself, or
is a matter of rights, connections and limits."""


class RefreshFailed(RuntimeError):
    """A data set does not have the version; the message says why, and what class of failure it is."""

    def __init__(self, failure: Failure, data_set: str, found: str) -> None:
        self.failure = failure
        super().__init__(f"{data_set}: expected a refresh, found {found} (class {failure})")


@dataclass(frozen=True)
class Ingestion:
    """What QuickSight says of one. `seconds` and the numbers of rows and bytes are 0 where it does not say."""

    id: str
    status: str
    created: datetime
    rows: int = 0
    dropped: int = 0
    bytes: int = 0
    seconds: int = 0
    error: str = ""
    message: str = ""

    @classmethod
    def of(cls, seen: Mapping[str, Any]) -> Ingestion:
        """It, from QuickSight's answer."""
        rows, error = seen.get("RowInfo", {}), seen.get("ErrorInfo", {})
        return cls(
            id=seen["IngestionId"],
            status=seen["IngestionStatus"],
            created=seen["CreatedTime"].astimezone(UTC),
            rows=rows.get("RowsIngested", 0),
            dropped=rows.get("RowsDropped", 0),
            bytes=seen.get("IngestionSizeInBytes", 0),
            seconds=seen.get("IngestionTimeInSeconds", 0),
            error=error.get("Type", ""),
            message=error.get("Message", ""),
        )

    @property
    def is_under_way(self) -> bool:
        """Whether it has not ended."""
        return self.status in _UNDER_WAY


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Copy:
    """A data set in SPICE. `client` is boto3's of QuickSight; `sleep` and `now` are those of the machine."""

    client: Any = field(repr=False)
    account: str
    data_set: str
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = _now

    def refresh(self, version: str, say: Callable[[str], None]) -> Ingestion:
        """Bring the copy to a `version` (letters, digits, `-`) and await it; returns the ingestion that did.

        Raises `RefreshFailed`; `ClientError` and `HTTPClientError` where QuickSight cannot be reached or refuses.
        """
        own = f"gavel-{version}-"
        for _ in range(MOST_A_DAY):
            recent = list(self._recent(own))
            mine = [each for each in recent if each.id.startswith(own)]
            if done := next((each for each in mine if each.status == "COMPLETED"), None):
                return self._whole(done)
            under_way = next((each for each in recent if each.is_under_way), None)
            if under_way is None:
                self._count(recent)
                break
            say(f"{under_way.id} is under way")
            ended = self._ended(under_way.id)
            if ended.id.startswith(own):
                return self._whole(ended)
            # Somebody else's may have begun before this version was published.
        else:
            raise RefreshFailed(Failure.ENVIRONMENT, self.data_set, "ingestions of others one after the other")
        name = f"{own}{len(mine) + 1}"
        self._begin(name)
        say(f"{name} is begun")
        return self._whole(self._ended(name))

    def _recent(self, own: str) -> Iterator[Ingestion]:
        """The ingestions of the last 24 hours, and those of this version; QuickSight lists the newest first."""
        start, more = self.now() - DAY, dict[str, str]()
        while True:
            page = self._patiently(self.client.list_ingestions, MaxResults=PAGE, **more)
            found = [Ingestion.of(each) for each in page["Ingestions"]]
            wanted = [each for each in found if each.created > start or each.id.startswith(own)]
            yield from wanted
            if not wanted or "NextToken" not in page:
                return
            more = {"NextToken": page["NextToken"]}

    def _count(self, recent: list[Ingestion]) -> None:
        """Raises `RefreshFailed` where no ingestion is left for now."""
        times = sorted(each.created for each in recent if each.created > self.now() - DAY)
        if len(times) >= MOST_A_DAY:
            free = times[-MOST_A_DAY] + DAY
            found = f"{len(times)} of {MOST_A_DAY} ingestions of 24 hours used; the next may begin at {free:%H:%M} UTC"
            raise RefreshFailed(Failure.ENVIRONMENT, self.data_set, found)

    def _begin(self, name: str) -> None:
        try:
            self._patiently(self.client.create_ingestion, IngestionId=name, IngestionType="FULL_REFRESH")
        except self.client.exceptions.ResourceExistsException:
            return  # it was begun, and the answer was lost
        except self.client.exceptions.LimitExceededException as error:
            raise RefreshFailed(Failure.ENVIRONMENT, self.data_set, str(error)) from error

    def _ended(self, name: str) -> Ingestion:
        for _ in range(MOST_LOOKS):
            seen = self._patiently(self.client.describe_ingestion, "ResourceNotFoundException", IngestionId=name)
            if not (found := Ingestion.of(seen["Ingestion"])).is_under_way:
                return found
            self.sleep(LOOK_EVERY)
        found_late = f"{name} under way for {LOOK_EVERY * MOST_LOOKS / 3600:.0f} hours; the next run awaits it"
        raise RefreshFailed(Failure.ENVIRONMENT, self.data_set, found_late)

    def _whole(self, ended: Ingestion) -> Ingestion:
        """An ingestion that brought every row; raises `RefreshFailed` for any other."""
        if ended.status != "COMPLETED":
            failure = Failure.DATA if ended.error in _OF_DATA else Failure.ENVIRONMENT
            why = ": ".join(filter(None, [ended.error, ended.message])) or "no reason was given"
            raise RefreshFailed(failure, self.data_set, f"{ended.id} {ended.status.lower()}: {why}")
        if ended.dropped:
            found = f"{ended.dropped} of {ended.rows + ended.dropped} rows left out by {ended.id}"
            raise RefreshFailed(Failure.DATA, self.data_set, found)
        return ended

    def _patiently(self, call: Callable[..., Any], *passing: str, **arguments: Any) -> Any:
        """The answer of a call, made again after what passes."""
        for wait in (*WAITS, None):
            try:
                return call(AwsAccountId=self.account, DataSetId=self.data_set, **arguments)
            except HTTPClientError:
                if wait is None:
                    raise
            except ClientError as error:
                if wait is None or error.response["Error"]["Code"] not in (*_PASSING, *passing):
                    raise
            self.sleep(wait)
        raise AssertionError("a call is answered or raises")
