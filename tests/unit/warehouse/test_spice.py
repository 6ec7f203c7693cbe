"""Refreshing copies in QuickSight: by answers as AWS documents them, and amid faults as a search finds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.results import Failure
from tests.support.depth import examples
from tests.support.stubbed import stubbed
from warehouse.spice import DAY, MOST_A_DAY, MOST_LOOKS, WAITS, Copy, Ingestion, RefreshFailed

ACCOUNT, SET = "123456789012", "gavel-prod-rpt"
WHERE = {"AwsAccountId": ACCOUNT, "DataSetId": SET}
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def stub() -> Iterator[Any]:
    with stubbed("quicksight") as stub:
        yield stub


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def copy(stub: Any, slept: list[float]) -> Copy:
    return Copy(stub.client, ACCOUNT, SET, slept.append, lambda: NOW)


def seen(name: str, status: str = "COMPLETED", created: datetime = NOW, **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:quicksight:eu-west-1:{ACCOUNT}:dataset/{SET}/ingestion/{name}"
    return {"Arn": arn, "IngestionId": name, "IngestionStatus": status, "CreatedTime": created, **more}


def listed(stub: Any, *ingestions: dict[str, Any], after: str = "", before: str = "") -> None:
    more = {"NextToken": before} if before else {}
    about = {**WHERE, "MaxResults": 100, **({"NextToken": after} if after else {})}
    stub.add_response("list_ingestions", {"Ingestions": list(ingestions), **more}, about)


def begun(stub: Any, name: str) -> None:
    answer = {"IngestionId": name, "IngestionStatus": "INITIALIZED", "Status": 201, "Arn": "arn:aws:quicksight:x"}
    stub.add_response("create_ingestion", answer, {**WHERE, "IngestionId": name, "IngestionType": "FULL_REFRESH"})


def described(stub: Any, name: str, status: str = "COMPLETED", **more: Any) -> None:
    stub.add_response("describe_ingestion", {"Ingestion": seen(name, status, **more)}, {**WHERE, "IngestionId": name})


def refused(copy: Copy, match: str) -> Failure:
    with pytest.raises(RefreshFailed, match=match) as refusal:
        copy.refresh("v1", lambda _: None)
    return refusal.value.failure


def test_a_version_is_ingested_once_and_what_it_took_is_known(copy: Copy, stub: Any, slept: list[float]) -> None:
    listed(stub)
    begun(stub, "gavel-v1-1")
    for status in ("QUEUED", "RUNNING"):
        described(stub, "gavel-v1-1", status)
    ended = {
        "RowInfo": {"RowsIngested": 7, "RowsDropped": 0},
        "IngestionSizeInBytes": 900,
        "IngestionTimeInSeconds": 31,
    }
    described(stub, "gavel-v1-1", **ended)
    done = copy.refresh("v1", lambda _: None)
    assert (done.id, done.rows, done.bytes, done.seconds) == ("gavel-v1-1", 7, 900, 31)
    assert len(slept) == 2
    listed(stub, seen("gavel-v1-1", created=NOW - 2 * DAY, **ended))
    assert copy.refresh("v1", lambda _: None).id == done.id, "it is not begun again, however long ago it was"


def test_one_whose_answer_was_lost_is_awaited(copy: Copy, stub: Any) -> None:
    listed(stub)
    stub.add_client_error("create_ingestion", "ResourceExistsException", http_status_code=409)
    stub.add_client_error("describe_ingestion", "ResourceNotFoundException", http_status_code=404)
    described(stub, "gavel-v1-1")
    assert copy.refresh("v1", lambda _: None).id == "gavel-v1-1"


def test_somebody_elses_is_awaited_and_does_not_count_as_ours(copy: Copy, stub: Any) -> None:
    """It may have begun before the version was published."""
    listed(stub, seen("by-hand", "RUNNING"))
    described(stub, "by-hand")
    listed(stub, seen("by-hand"))
    begun(stub, "gavel-v1-1")
    described(stub, "gavel-v1-1")
    assert copy.refresh("v1", lambda _: None).id == "gavel-v1-1"


def test_the_limit_of_a_day_is_shared_with_people(copy: Copy, stub: Any) -> None:
    first = NOW - timedelta(hours=20)
    others = [seen(f"by-hand-{n}", created=first + timedelta(minutes=n)) for n in reversed(range(MOST_A_DAY))]
    old = seen("yesterday", created=NOW - DAY - timedelta(seconds=1))
    listed(stub, *others[:20], before="more")
    listed(stub, *others[20:], old, after="more", before="older")
    listed(stub, seen("long-ago", created=NOW - 3 * DAY), after="older")
    assert refused(copy, "32 of 32 ingestions of 24 hours used; the next may begin at 16:00 UTC") is Failure.ENVIRONMENT
    listed(stub, *others[1:])
    begun(stub, "gavel-v1-1")
    described(stub, "gavel-v1-1")
    copy.refresh("v1", lambda _: None)


@pytest.mark.parametrize(
    ("ended", "why", "failure"),
    [
        (
            {"status": "CANCELLED", "ErrorInfo": {"Type": "INGESTION_CANCELED"}},
            "INGESTION_CANCELED",
            Failure.ENVIRONMENT,
        ),
        ({"status": "FAILED", "ErrorInfo": {"Type": "PERMISSION_DENIED", "Message": "no"}}, "no", Failure.ENVIRONMENT),
        ({"status": "FAILED", "ErrorInfo": {"Type": "SQL_SCHEMA_MISMATCH_ERROR"}}, "class data", Failure.DATA),
        ({"status": "FAILED"}, "no reason was given", Failure.ENVIRONMENT),
        ({"RowInfo": {"RowsIngested": 7, "RowsDropped": 2}}, "2 of 9 rows left out", Failure.DATA),
    ],
)
def test_what_went_wrong_is_said_and_classed(
    copy: Copy, stub: Any, ended: dict[str, Any], why: str, failure: Failure
) -> None:
    listed(stub)
    begun(stub, "gavel-v1-1")
    described(stub, "gavel-v1-1", **ended)
    assert refused(copy, why) is failure


def test_one_that_failed_is_tried_under_the_next_name(copy: Copy, stub: Any) -> None:
    listed(stub, seen("gavel-v1-1", "FAILED"))
    begun(stub, "gavel-v1-2")
    described(stub, "gavel-v1-2")
    assert copy.refresh("v1", lambda _: None).id == "gavel-v1-2"


def test_throttling_is_waited_for_and_a_refusal_is_not(copy: Copy, stub: Any, slept: list[float]) -> None:
    for _ in WAITS[:-1]:
        stub.add_client_error("list_ingestions", "ThrottlingException", http_status_code=429)
    stub.add_client_error("list_ingestions", "AccessDeniedException", http_status_code=401)
    with pytest.raises(ClientError, match="AccessDenied"):
        copy.refresh("v1", lambda _: None)
    assert slept == list(WAITS[:-1])


def test_the_services_own_limit_and_one_that_does_not_end_are_failures(copy: Copy, stub: Any) -> None:
    listed(stub)
    stub.add_client_error("create_ingestion", "LimitExceededException", "too many", http_status_code=409)
    assert refused(copy, "too many") is Failure.ENVIRONMENT
    listed(stub, seen("gavel-v1-1", "RUNNING"))
    for _ in range(MOST_LOOKS):
        described(stub, "gavel-v1-1", "RUNNING")
    assert refused(copy, "under way for 2 hours; the next run awaits it") is Failure.ENVIRONMENT


@dataclass
class Service:
    """QuickSight with one data set, as far as it is documented, and what a script of faults does to it. Each request
    takes a minute, and the next fault of the script strikes it; after the last one all is fine."""

    script: list[str]
    clock: datetime = NOW
    ingestions: dict[str, Ingestion] = field(default_factory=dict)
    begins: list[tuple[datetime, str]] = field(default_factory=list)
    exceptions: ClassVar[Any] = SimpleNamespace(
        ResourceExistsException=type("ResourceExistsException", (ClientError,), {}),
        LimitExceededException=type("LimitExceededException", (ClientError,), {}),
    )

    def _request(self, work: Any) -> Any:
        self.clock += timedelta(minutes=1)
        fault = self.script.pop(0) if self.script else "fine"
        match fault:
            case "throttled":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "any")
            case "lost before":
                raise ConnectionClosedError(endpoint_url="https://x")
            case "by hand" if self._is_free() and not any(each.is_under_way for each in self.ingestions.values()):
                self._begin(f"by-hand-{len(self.ingestions)}")
            case "cancelled" | "failed":
                self._end("CANCELLED" if fault == "cancelled" else "FAILED")
            case "fine" | "ended":
                self._end("COMPLETED")
            case _:
                pass  # nothing happens, and whatever is under way goes on
        answer = work()
        if fault == "lost after":
            raise ConnectionClosedError(endpoint_url="https://x")
        return answer

    def _is_free(self) -> bool:
        return len([at for at, _ in self.begins if at > self.clock - DAY]) < MOST_A_DAY

    def _begin(self, name: str) -> None:
        if not self._is_free():
            raise self.exceptions.LimitExceededException({"Error": {"Code": "LimitExceededException"}}, "create")
        self.begins.append((self.clock, name))
        self.ingestions[name] = Ingestion(name, "RUNNING", self.clock)

    def _end(self, status: str) -> None:
        for name, each in self.ingestions.items():
            if each.is_under_way:
                self.ingestions[name] = Ingestion(name, status, each.created)

    def list_ingestions(self, **_: Any) -> Any:
        newest = sorted(self.ingestions.values(), key=lambda each: each.created, reverse=True)
        return self._request(lambda: {"Ingestions": [self._shown(each) for each in newest]})

    def create_ingestion(self, IngestionId: str, **_: Any) -> Any:
        def begin() -> Any:
            if IngestionId in self.ingestions:
                raise self.exceptions.ResourceExistsException({"Error": {"Code": "ResourceExistsException"}}, "create")
            assert not any(each.is_under_way for each in self.ingestions.values() if each.id.startswith("gavel"))
            self._begin(IngestionId)
            return {"IngestionId": IngestionId}

        return self._request(begin)

    def describe_ingestion(self, IngestionId: str, **_: Any) -> Any:
        return self._request(lambda: {"Ingestion": self._shown(self.ingestions[IngestionId])})

    def _shown(self, each: Ingestion) -> dict[str, Any]:
        return seen(each.id, each.status, each.created)

    def sleep(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)


FAULTS = ("throttled", "lost before", "lost after", "by hand", "cancelled", "failed", "ended", "goes on")


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(FAULTS), max_size=40), st.integers(min_value=0, max_value=MOST_A_DAY), st.booleans())
def test_whatever_happens_a_version_is_copied_whole_once(script: list[str], by_hand: int, running: bool) -> None:
    service = Service(script)
    for number in range(by_hand):
        created = NOW - timedelta(hours=23, minutes=number)
        service.begins.append((created, f"earlier-{number}"))
        service.ingestions[f"earlier-{number}"] = Ingestion(f"earlier-{number}", "COMPLETED", created)
    if running and by_hand:  # it copies what was there before
        service.ingestions["earlier-0"] = Ingestion("earlier-0", "RUNNING", NOW - timedelta(minutes=5))
    copy = Copy(service, ACCOUNT, SET, service.sleep, lambda: service.clock)
    published = service.clock
    for _ in range(80):
        try:
            done = copy.refresh("v1", lambda _: None)
            break
        except (RefreshFailed, ClientError, ConnectionClosedError):
            service.clock += timedelta(minutes=30)  # the next run
    else:
        raise AssertionError("it is never copied")
    assert done.created >= published
    again = copy.refresh("v1", lambda _: None)
    assert again.id == done.id
    whole = [each for each in service.ingestions.values() if each.id.startswith("gavel") and each.status == "COMPLETED"]
    assert [each.id for each in whole] == [done.id]
