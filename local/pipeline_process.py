"""Runs the Dagster pipeline once against the laptop stack, in a process of its own, and passes on what it writes.

    python -m local.pipeline_process

A process of its own, because everything in it sees the stack's environment and nothing of the person's AWS settings,
and because it can be stopped with the stack. It speaks JSON lines: `{"progress": "…"}` and at last `{"result": {…}}`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from local.dagster.pipeline_result import PipelineResult
from local.emulator import tail
from local.home import REPOSITORY, Home, Stack
from local.processes import HANG_SECONDS, MARK
from local.stack import PIPELINE, environment


class PipelineError(RuntimeError):
    """The pipeline's process ended without a result; quotes the end of its log."""


def run(home: Home, stack: Stack, progress: Callable[[str], None]) -> PipelineResult:
    """One pass of the pipeline over what landed; `progress` gets a readable line at each step."""
    log = home.logs / "pipeline.log"
    with child_of(home, stack, [sys.executable, "-m", "local.pipeline_process"], log) as child:
        assert child.stdout is not None
        result = None
        for line in child.stdout:
            with suppress(ValueError):  # whatever else a library prints is no message of ours
                message = json.loads(line)
                if "progress" in message:
                    progress(str(message["progress"]))
                result = message.get("result", result)
    if child.returncode or result is None:
        raise PipelineError(
            f"the pipeline ended with {child.returncode} before its result; its log ({log}):\n{tail(log)}"
        )
    return PipelineResult.of_document(result)


def prepare(home: Home, stack: Stack) -> Callable[[], None]:
    """Begin preparing what the pipeline needs on disk (dbt's manifest); returns what waits for it and checks it."""
    log = home.logs / "prepare.log"
    children = child_of(home, stack, [sys.executable, "-m", "local.dagster.prepare"], log)
    child = children.__enter__()

    def wait() -> None:
        child.communicate()
        children.__exit__(None, None, None)
        if child.returncode:
            raise PipelineError(
                f"preparing the dbt models ended with {child.returncode}; its log ({log}):\n{tail(log)}"
            )

    return wait


def reload(ui_url: str) -> None:
    """Let a running Dagster load the code location again, so that assets, sensors and schedules are those of now.

    Raises `PipelineError` with Dagster's reason.
    """
    from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError, ReloadRepositoryLocationStatus

    address = urlsplit(ui_url)
    try:
        client = DagsterGraphQLClient(address.hostname or "", port_number=address.port, timeout=HANG_SECONDS)
        done = client.reload_repository_location("gavel")
    except DagsterGraphQLClientError as error:
        reason = error.__cause__ or error  # the client's own words repeat the query and leave the cause out
        raise PipelineError(f"expected Dagster at {ui_url} to load the code location again, found: {reason}") from error
    if done.status is not ReloadRepositoryLocationStatus.SUCCESS:
        raise PipelineError(f"expected Dagster to load the code location again, found: {done.message}")


@contextmanager
def child_of(home: Home, stack: Stack, command: list[str], log: Path) -> Any:
    """A process of the pipeline with its errors in `log`; it does not outlive the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with log.open("a") as errors:  # a log that is cut while it is written must be appended to
        child = subprocess.Popen(
            command,
            env={**environment(home, stack), MARK: f"{stack.identity}.{PIPELINE}"},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield child
            child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()


def main(variables: Mapping[str, str], output: TextIO) -> None:
    """Run the pipeline with the settings of the environment, and write what it does to `output`."""
    from local.dagster.pipeline import run_once
    from orchestration.settings import Settings

    def write(message: Mapping[str, Any]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    result = run_once(Settings.from_environment(variables), lambda line: write({"progress": line}))
    write({"result": result.to_document()})


if __name__ == "__main__":
    main(os.environ, sys.stdout)
