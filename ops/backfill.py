"""Backfills by hand: the same as the job `backfill`, from an operator's terminal.

It needs rights on the data bucket, the catalog and the table's exports (docs/operations.md says which).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from lakehouse.recovery.backfill import BackfillResult
    from lakehouse.recovery.wanted import Wanted


def bring_in(where: Environment, wanted: Wanted, say: Callable[[str], None]) -> list[BackfillResult]:
    """Bring in what is wanted; raises `OpsError` for what a person has to set right."""
    from lakehouse import api
    from lakehouse.storage.failures import Environment as Hindered

    try:
        return api.run_backfill(where.lake, where.contracts(), where.exports(), wanted, progress=say)
    except (ValueError, LookupError, Hindered) as error:
        raise OpsError(str(error)) from error


def would_do(where: Environment, wanted: Wanted) -> list[str]:
    """What `bring_in` would do; raises `OpsError` as it does."""
    from lakehouse import api

    try:
        return api.dry_run_backfill(where.lake, where.contracts(), where.exports(), wanted)
    except (ValueError, LookupError) as error:
        raise OpsError(str(error)) from error
