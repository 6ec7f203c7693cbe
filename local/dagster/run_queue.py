"""Dagster's queue of runs, which is looked at twice a second: its setting takes whole seconds, and a run would wait
half of one before it begins."""

import dagster as dg

LOOK_SECONDS = 0.4
"""Dagster's loop waits in halves of a second, so that it looks when the first is over."""


class PromptRunQueue(dg.QueuedRunCoordinator):
    """The run coordinator of `dagster.yaml`; how many runs go on at once stands there, too."""

    @property
    def dequeue_interval_seconds(self) -> float:  # type: ignore[override]
        """How long the daemon waits between two looks."""
        return LOOK_SECONDS
