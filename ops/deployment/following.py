"""Following what CloudFormation does to a stack: its events as they come, its end, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

Found = TypeVar("Found")
REPEATED = ("Resource creation Initiated",)
"""Reasons of events that say a second time that something is under way."""
BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation ended: the stack's status, and the reasons of what failed, a line each."""

    status: str
    reasons: str


def in_progress(status: str) -> bool:
    """Whether CloudFormation works on a stack of this status; a change set that waits for a person is no work."""
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"


def newest_event(cloudformation: Any, stack: str) -> str | None:
    """The id of the last event of a stack."""
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return str(events[0]["EventId"]) if events else None


def until(look: Callable[[], Found | None]) -> Found:
    """What `look` finds, tried again after pauses that grow from 0.1 to 5 seconds."""
    pause = 0.1
    while (found := look()) is None:
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    return found


def follow(
    cloudformation: Any, stack: str, say: Callable[[str], None], after: str | None, requested: bool = False
) -> Ended:
    """Say the events of a stack (its ARN) behind the event `after`, until CloudFormation has ended.

    What was just `requested` has not ended before an event of the stack itself says so: for a moment `DescribeStacks`
    may still have the status from before it.
    """
    known, ended = set[str](), not requested

    def look() -> str | None:
        nonlocal ended
        status = str(cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
        for event in _events_after(cloudformation, stack, after, known):
            if event.get("ResourceStatusReason") not in REPEATED:
                say(_line(event))
            known.add(event["EventId"])
            ended = ended or (_of_itself(event) and not in_progress(event["ResourceStatus"]))
        return None if in_progress(status) or not ended else status

    status = until(look)
    return Ended(status, reasons(cloudformation, stack))


def reasons(cloudformation: Any, stack: str) -> str:
    """Why the last operation on a stack failed, a line for each resource; empty if it did not.

    What failed first is first, and what was only cancelled because of it is left out.
    """
    failed = [e for e in _last_operation(cloudformation, stack) if e["ResourceStatus"].endswith("_FAILED")][::-1]
    own = [e for e in failed if "cancelled" not in e.get("ResourceStatusReason", "")] or failed
    found = "\n".join(
        f"  {e['LogicalResourceId']} ({e['ResourceType']}): {e.get('ResourceStatusReason', e['ResourceStatus'])}"
        for e in own
    )
    return found + refused_beforehand(cloudformation, found, StackName=stack)


def gone(cloudformation: Any, stack: str) -> bool:
    """Whether a stack (its ARN) whose deletion was requested is deleted in the end, and did not fail to be."""

    def look() -> str | None:
        status = str(cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
        return status if status in ("DELETE_COMPLETE", "DELETE_FAILED") else None

    return until(look) == "DELETE_COMPLETE"


def refused_beforehand(cloudformation: Any, found: str, **which: str) -> str:
    """What CloudFormation found wrong before it began, each on a line: its reasons say only that there is something.
    `which` is `StackName` or `ChangeSetName`."""
    if "DescribeEvents" not in found and "EarlyValidation" not in found:
        return ""
    pages = cloudformation.get_paginator("describe_events").paginate(Filters={"FailedEvents": True}, **which)
    events = [event for page in pages for event in page["OperationEvents"]]
    return "".join(
        f"\n  {event.get('LogicalResourceId')} ({event.get('ResourceType')}): {event['ValidationStatusReason']}"
        for event in events
        if event["OperationId"] == events[0]["OperationId"] and "ValidationStatusReason" in event
    )


def _events(cloudformation: Any, stack: str) -> Iterator[dict[str, Any]]:
    """The newest first, a page at a time as they are needed."""
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
        yield from page["StackEvents"]


def _events_after(cloudformation: Any, stack: str, after: str | None, known: Collection[str]) -> list[dict[str, Any]]:
    """Those that are newer than the event `after` and not known yet, the oldest first. Events of one moment may change
    places from answer to answer, so a page is looked through to its end."""
    new: list[dict[str, Any]] = []
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
        newer = [*takewhile(lambda event: event["EventId"] != after, page["StackEvents"])]
        fresh = [event for event in newer if event["EventId"] not in known]
        new += fresh
        if not fresh or len(newer) < len(page["StackEvents"]):
            break
    return new[::-1]


def _last_operation(cloudformation: Any, stack: str) -> Iterator[dict[str, Any]]:
    """The events of what was done to the stack last, the newest first."""
    for event in _events(cloudformation, stack):
        yield event
        if _of_itself(event) and event["ResourceStatus"] in BEGINNINGS:
            return


def _of_itself(event: Mapping[str, Any]) -> bool:
    """Whether an event is one of the stack, and not of a resource in it."""
    return bool(event.get("PhysicalResourceId") == event["StackId"])


def _line(event: Mapping[str, Any]) -> str:
    status, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
    line = f"{status:<28}{event['LogicalResourceId']:<34}{event['ResourceType']}"
    return f"{line}: {reason}" if reason and _failed(status) else line


def _failed(status: str) -> bool:
    return status.endswith("_FAILED") or "ROLLBACK_IN_PROGRESS" in status
