"""Recoveries by hand: a lost catalog, a lost lake. The same as the job `recover`, where no Dagster runs.

It needs rights on the data bucket and the catalog (docs/operations.md says which).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from lakehouse.recovery.wanted import Lost


def recover(where: Environment, lost: Lost, say: Callable[[str], None]) -> bool:
    """Recover what is lost and say what was done; returns whether every entity is whole now. Raises `OpsError` for
    what a person has to set right."""
    from lakehouse import api
    from lakehouse.recovery.recovering import said

    try:
        done = api.recover(where.lake, where.contracts(), lost, progress=say)
    except (ValueError, LookupError) as error:
        raise OpsError(str(error)) from error
    for result in done.results:
        for line in said(result):
            say(line)
    for entity, reason in done.failed.items():
        say(f"{entity}: NOT recovered: {reason}")
    return not done.failed
