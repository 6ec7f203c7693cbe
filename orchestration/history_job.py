"""The nightly job with which production lets its Dagster forget (`run_history`, `forgetting`); a laptop has none."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.run_history import PRODUCTION

JOB = "forget_history"


@dg.op(out=dg.Out(dg.Nothing), description="Runs of the last thirty days, and the newest of everything, stay.")
def forget_old_runs(context: dg.OpExecutionContext) -> None:
    """Remove what production does not keep."""
    from orchestration.forgetting import forget

    done = forget(context.instance, datetime.now(UTC), PRODUCTION)
    context.log.info(
        f"forgot {done.runs} runs, {done.leftovers} leftovers of runs, {done.events} events and results of checks, "
        f"{done.ticks} ticks, {done.descriptions} descriptions"
    )


@dg.job(name=JOB, description="Let Dagster forget runs and events that are older than a month.")
def forget_history() -> None:
    """One step."""
    forget_old_runs()


def history_definitions() -> dg.Definitions:
    """The job and when it runs: before the night's work, which is the longest of the day."""
    schedule = dg.ScheduleDefinition(
        name="nightly_history",
        job=forget_history,
        cron_schedule="10 0 * * *",
        execution_timezone="UTC",
        description="Lets Dagster forget runs and events that are older than a month.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(jobs=[forget_history], schedules=[schedule])
