"""What tests need of Dagster beyond its public interface and the doors of `orchestration` and `local`, in one place.

- `CodePointer`, `ModuleCodePointer`, `JobPythonOrigin`, `RepositoryPythonOrigin`: where the code of a run is, which a
  launcher gets and no public class says.
- `RemoteJobOrigin`, `RemoteRepositoryOrigin`, `RegisteredCodeLocationOrigin`: where a run in the queue comes from.
- `LaunchRunContext`, `WorkerStatus`: what a launcher is called with, and what it answers.
- `GrpcServerCodeLocationOrigin`, `location_origins_from_yaml_paths`: what Dagster reads in a workspace file.
- `IMPLICIT_ASSET_JOB_NAME`, `create_execution_plan`, `ExecutionPlan`: how the UI's buttons take a job apart.
- `AssetCheckEvaluationPlanned`: the event of a check that a run has promised and not done.
- `consume_new_runs_for_automatic_reexecution`: how Dagster's daemon repeats failed runs, and gives that up.
- `EngineEventData`: how Dagster's daemon reports what went wrong with a run.
- `JobFailureData`: what ended a run.
- `DagsterDaemonScheduler`: how often a schedule's failed tick is tried again.
"""

from dagster._core.code_pointer import CodePointer, ModuleCodePointer
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.events import EngineEventData, JobFailureData
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler import DagsterDaemonScheduler
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import consume_new_runs_for_automatic_reexecution

__all__ = [
    "DAEMON_MODULE",
    "IMPLICIT_ASSET_JOB_NAME",
    "AssetCheckEvaluationPlanned",
    "CodePointer",
    "DagsterDaemonScheduler",
    "EngineEventData",
    "ExecutionPlan",
    "GrpcServerCodeLocationOrigin",
    "JobFailureData",
    "JobPythonOrigin",
    "LaunchRunContext",
    "ModuleCodePointer",
    "RegisteredCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "RepositoryPythonOrigin",
    "WorkerStatus",
    "consume_new_runs_for_automatic_reexecution",
    "create_execution_plan",
    "location_origins_from_yaml_paths",
]

DAEMON_MODULE = "dagster._daemon"
"""The module of `dagster-daemon`, by name: a test starts it with its own interpreter."""
