"""Everything of Dagster that is not its public interface, in one place: an upgrade that moves a name breaks here alone.

No other module imports a private name; a test holds that, and another tells which name an upgrade has taken away.
What each is for:

- `SqliteEventLogStorage`, `SqliteRunStorage`, `INDEX_SHARD_NAME`, `create_engine`: the storages of the laptop extend
  these two classes, because Dagster opens SQLite anew for each event; it offers no other way to keep it open.
- `SqlEventLogStorageTable`, `AssetEventTagsTable`, `AssetCheckExecutionsTable`, `SnapshotsTable`: deleting a run leaves
  behind results of checks, events without a run and descriptions of jobs; nothing public removes those.
- `DefaultRunLauncher`, `LaunchRunContext`, `CheckRunHealthResult`, `WorkerStatus`: the launcher of the laptop extends
  this class and answers with these types.
- `ConfigurableClassData`: what Dagster hands to a class that its configuration names.
- `ExecuteRunArgs`, `serialize_value`, `execute_run`: a worker gets its run as Dagster's own command line does.
- `get_run_crash_explanation`: says how a worker ended in Dagster's own words.
- `InstigatorState`, `InstigatorStatus`, `InstigatorTick`, `InstigatorType`, `ScheduleInstigatorData`,
  `SensorInstigatorData`, `TickStatus`: what the instance remembers of sensors and schedules. The methods that give it
  are public, their types are not.
- `reverse_cron_string_iterator`: when a schedule was due last, by the same calendar as the scheduler.
"""

from dagster._core.definitions.run_request import InstigatorType
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.runs.schema import SnapshotsTable
from dagster._core.storage.sql import create_engine
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster._utils import get_run_crash_explanation
from dagster._utils.schedules import reverse_cron_string_iterator

__all__ = [
    "COMMAND_MODULE",
    "INDEX_SHARD_NAME",
    "AssetCheckExecutionsTable",
    "AssetEventTagsTable",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DefaultRunLauncher",
    "ExecuteRunArgs",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorTick",
    "InstigatorType",
    "LaunchRunContext",
    "ScheduleInstigatorData",
    "SensorInstigatorData",
    "SnapshotsTable",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "SqliteRunStorage",
    "TickStatus",
    "WorkerStatus",
    "create_engine",
    "execute_run",
    "get_run_crash_explanation",
    "reverse_cron_string_iterator",
    "serialize_value",
]

COMMAND_MODULE = "dagster._cli.api"
"""The module of `dagster api`, by name: a warm process imports it before it has a run."""


def execute_run(arguments: str) -> None:
    """Do what `dagster api execute_run` does, in this process. `arguments`: serialised `ExecuteRunArgs`."""
    from dagster._cli.api import api_cli

    api_cli(["execute_run", arguments], standalone_mode=False)
