"""Looks at all of an environment that can be seen with credentials of its account, and keeps the report for alerts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from contracts import Contracts
from lakehouse.drift.findings import FOLDER, OUTSIDE, Drifted, Report, Unit, Unread, key_of, look_at, read, written
from lakehouse.drift.tables import table_units
from lakehouse.drift.who import Trail, with_authors
from lakehouse.storage.store import ObjectMissing
from ops.deployment.given import Place, intended
from ops.deployment.stacks import LAYERS, STACKS, Stack
from ops.drift import policies, stacks
from ops.drift.stacks import Deployed
from ops.environment import Environment

OWN_ROLES = ("runs", "code", "daemon", "web", "start")
"""The pipeline's roles: what they change is no drift."""


def look(where: Environment, only: tuple[str, str] | None = None) -> Report:
    """Everything that is compared from here: tables and, on AWS, stacks and policies, with who changed what. `only`:
    part and name of the one unit to look at, without asking who.

    Raises `NotReadyError` if the environment's file does not say where it is, or the credentials lead elsewhere.
    """
    units = [unit for unit in _units(where) if only in (None, (unit.part, unit.name))]
    if where.name == "local" or only is not None:  # a laptop has no CloudTrail
        return look_at(units)
    trail = Trail(
        lambda region: where.client_in("cloudtrail", region), [f"gavel-{where.name}-{role}" for role in OWN_ROLES]
    )
    return with_authors(look_at(units), trail)


def _units(where: Environment) -> list[Unit]:
    contracts, lake, glue = where.contracts(), where.lake, where.client("glue")
    if where.name == "local":  # its stack follows the template by `gavel up`
        return table_units(glue, lake, contracts)
    place, given = intended(where)
    deployed = {
        s.key: Deployed(where, s, place, given[s.key], contracts) for s in STACKS if not _waits(where, s, place)
    }
    return [
        *(unit for one in deployed.values() for unit in stack_units(one, deployed)),
        *table_units(glue, lake, contracts, databases(where.name)),
        *(Unit(policies.POLICIES, one.name, partial(stack_policies, one)) for one in deployed.values()),
        Unit(policies.POLICIES, policies.ROLES, partial(_other_roles, where, deployed)),
    ]


def stack_units(one: Deployed, deployed: dict[str, Deployed]) -> list[Unit]:
    """What is looked at of a stack."""

    def parameters() -> Iterator[Drifted]:
        outputs = {f"{key}.{name}": value for key, other in deployed.items() for name, value in _outputs(other).items()}
        return stacks.changed_parameters(one, outputs)

    looks: dict[str, Any] = {
        stacks.STACK: partial(stacks.missing, one),
        stacks.TEMPLATE: partial(stacks.changed_template, one),
        stacks.PARAMETERS: parameters,
        stacks.RESOURCES: partial(stacks.changed_resources, one),
        stacks.SWITCHES: partial(stacks.changed_switches, one),
    }
    return [Unit(stacks.STACKS_PART, stacks.unit_of(one, aspect), at) for aspect, at in looks.items()]


def databases(environment: str) -> list[str]:
    """The databases that the stack `lake` has made."""
    own = [f"gavel_{prefix}{environment}" for prefix in ("landing_", "work_", "", "quality_")]
    return own + [f"gavel_{work}{layer}_{environment}" for layer in LAYERS for work in ("work_", "")]


def reports(where: Environment) -> tuple[dict[str, Report], list[Unread]]:
    """The reports that are kept in the data bucket, by name, and objects there that are none: they hide no other."""
    found: dict[str, Report] = {}
    damaged: list[Unread] = []
    for stored in where.lake.store.list(FOLDER):
        name = stored.key.removeprefix(FOLDER).removesuffix(".json")
        try:
            found[name] = read(where.lake.store.read(stored.key))
        except (KeyError, TypeError, ValueError) as error:
            why = f"expected a report, found another content ({type(error).__name__}); the next look writes it again"
            damaged.append(Unread("reports", stored.key, why))
    return found, damaged


def keep(where: Environment, report: Report) -> None:
    """Keep the report of a look from outside, which the pipeline's alerts read. What was found in something that is
    unread now stays in it. An object in its place that is no report is written over: it would stand in the way of every
    night's."""
    store, key = where.lake.store, key_of(OUTSIDE)
    try:
        before = read(store.read(key))
    except (ObjectMissing, KeyError, TypeError, ValueError):
        before = None
    store.write(key, written(report.after(before)))


def _outputs(one: Deployed) -> dict[str, str]:
    return {o["OutputKey"]: o["OutputValue"] for o in (one.described or {}).get("Outputs", ())}


def _waits(where: Environment, stack: Stack, place: Place) -> bool:
    """Whether a stack is left for later, or only administrators make it, and it was never made."""
    if not stack.waits_for and not stack.administrators:
        return False
    try:
        return Deployed(where, stack, place, {}, Contracts({})).described is None
    except Exception:  # noqa: BLE001 - it is looked at then, which says why it cannot be read
        return False


def stack_policies(one: Deployed) -> Iterator[Any]:
    """What differs in the roles and policies of a stack, and what of them cannot be read."""
    tags = {tag["Key"]: tag["Value"] for tag in (one.described or {}).get("Tags", ())}
    client = lambda service: one.where.client_in(service, one.stack.region)  # noqa: E731
    return policies.policies_of(one.name, one.resources, client, stacks.SET_BACK, tags)


def _other_roles(where: Environment, deployed: dict[str, Deployed]) -> Iterator[Drifted]:
    known = [r.physical for one in deployed.values() for r in one.resources if r.kind == "AWS::IAM::Role"]
    do = "Remove it, if nobody needs it, or give it another name: no stack of this version makes it."
    return policies.other_roles(where.client("iam"), f"gavel-{where.name}-", known, do)
