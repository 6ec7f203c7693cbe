"""Taking drift back: what would be done to each difference, as commands that a person reads, and the doing of it.

Only what the look of this moment found is taken back, each difference by itself. What a person has to decide (a role of
no stack, a table of no contract, a resource that may be replaced) is named with its commands and left as it is.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Report, reason
from ops.environment import Environment, OpsError

DAGSTER = "dagster"
"""The service of calls that Dagster's UI takes."""
SECONDS = 60
_START = """mutation($name: String!, $location: String!, $repository: String!) {{ {operation}({kind}Selector: {{
  {kind}Name: $name, repositoryName: $repository, repositoryLocationName: $location}}) {{
    __typename ... on Error {{ message }} ... on PythonError {{ message }} }} }}"""


@dataclass(frozen=True)
class Plan:
    """What is taken back, and what is left to a person."""

    ours: Sequence[Drifted]
    theirs: Sequence[Drifted]

    @classmethod
    def of(cls, drifted: Iterable[Drifted]) -> Plan:
        """The plan for what a look found."""
        listed = list(drifted)
        ours = [one for one in listed if one.back is not None and not one.back.person]
        return cls(ours, [one for one in listed if one not in ours])

    @property
    def calls(self) -> list[Call]:
        """What is called, in order; what several differences share is called once."""
        found: dict[str, Call] = {}
        for one in self.ours:
            for call in one.back.calls if one.back else ():
                found.setdefault(str(call), call)
        return list(found.values())


def lines(plan: Plan, cannot_read: Sequence[str] = ()) -> Iterator[str]:
    """The plan as a person reads it."""
    if plan.ours:
        yield f"To be taken back: {len(plan.ours)}"
    for one in plan.ours:
        yield from _described(one)
    if plan.theirs:
        yield f"Left to a person: {len(plan.theirs)}"
    for one in plan.theirs:
        yield from _described(one)
    for text in cannot_read:
        yield f"Not read, and left as it is: {text}"


def _described(one: Drifted) -> Iterator[str]:
    yield f"- {one.part}: {one.name}, {one.what}: expected {one.expected}, found {one.found}"
    if one.by:
        yield f"    {one.by}"
    if one.back is None:
        yield f"    {one.do}"
        return
    for call in one.back.calls:
        yield f"    {call}"
    if one.back.note:
        yield f"    note: {one.back.note}"


def carry_out(where: Environment, plan: Plan, ui_url: str = "") -> dict[str, str]:
    """Make the calls of a plan; returns those that failed, and why. One that fails hides no other."""
    failed = {}
    for call in plan.calls:
        try:
            make(where, call, ui_url)
        except Exception as error:  # noqa: BLE001 - said, and the others are made
            failed[str(call)] = reason(error)
    return failed


def make(where: Environment, call: Call, ui_url: str = "") -> None:
    """Make one call."""
    if call.service == DAGSTER:
        _start(ui_url, call)
        return
    getattr(where.client_in(call.service, call.region), call.operation)(**call.arguments)


def switched_off(ui_url: str) -> list[Drifted]:
    """Sensors and schedules that are off now, as Dagster's UI says, with what starts them again. `OSError` where it
    does not answer."""
    from lakehouse.drift.definitions import switched_off as compare
    from ops.doctor.dagster import read

    found: list[Drifted] = []
    for location in read(ui_url)["workspaceOrError"].get("locationEntries", ()):
        for repository in (location["locationOrLoadError"] or {}).get("repositories", ()):
            where = {"location": location["name"], "repository": repository.get("name", "__repository__")}
            found += (_startable(one, where) for one in compare(_states(repository)))
    return found


def _states(repository: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (kind, one["name"]): str(one[state]["status"])
        for kind, state in (("sensor", "sensorState"), ("schedule", "scheduleState"))
        for one in repository[f"{kind}s"]
    }


def _startable(one: Drifted, where: Mapping[str, str]) -> Drifted:
    kind, _, name = one.name.partition(" ")
    operation = "start_sensor" if kind == "sensor" else "start_schedule"
    return replace(one, back=Back((Call(DAGSTER, operation, {"name": name, **where}),)))


def _start(ui_url: str, call: Call) -> None:
    operation, kind = ("startSensor", "sensor") if "sensor" in call.operation else ("startSchedule", "schedule")
    query = _START.format(operation=operation, kind=kind)
    body = json.dumps({"query": query, "variables": dict(call.arguments)}).encode()
    request = urllib.request.Request(  # noqa: S310 - `read` has looked at the address
        f"{ui_url.rstrip('/')}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answered:  # noqa: S310
        answer = json.loads(answered.read())
    said = (answer.get("data") or {}).get(operation) or {"message": str(answer.get("errors", "no answer"))}
    if "message" in said:
        raise OpsError(f"expected Dagster to start {call.arguments['name']}, found: {said['message']}")


def looked(where: Environment, ui_url: str) -> Report:
    """What drifted now: all that `look` sees and, where its UI is named, what is switched off in Dagster."""
    from lakehouse.drift.definitions import DEFINITIONS, SWITCHES
    from lakehouse.drift.findings import Unread
    from ops.drift.looking import look

    now = look(where)
    if not ui_url:
        return now
    try:
        return replace(now, drifted=(*now.drifted, *switched_off(ui_url)))
    except (OSError, KeyError, ValueError) as error:
        return replace(now, unread=(*now.unread, Unread(DEFINITIONS, SWITCHES, reason(error))))
