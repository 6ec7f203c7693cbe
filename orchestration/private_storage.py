"""What this package needs of Dagster's storages beyond their public interface, in one place, apart from
`private_dagster`: these tables bring SQLAlchemy and Alembic, which the code location does not need to load.

- `SqlEventLogStorageTable`, `AssetEventTagsTable`, `AssetCheckExecutionsTable`, `SnapshotsTable`: deleting a run leaves
  behind results of checks, events without a run and descriptions of jobs; nothing public removes those.
"""

from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import SnapshotsTable

__all__ = [
    "AssetCheckExecutionsTable",
    "AssetEventTagsTable",
    "SnapshotsTable",
    "SqlEventLogStorageTable",
]
