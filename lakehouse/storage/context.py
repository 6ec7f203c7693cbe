"""What travels with every step of the work on one entity: where, on what, for whom, and who follows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.results import Progress, StateRetention, silent
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract


@dataclass(frozen=True)
class Context:
    """One entity's work on one lake. `run_id` is the caller's, for the publication log."""

    lake: Lake
    contract: Contract
    progress: Progress = silent
    run_id: str | None = None
    state_retention: StateRetention = field(default_factory=StateRetention)

    def report(self, line: str) -> None:
        """Report a line of progress, under the entity's name."""
        self.progress(f"{self.contract.name}: {line}")
