"""Everything that this package needs of Dagster beyond its public interface, in one place; the tables of its storages,
which are dear to import, are in `private_storage`.

No other module imports a private name; a test holds that, and another says which name an upgrade removed. What each is
for:

- `InstigatorState`, `InstigatorStatus`, `InstigatorTick`, `InstigatorType`, `ScheduleInstigatorData`,
  `SensorInstigatorData`, `TickStatus`: what the instance remembers of sensors and schedules. The methods that give it
  are public, their types are not.
- `TickData`, `SerializableErrorInfo`, `RemoteInstigatorOrigin`, `RemoteRepositoryOrigin`,
  `RegisteredCodeLocationOrigin`: how the drill lets an instance remember a failed tick.
- `GrpcServerCodeLocationOrigin`: asks the code server of production what it has loaded, for `drift`.
- `CheckRunHealthResult`, `WorkerStatus`: what a launcher answers about a run's worker.
- `reverse_cron_string_iterator`: when a schedule was due last, by the same calendar as the scheduler.
"""

from dagster._core.definitions.run_request import InstigatorType
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._utils.schedules import reverse_cron_string_iterator
from dagster_shared.error import SerializableErrorInfo

__all__ = [
    "CheckRunHealthResult",
    "GrpcServerCodeLocationOrigin",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorTick",
    "InstigatorType",
    "RegisteredCodeLocationOrigin",
    "RemoteInstigatorOrigin",
    "RemoteRepositoryOrigin",
    "ScheduleInstigatorData",
    "SensorInstigatorData",
    "SerializableErrorInfo",
    "TickData",
    "TickStatus",
    "WorkerStatus",
    "reverse_cron_string_iterator",
]
