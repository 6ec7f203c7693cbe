"""How often the laptop's queue of runs is looked at."""

from __future__ import annotations

import dagster as dg

from local.dagster.prepare import prepare_instance
from local.dagster.run_queue import PromptRunQueue
from orchestration.settings import Settings


def test_a_requested_run_waits_for_one_look_of_half_a_second_at_most(settings: Settings) -> None:
    """Dagster's loop waits in halves of a second until the interval is over."""
    with dg.DagsterInstance.from_config(str(prepare_instance(settings))) as instance:
        queue = instance.run_coordinator
        assert isinstance(queue, PromptRunQueue)
        assert "dequeue_interval_seconds" in vars(dg.QueuedRunCoordinator), "Dagster calls it otherwise now"
        assert 0 < queue.dequeue_interval_seconds <= 0.5
        assert instance.get_concurrency_config().run_queue_config is not None
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 3
