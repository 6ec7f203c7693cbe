"""The AWS emulator (ministack) as a background process on this machine only: start, health, resume, stop.

Decides when persisted state may be used: after a clean stop, and only if the emulator that was started from it names
the same identity as `stack.json`. In every other case a new identity begins, and what there was is set aside (see
`local.home`).
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from local import ports
from local.aws import CREDENTIALS, Aws
from local.home import Home, Stack
from local.processes import HANG_SECONDS, Process, marked, spawn, stop

STOP_SECONDS = 60
_IDENTITY_PARAMETER = "/gavel/local/identity"


class EmulatorError(RuntimeError):
    """The emulator did not do its work; says what was expected, what happened and where its log is."""


@dataclass(frozen=True)
class Started:
    """The stack as it runs now, and how it came to run."""

    stack: Stack
    how: str
    """`attached` (it ran already), `resumed` (from a clean stop), `new`, or `renewed` (after a kill; what
    there was is set aside)."""


def start(home: Home, port: int | None = None, say: Callable[[str], None] = lambda text: None) -> Started:
    """Make the emulator run, on `port` or its last port or a free one; the caller holds the home's lock."""
    stack = home.load()
    if stack is not None and stack.phase == "running":
        if stack.emulator is not None and stack.emulator.alive and identity_of(stack) == stack.identity:
            return Started(stack, "attached")
        clear_away(stack)
        return _renew(
            home, port, "The stack was killed or its machine restarted, and its parts may contradict each other", say
        )
    if stack is not None and home.emulator.exists():
        clear_away(stack)
        resumed = _launch(home, home.save(_running(stack)), port)
        if identity_of(resumed) == stack.identity:
            return Started(resumed, "resumed")
        clear_away(resumed)
        return _renew(home, port, "The emulator's saved state cannot be used", say)
    return Started(_launch(home, home.begin(), port), "new")


def _renew(home: Home, port: int | None, reason: str, say: Callable[[str], None]) -> Started:
    begun = home.begin()
    aside = home.newest_aside
    kept = f"; what was in it (warehouse.duckdb, reports, landed objects) is in {aside}" if aside else ""
    say(f"{reason}: it begins from nothing, on the same port{kept}")
    return Started(_launch(home, begun, port), "renewed")


def _running(stack: Stack) -> Stack:
    return replace(stack, phase="running", emulator=None, dagster=None, supervisor=None, ui_url=None)


def clear_away(stack: Stack) -> None:
    """End every process that is left of a stack."""
    stop(marked(stack.identity), timeout=5)


def halt(home: Home, clean: bool = True) -> bool:
    """Stop the emulator; the caller holds the home's lock and has drained the pump.

    Returns whether its state was saved. With `clean` false the state on disk is marked as unusable: the next start
    begins from nothing.
    """
    stack = home.load()
    if stack is None or stack.emulator is None or not stack.emulator.alive:
        return False
    saved_state = home.emulator / "state" / "ssm.json"  # holds the identity, so every clean stop writes it
    before = saved_state.stat().st_mtime_ns if saved_state.exists() else None
    ended = stop([stack.emulator], STOP_SECONDS)
    saved = ended and saved_state.exists() and saved_state.stat().st_mtime_ns != before
    if clean and saved:
        home.update(phase="stopped", emulator=None)
    else:
        home.update(emulator=None)
    return clean and saved


def restart(home: Home) -> Stack:
    """Stop the emulator so that it saves, and start it again from that, while the other parts go on; the caller holds
    the home's lock, and has seen to it that nothing waits in the stream, which is forgotten. Raises `EmulatorError`."""
    if not halt(home):
        raise EmulatorError(f"the emulator did not save its state; its log:\n{tail(home.logs / 'emulator.log')}")
    stopped = home.load()
    assert stopped is not None
    started = _launch(home, home.save(replace(stopped, phase="running")), stopped.port)
    if identity_of(started) != stopped.identity or started.port != stopped.port:
        raise EmulatorError(f"the emulator does not go on from what it saved on port {stopped.port}")
    return started


