"""The invariants that a batch must hold before anyone may see it, and the verdict that publishing asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract


@dataclass(frozen=True)
class Check:
    """One invariant: what was expected, what was found, in words."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The outcome of an audit of exactly one metadata file."""

    entity: str
    metadata_location: str
    checks: tuple[Check, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def audit_table(lake: Lake, contract: Contract) -> Verdict:
    """Audit the whole published table (nightly): keys unique, required present, enumerations, partitions, changes agree."""
    raise NotImplementedError
