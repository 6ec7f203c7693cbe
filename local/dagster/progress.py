"""Progress of a run as lines for a person, for whoever runs the pipeline in the calling process."""

from collections.abc import Callable

import dagster as dg

from assets import keys
from orchestration.failed_runs import reason

Progress = Callable[[str], None]


def listen(instance: dg.DagsterInstance, run_id: str, progress: Progress) -> None:
    """Pass on what a person wants to hear of a run that this process executes on the instance."""

    def hear(entry: dg.EventLogEntry) -> None:
        if entry.dagster_event is not None and (line := progress_line(entry.dagster_event)):
            progress(line)

    instance.add_event_listener(run_id, hear)


def progress_line(event: dg.DagsterEvent) -> str | None:
    """What a person wants to hear of an event, if anything."""
    if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        if materialization.asset_key.path[0] == keys.COMPACTED:
            return None
        rows = materialization.metadata.get("dagster/row_count")
        counted = f": {rows.value:,} rows" if isinstance(rows, dg.IntMetadataValue) else ""
        return f"{materialization.asset_key.to_user_string()}{counted}"
    if event.event_type == dg.DagsterEventType.STEP_FAILURE:
        return f"{event.step_key} failed: {reason(event)}"
    return None