def _launch(home: Home, stack: Stack, port: int | None) -> Stack:
    """Start the emulator for this stack and wait until it answers. A port that is taken is replaced, unless given.

    The last port is tried twice: clients have it, and what failed once may have been the machine's load.
    """
    last = [stack.port] * 2 if stack.port is not None and ports.comes_free(stack.port) else []
    candidates: list[int | None] = [port] if port is not None else [*last, None, None, None]
    failure: EmulatorError | None = None
    for candidate in candidates:
        if candidate is not None and not ports.comes_free(candidate):
            failure = _taken(candidate)
            continue
        try:
            with ports.claimed(() if candidate is None else (candidate,), others=candidate is None) as chosen:
                return _launched(home, stack, chosen)
        except ports.NoPort:
            failure = _taken(candidate)
        except EmulatorError as error:
            failure = error
    assert failure is not None
    raise failure


def _launched(home: Home, stack: Stack, port: int) -> Stack:
    process = _spawn(home, stack, port)
    running = home.update(port=port, emulator=process)
    _wait_until_healthy(running, process, home.logs / "emulator.log")
    if identity_of(running) is None:
        set_identity(running)
    return running


def _taken(port: int | None) -> EmulatorError:
    return EmulatorError(f"port {port} is taken by another program; choose another one or leave it out")


_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL")
_OF_CLOCKS = ("LD_PRELOAD", "GAVEL_CLOCK")  # `local.chaos` moves the clocks of functions with them


def _spawn(home: Home, stack: Stack, port: int) -> Process:
    temporary = home.emulator / "tmp"  # extracted functions; leftovers of a killed emulator are of no use
    shutil.rmtree(temporary, ignore_errors=True)
    for folder in (temporary, home.emulator / "state", home.emulator / "s3"):
        folder.mkdir(parents=True, exist_ok=True)
    log = home.logs / "emulator.log"
    for old in (log, log.with_name(f"{log.name}.1")):
        old.unlink(missing_ok=True)
    environment = {
        **{name: os.environ[name] for name in (*_HANDED_ON, *_OF_CLOCKS) if name in os.environ},
        **CREDENTIALS,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": CREDENTIALS["AWS_REGION"],
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(home.emulator / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home.emulator / "s3"),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        **({"AWS_ENDPOINT_URL": stack.front} if stack.front else {}),  # what its functions get
    }
    command = [sys.executable, "-m", "ministack"]
    return spawn(command, environment, log, f"{stack.identity}.emulator", home.emulator)


def _wait_until_healthy(stack: Stack, process: Process, log: Path) -> None:
    """Return as soon as the emulator answers; raise if it ends or stays silent."""
    deadline = time.monotonic() + HANG_SECONDS
    pause = 0.02
    while process.alive:
        if is_healthy(stack):
            return
        if time.monotonic() > deadline:
            stop([process], 5)
            raise EmulatorError(f"the emulator did not answer within {HANG_SECONDS} s; its log:\n{tail(log)}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.25)
    raise EmulatorError(f"the emulator ended while starting; its log ({log}):\n{tail(log)}")


def is_healthy(stack: Stack) -> bool:
    """Whether an emulator answers at the stack's port."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)
    try:
        connection.request("GET", "/_ministack/health")
        answer = connection.getresponse()
        return answer.status == 200 and "services" in json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def identity_of(stack: Stack) -> str | None:
    """The identity that the emulator's own state names; None if it has none or does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = Aws(stack.endpoint).client("ssm").get_parameter(Name=_IDENTITY_PARAMETER)
    except (ClientError, BotoCoreError):
        return None
    return str(answer["Parameter"]["Value"])


def set_identity(stack: Stack) -> None:
    """Let the emulator's own state name the identity it belongs to."""
    Aws(stack.endpoint).client("ssm").put_parameter(Name=_IDENTITY_PARAMETER, Value=stack.identity, Type="String")


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, those before it was cut among them."""
    if not log.exists():
        return "(no log)"
    parts = [part for part in (log.with_name(f"{log.name}.1"), log) if part.exists()]
    found = [line for part in parts for line in part.read_text(errors="replace").splitlines()]
    return "\n".join(found[-lines:]) or "(the log is empty)"
