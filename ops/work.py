"""Work on one entity by hand: replay, rebuild, requeue, roll back. The same as by run configuration of its assets.

Of two who write an entity at the same moment one is quicker: the catalog's versions decide, and the other begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.intake.landing import Scope
    from lakehouse.results import Planned
    from lakehouse.storage.lake import Lake

Say = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """What is to be done with an entity: `start` and `end` bound a replay's arrival times (ISO 8601 with an offset),
    `objects` name what to requeue (none: all), `snapshot` what to roll back to (None: the one before)."""

    kind: Literal["replay", "rebuild", "requeue", "roll_back"]
    entity: str
    start: str = ""
    end: str = ""
    objects: tuple[str, ...] = ()
    snapshot: int | None = None


def plan(where: Environment, work: Work) -> Planned:
    """What the work would do; nothing is changed. Raises `OpsError` for what a person has to set right."""
    from lakehouse import api

    lake, contract = where.lake, _contract(where, work)
    match work.kind:
        case "replay":
            return api.plan_replay(lake, contract, _scope(work))
        case "rebuild":
            return api.plan_rebuild(lake, contract)
        case "requeue":
            return api.plan_requeue(lake, contract, frozenset(work.objects) or None)
        case "roll_back":
            return api.plan_roll_back(lake, contract, work.snapshot)


def do(where: Environment, work: Work, say: Say) -> None:
    """Do it, publish it, and say what was done; raises `OpsError` where nothing was.

    Where another writer is quicker it begins again, on what that one published. A roll back does not: which state is
    the one before is something else then."""
    from pyiceberg.exceptions import CommitFailedException

    from lakehouse import api
    from lakehouse.results import FilesMissing, RebuildFailed
    from lakehouse.storage.entries import EntryConflict

    lake, contract = where.lake, _contract(where, work)
    try:
        if work.kind == "roll_back":
            _roll_back(lake, contract, work, say)
        else:
            api.win(lambda: _ingest(lake, contract, work, say), lambda text: say(f"{work.entity}: {text}"))
    except (LookupError, FilesMissing, RebuildFailed) as error:
        raise OpsError(str(error)) from error
    except (CommitFailedException, EntryConflict) as error:
        raise OpsError(
            f"{work.entity}: another writer (a batch, or another operator) was quicker, and readers have its work. "
            f"Repeat the {work.kind.replace('_', ' ')} when nothing else writes the entity: {error}"
        ) from error


def _roll_back(lake: Lake, contract: Contract, work: Work, say: Say) -> None:
    from lakehouse import api

    now = api.rollback(lake, contract, work.snapshot).published
    say(f"{work.entity}: readers are at snapshot {now.snapshot_id}, {now.rows:,} rows, up to {now.watermark}")


def _ingest(lake: Lake, contract: Contract, work: Work, say: Say) -> None:
    from lakehouse import api

    if work.kind == "rebuild":
        result = api.rebuild(lake, contract, progress=say)
    elif work.kind == "requeue":
        result = api.requeue(lake, contract, frozenset(work.objects) or None, progress=say)
    else:
        result = api.compact(lake, contract, _scope(work), progress=say)
    now = api.publish(lake, contract).published
    say(
        f"{work.entity}: {result.objects} landed objects, {result.bytes:,} bytes: {result.counts}; readers are at "
        f"snapshot {now.snapshot_id}, {now.rows:,} rows, up to {now.watermark}"
    )
    for each in (*result.held, *result.failing):
        say(f"  not in: {each.key}: {each.reason}")


def _contract(where: Environment, work: Work) -> Contract:
    contracts = where.contracts()
    if work.entity not in contracts:
        raise OpsError(f"expected an entity of {', '.join(contracts)}, found {work.entity!r}")
    return contracts[work.entity]


def _scope(work: Work) -> Scope:
    from lakehouse.intake.landing import Scope
    from ops.moments import moment

    start, end = moment(work.start), moment(work.end)
    if start is None or end is None or start >= end:
        raise OpsError(f"expected a start before its end, found {work.start} and {work.end}")
    return Scope.replay(start, end)
