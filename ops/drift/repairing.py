"""Taking drift back: what would be done to each difference, as commands that a person reads, and the doing of it.

Only what the look of this moment found is taken back, each difference by itself. What a person has to decide (a role of
no stack, a table of no contract, a resource that may be replaced) is named with its commands and left as it is.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse.drift.back import DAGSTER, Back, Call
from lakehouse.drift.findings import Drifted, Report, Unread, reason
from lakehouse.drift.tables import TABLES
from ops.environment import Environment, OpsError

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
    def of(cls, now: Report) -> Plan:
        """The plan for what a look found. Where the templates here are not those that were deployed, neither are the
        contracts, and tables are left to a person: one without a column of the deployed version loses it on the way."""
        from ops.drift.stacks import STACKS_PART, TEMPLATE

        seen: list[Drifted | Unread] = [*now.drifted, *now.unread]
        stale = any(one.part == STACKS_PART and one.unit.endswith(f": {TEMPLATE}") for one in seen)
        listed = [_left(one) if stale and one.part == TABLES else one for one in now.drifted]
        ours = [one for one in listed if one.back is not None and not one.back.person]
        return cls(ours, [one for one in listed if one not in ours])

    @property
    def units(self) -> list[tuple[str, str]]:
        """Part and name of each unit in which something is taken back."""
        return list(dict.fromkeys((one.part, one.unit) for one in self.ours))

    @property
    def calls(self) -> list[Call]:
        """What is called, in order; what several differences share is called once."""
        found: dict[str, Call] = {}
        for one in self.ours:
            for call in one.back.calls if one.back else ():
                found.setdefault(str(call), call)
        return list(found.values())


def _left(one: Drifted) -> Drifted:
    note = "the templates here are not those that were deployed: look again from that version, or deploy this one"
    return one if one.back is None else replace(one, back=replace(one.back, note=note, person=True))


@dataclass
class Done:
    """What came of a plan: calls that failed, and why; and what was not touched, since it is not any more as it was
    shown, and why."""

    failed: dict[str, str] = field(default_factory=dict)
    untouched: list[str] = field(default_factory=list)


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


Again = Callable[[tuple[str, str]], Report]
"""Looks at one unit once more, by its part and name."""


def take_back(where: Environment, plan: Plan, again: Again, ui_url: str = "") -> Done:
    """Carry out a plan, unit by unit, each after one more look at it: what is not as it was shown is left alone. A
    person may have read for an hour, and somebody else may repair, or change something, at the same time."""
    done = Done()
    for unit in plan.units:
        now = again(unit)
        same = []
        for one in plan.ours:
            if (one.part, one.unit) != unit:
                continue
            there = [found for found in now.drifted if _identity(found) == _identity(one)]
            if any(_is_as_shown(one, found) for found in there):
                same.append(one)
            else:
                done.untouched.append(f"{one.part}: {one.name}, {one.what}: {_state(there, now)}")
        done.failed |= carry_out(where, Plan(same, ()), ui_url)
    return done


def _state(there: Sequence[Drifted], now: Report) -> str:
    if there:
        return "; ".join(f"expected {one.expected}, found {one.found} now" for one in there)
    return "; ".join(f"it cannot be read now: {one.why}" for one in now.unread) or "it is gone"


def _identity(one: Drifted) -> tuple[str, str, str, str]:
    return one.part, one.unit, one.name, one.what


def _is_as_shown(shown: Drifted, now: Drifted) -> bool:
    """Whether the same is found, and the same takes it back and away."""
    return (shown.expected, shown.found, shown.back) == (now.expected, now.found, now.back)


def carry_out(where: Environment, plan: Plan, ui_url: str = "") -> dict[str, str]:
    """Make the calls of a plan; returns those that failed, and why. One that fails hides no other, but those after it
    that take the same difference back are not made: they follow from it."""
    failed: dict[str, str] = {}
    made: set[str] = set()
    for one in plan.ours:
        for call in one.back.calls if one.back else ():
            name = str(call)
            if name in failed:
                break
            if name in made:
                continue
            try:
                make(where, call, ui_url)
            except Exception as error:  # noqa: BLE001 - said, and the others are made
                failed[name] = reason(error)
                break
            made.add(name)
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


def looked(where: Environment, ui_url: str, only: tuple[str, str] | None = None) -> Report:
    """What drifted now: all that `look` sees and, where its UI is named, what is switched off in Dagster; or `only` one
    unit of both, by its part and name."""
    from lakehouse.drift.definitions import DEFINITIONS, SWITCHES
    from ops.drift.looking import look

    now = look(where, only)
    if not ui_url or only not in (None, (DEFINITIONS, SWITCHES)):
        return now
    try:
        return replace(now, drifted=(*now.drifted, *switched_off(ui_url)))
    except (OSError, KeyError, ValueError) as error:
        return replace(now, unread=(*now.unread, Unread(DEFINITIONS, SWITCHES, reason(error))))


def said_afterwards(plan: Plan, done: Done, after: Report) -> Iterator[str]:
    """What was done, what was not, and what is still there by one more look. What cannot be read then nobody knows."""
    yield from (f"Failed: {call}: {why}" for call, why in done.failed.items())
    yield from (f"Not touched, since it is not as it was shown: {text}" for text in done.untouched)
    ours, closed = {*map(_identity, plan.ours)}, {(one.part, one.unit) for one in after.unread}
    theirs = {(*_identity(one), one.expected, one.found) for one in plan.theirs}
    left = [
        one
        for one in after.drifted
        if _identity(one) in ours and (*_identity(one), one.expected, one.found) not in theirs
    ]
    there = {*map(_identity, left)}
    unknown = [one for one in plan.ours if (one.part, one.unit) in closed and _identity(one) not in there]
    for one in left:
        yield f"Still there: {one.part}: {one.name}, {one.what}: expected {one.expected}, found {one.found}"
    for one in unknown:
        yield f"Not known: {one.part}: {one.name}, {one.what}: its unit cannot be read any more"
    gone = len(plan.ours) - len(left) - len(unknown)
    yield f"Taken back: {max(gone, 0)} of {len(plan.ours)}. Left to a person: {len(plan.theirs)}."
