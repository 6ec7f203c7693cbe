"""Progress of a run as lines for a person, for whoever runs the pipeline in the calling process.

Dagster tells what happens through its loggers; this module is a logger of the code location that passes on what
matters.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from assets import keys

Progress = Callable[[str], None]

LOGGER_NAME = "progress"

_LOGGER = logging.getLogger("gavel.progress")
_LOGGER.propagate = False
_LOGGER.setLevel(logging.DEBUG)


def _the_logger(_: dg.InitLoggerContext) -> logging.Logger:
    return _LOGGER


progress_logger = dg.LoggerDefinition(
    _the_logger, description="Says each step as it is done to whoever runs the pipeline in process."
)


@contextmanager
def heard(progress: Progress) -> Iterator[dict[str, object]]:
    """Pass progress on while this lasts; gives the run configuration of the loggers."""
    handler = _ProgressHandler(progress)
    _LOGGER.addHandler(handler)
    try:
        yield {LOGGER_NAME: {"config": {}}}
    finally:
        _LOGGER.removeHandler(handler)


class _ProgressHandler(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is not None and (line := progress_line(event)):
            self._progress(line)


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


def reason(event: dg.DagsterEvent) -> str:
    """Why a step failed: the message at the root of its error."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error and error.message.strip() else "no reason was recorded"
