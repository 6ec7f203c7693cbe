"""Which landed objects of an entity are held, or fail again and again: people see them by name.

A held object is in the ledger; one that may still pass is only in what is kept between runs (`attempts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.intake.attempts import known_tries
from lakehouse.intake.ledger import Ledger
from lakehouse.results import Failing, Failure
from lakehouse.storage.failures import ATTEMPTS
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.lake import Lake

AGAIN = 2
"""In how many runs an object has failed that fails again and again; the first failure may pass."""


def ledger_head_at(lake: Lake, metadata_location: str) -> str:
    """The head of the ledger that belongs to a state of the table."""
    return TableState(lake, metadata_location).ledger


def held(lake: Lake, contract: Contract, head: str) -> list[Failing]:
    """The objects that a ledger says are held, by key. Reads a file for each day that wants attention."""
    tries = known_tries(lake, contract)

    def failure(key: str, etag: str) -> Failure:
        known = tries.get(key)
        poison = known is not None and known.etag == etag and known.attempts >= ATTEMPTS
        return Failure.POISON if poison else Failure.DATA

    return [
        Failing(contract.name, t.key, t.etag, failure(t.key, t.etag), t.reason, held=True)
        for t in sorted(Ledger.load(lake, head).attention(), key=lambda t: t.key)
        if t.status == "held"
    ]


def again_and_again(lake: Lake, contract: Contract) -> list[Failing]:
    """The objects that failed in several runs and are not held yet, by key."""
    return [
        Failing(contract.name, key, tries.etag, Failure.POISON, tries.reason, held=False, attempts=tries.attempts)
        for key, tries in sorted(known_tries(lake, contract).items())
        if AGAIN <= tries.attempts < ATTEMPTS
    ]
