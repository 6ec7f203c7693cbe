"""Parity by hand: the same as the job `parity`, from an operator's terminal.

It needs rights to read the export, landing and the catalog; a repair needs those of a backfill.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from lakehouse.parity.findings import Difference, Repaired
    from lakehouse.parity.wanted import Request

SHOWN = 20
"""Differences of an entity that are listed; the parity log has all numbers."""


def compare(
    where: Environment, request: Request, say: Callable[[str], None], *, new: bool, wait: timedelta | None = None
) -> list[Repaired]:
    """Compare, and repair if requested, with a `new` export or one that is there, after a `wait` of at most so long for
    what may still arrive; raises `OpsError` for what a person has to set right."""
    from dataclasses import replace

    from lakehouse import api
    from lakehouse.storage.failures import Environment as Hindered

    try:
        if new:
            request = replace(request, export=api.request_export(where.lake, where.exports(), "", progress=say))
        if wait is not None:
            api.await_arrival(where.lake, where.contracts(), request, wait, say)
        return list(api.check_parity(where.lake, where.contracts(), request, progress=say))
    except (ValueError, LookupError, Hindered) as error:
        raise OpsError(str(error)) from error


def lines(done: Repaired) -> list[str]:
    """What a comparison found, in lines: the result, notes, the first differences."""
    last = done.after or done.before
    found = [str(done)] if done.dry_run or done.after else []
    found += [f"  {note}" for note in last.notes]
    shown: tuple[Difference, ...] = last.differences[:SHOWN]
    found += [f"  {d.table}: {d.key}: {d.kind} ({d.cause}): {d.evidence}" for d in shown]
    if last.total > len(shown):
        found.append(f"  and {last.total - len(shown):,} more")
    if last.details:
        found.append(f"  keys and places as they are: {last.details}")
    return found


def lateness(where: Environment, minutes: float | None) -> timedelta:
    """How late a change may land: so many minutes, or what is sure in the environment."""
    from lakehouse.intake.landing import LATEST_DELIVERY
    from lakehouse.parity.wanted import ON_A_LAPTOP

    if minutes is not None:
        return timedelta(minutes=minutes)
    return ON_A_LAPTOP if where.name == "local" else LATEST_DELIVERY
