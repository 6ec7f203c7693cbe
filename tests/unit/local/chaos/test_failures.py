"""A failure is excused only by a fault that was injected while it came about and leaves such a sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from local.chaos.failures import Failure, explained, failures
from orchestration.private_dagster import SerializableErrorInfo
from tests.support.private_dagster import EngineEventData, JobFailureData

REFUSED = "ThrottlingException when calling the CreateTable operation: injected by chaos: throttled"


@pytest.mark.parametrize(
    ("text", "injected"),
    [
        (REFUSED, "throttled glue write"),
        ("An error occurred (InsufficientStorage) when calling PutObject: injected by chaos: full", "full s3 write"),
        ("ConnectionClosedError: Connection was closed before we received a valid response", "lost glue write"),
        ("Connection broken: IncompleteRead(438 bytes read, 438 more expected)", "torn s3 read"),
        ("IO Error: Server returned nothing (no headers, no data) error for HTTP HEAD", "dropped s3 read"),
        ("Could not connect to the endpoint URL", "once emulator restarted"),
        ("The process of this run was terminated by signal 9 (SIGKILL).", "kill worker"),
        ("The process of this run ended before the run did.", "kill daemon"),
        ("failed with exit code `-9`. Check the stdout", "kill dbt"),
        ("DagsterUserCodeUnreachableError: Could not reach user code server.", "kill code server"),
        ("DagsterCodeLocationNotFoundError: Location gavel does not exist in workspace", "once upgrade"),
        ("CatalogLost: lots: expected a published table", "once two recoveries"),
        ("CommitFailedException: gavel_work_local.bids: expected s3://x, found s3://y", "once two rebuilds"),
    ],
)
def test_a_sign_is_known_and_excuses_only_with_its_fault_meanwhile(text: str, injected: str) -> None:
    failure = Failure(10_000.0, 10_100.0, "run compaction", text)
    assert explained(failure, [(10_050.0, injected)])
    assert explained(failure, [(9_990.0, injected)]), "it lasts a while"
    assert not explained(failure, [(10_150.0, injected)]), "the fault came later"
    assert not explained(failure, [(5_000.0, injected)]), "the fault was long over"
    assert not explained(failure, []), "nothing was injected"
    jumped = [(10.0, "clock pipeline")]
    assert explained(failure, [(11_000.0, injected), *jumped]), "Dagster's times are wrong where its clock jumped"
    assert not explained(failure, [(10_150.0, injected), (10.0, "clock functions")]), "Dagster has no function's clock"


@pytest.mark.parametrize("injected", ["kill worker", "kill daemon", "kill database"])
def test_a_run_that_never_began_is_excused_only_by_what_was_killed_meanwhile(injected: str) -> None:
    never = Failure(10_000.0, 10_310.0, "run marts", "Run timed out due to taking longer than 300 seconds to start.")
    assert explained(never, [(10_005.0, injected)])
    assert not explained(never, [(9_990.0, injected)])
    assert not explained(never, [(10_005.0, "kill web server")])


@pytest.mark.parametrize("text", ["KeyError: 'customer_id'", "Binder Error: column x not found", "AssertionError", ""])
def test_other_errors_are_excused_by_nothing(text: str) -> None:
    everything = [(0.0, name) for name in ("error500 s3 read", "torn s3 read", "kill worker", "once two rebuilds")]
    assert not explained(Failure(0.0, 100.0, "run marts", text), everything)


def test_why_a_run_could_not_begin_is_read_from_the_attempt(tmp_path: Path) -> None:
    """A sensor marks a run as failed that it could not submit; only what it reported before says why."""
    error = SerializableErrorInfo("OperationalError: server closed the connection", [], "OperationalError")
    later = SerializableErrorInfo("DagsterUserCodeUnreachableError: no code server", [], "x")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(nothing)
        instance.report_engine_event("is submitted", run)
        instance.report_engine_event("could not be submitted", run, EngineEventData(error=error))
        instance.report_run_failed(run)
        instance.report_engine_event("Failed to retry run", run, EngineEventData(error=later))
        (found,) = failures(instance, datetime.now(UTC) - timedelta(minutes=1))
    assert found.text.startswith("OperationalError: server closed the connection\n")
    assert "Unreachable" not in found.text


def test_why_a_run_ended_is_read_from_its_end_with_all_that_caused_it(tmp_path: Path) -> None:
    """A step that ends well and cannot be marked as ended leaves a `GeneratorExit` of the step only."""
    lost = SerializableErrorInfo("OperationalError: server closed the connection", [], "OperationalError")
    error = SerializableErrorInfo("an error of the executor", [], "Error", cause=lost)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(nothing)
        instance.report_run_failed(run, "An exception was thrown.", JobFailureData(error))
        (found,) = failures(instance, datetime.now(UTC) - timedelta(minutes=1))
    assert found.text.split("\n") == ["An exception was thrown.", error.message, lost.message]


@dg.job
def nothing() -> None: ...
