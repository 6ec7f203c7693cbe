"""What people do during a run of chaos: two at once do the same recovery, and somebody puts back what failed.

Commands that an injected fault ends are repeated, as a person would; what they say is kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

from local.aws import Aws
from local.home import REPOSITORY

if TYPE_CHECKING:
    from local.chaos.parts import Parts

REBUILT, LOST = "bids", "lots"
"""The entity whose tables two rebuild at once, and the one whose catalog entries are lost."""
ATTEMPTS = 12


class OperatorsFailed(RuntimeError):
    """What two operators did again and again did not succeed; quotes what their commands said last."""


def two_rebuild(parts: Parts, stopping: Event) -> None:
    """Two operators rebuild the same tables at once."""
    _two(parts, ("rebuild", REBUILT), stopping)


def two_recover(parts: Parts, stopping: Event) -> None:
    """The catalog entries of an entity are lost, and two operators recover them at once."""
    glue = Aws(parts.stack.endpoint).client("glue")
    for database in ("gavel_local", "gavel_work_local"):
        for table in (LOST, f"{LOST}_changes"):
            glue.delete_table(DatabaseName=database, Name=table)
    _two(parts, ("recover", "catalog"), stopping)


def redrive(parts: Parts) -> None:
    """Put back what failed on its way from the stream; what fails again stays for the next time."""
    done = _started(parts, ("redrive",))
    parts.say(f"gavel ops redrive: {(done.communicate()[0].strip().splitlines() or ['nothing'])[-1]}")


def _two(parts: Parts, command: Sequence[str], stopping: Event) -> None:
    """Two at once, until a pair of which one succeeds: what came in between may end the other."""
    said = ["", ""]
    for attempt in range(1, ATTEMPTS + 1):
        both = [_started(parts, command) for _ in range(2)]
        said = [one.communicate()[0].strip() for one in both]
        ended = [one.returncode for one in both]
        last = [(text.splitlines() or ["nothing"])[-1][:300] for text in said]
        parts.say(f"two operators, `gavel ops {' '.join(command)}`, attempt {attempt}: {ended}: {last}")
        if 0 in ended:
            return
        stopping.wait(2.0)
    raise OperatorsFailed(f"expected `gavel ops {' '.join(command)}` to succeed, it said: {said}")


def _started(parts: Parts, command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.command_line", "ops", *command],
        cwd=REPOSITORY,
        env={**os.environ, "GAVEL_HOME": str(parts.home.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
