"""What the laptop's storage and run launcher need of Dagster beyond its public interface, in one place.

No other module of `local` imports a private name; a test holds that, and another says which name an upgrade removed.
What each is for:

- `SqliteEventLogStorage`, `SqliteRunStorage`, `INDEX_SHARD_NAME`, `create_engine`: the storages of the laptop extend
  these two classes, because Dagster opens SQLite again for each event; it offers no other way to keep it open.
- `DefaultRunLauncher`, `LaunchRunContext`, `CheckRunHealthResult`, `WorkerStatus`: the launcher of the laptop extends
  this class and answers with these types.
- `ConfigurableClassData`: what Dagster hands to a class that its configuration names.
- `ExecuteRunArgs`, `serialize_value`, `deserialize_value`, `execute_run`: a worker gets its run as Dagster's
  own command line does.
- `get_run_crash_explanation`: says how a worker ended in Dagster's own words.
"""

from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sql import create_engine
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster._utils import get_run_crash_explanation

__all__ = [
    "COMMAND_MODULE",
    "INDEX_SHARD_NAME",
    "RUN_MODULES",
    "STORAGE_MODULES",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DefaultRunLauncher",
    "ExecuteRunArgs",
    "LaunchRunContext",
    "SqliteEventLogStorage",
    "SqliteRunStorage",
    "WorkerStatus",
    "create_engine",
    "deserialize_value",
    "execute_run",
    "get_run_crash_explanation",
    "serialize_value",
]

COMMAND_MODULE = "dagster._cli.api"
"""The module of `dagster api`, by name: a warm process imports it before it has a run."""
STORAGE_MODULES = (
    "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "dagster._core.storage.runs",
    "dagster._core.storage.schedules",
)
"""The modules of the storages, by name, which bring SQLAlchemy and Alembic: the same process imports them, too."""
RUN_MODULES = (
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.legacy_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._core.utility_ops",
    "dagster._utils.test.definitions",
)
"""What each run of Dagster imports besides, late."""


def execute_run(arguments: str) -> None:
    """Do what `dagster api execute_run` does, in this process. `arguments`: serialised `ExecuteRunArgs`."""
    from dagster._cli.api import api_cli

    api_cli(["execute_run", arguments], standalone_mode=False)
