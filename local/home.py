"""The folder that the laptop stack keeps everything in (`.gavel/`), and what it remembers about itself there.

One rule keeps the parts from contradicting each other: **the folder is one unit**. The emulator's tables and objects,
Dagster's home, the warehouse and the reports belong to one identity, and live and go together. A clean stop says so in
`stack.json`, after everything is on disk; while the stack runs, the file says that it runs. Whoever finds "runs"
without a running emulator knows that it was killed, and that its state on disk is of an earlier moment than the rest.
Then everything of that identity is set aside, together and unchanged, and a new identity begins on the same port.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from local.processes import Process

REPOSITORY = Path(__file__).resolve().parent.parent
_FORM = 1
_ASIDE = "aside"
_KEPT = frozenset({"lock", "pump.lock", "stack.json", "bundles", "logs", "scratch", _ASIDE})
"""What a new identity keeps: locks, the mark that the folder is ours, logs, bundles (they are named by content),
scratch space, and what earlier identities left."""
_PREPARED = "dbt"
"""What loading the code location leaves in a folder that no stack has used yet: the project, parsed."""
MOST_ASIDE = 3
"""Identities that are kept aside; the oldest goes when another one comes, so that the folder does not grow for ever."""


class HomeError(RuntimeError):
    """The folder cannot be used; says why and what to do."""


@dataclass(frozen=True)
class Stack:
    """What the stack remembers about itself.

    `phase` is `running` from before the emulator starts until after it has saved everything. `outputs` are those of the
    CloudFormation stack, `demos` counts the simulated histories sent, so that another one gets another seed. `front` is
    the address of what stands before the emulator, if anything does.
    """

    identity: str
    phase: Literal["running", "stopped"] = "running"
    port: int | None = None
    emulator: Process | None = None
    dagster: Process | None = None
    ui_url: str | None = None
    supervisor: Process | None = None
    password: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    demos: int = 0
    front: str | None = None
    dashboard_url: str | None = None

    @classmethod
    def new(cls) -> Stack:
        """A stack that was never seen before."""
        # Cognito asks for each kind of character.
        return cls(identity=secrets.token_hex(8), password=f"Aa1-{secrets.token_urlsafe(24)}")

    @property
    def endpoint(self) -> str:
        """Where the emulator listens."""
        if self.port is None:
            raise HomeError("the stack has never been started; run `gavel up`")
        return f"http://127.0.0.1:{self.port}"

    @property
    def entrance(self) -> str:
        """Where what runs in the stack reaches AWS: the emulator, or what stands before it."""
        return self.front or self.endpoint


@dataclass(frozen=True)
class Home:
    """The folder, by what is where in it."""

    path: Path

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Home:
        """The folder named by GAVEL_HOME, or `.gavel` in the repository; raises `HomeError` if that can be none."""
        path = Path(variables.get("GAVEL_HOME") or REPOSITORY / ".gavel").absolute()
        there = next(place for place in (path, *path.parents) if place.exists())
        if not there.is_dir():
            raise HomeError(f"expected a folder at {path}, found a file at {there}; name another one with GAVEL_HOME")
        return cls(path)

    @property
    def emulator(self) -> Path:
        return self.path / "emulator"

    @property
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def bundles(self) -> Path:
        return self.path / "bundles"

    @property
    def checkpoint(self) -> Path:
        return self.path / "pump.json"

    @property
    def fanout_checkpoint(self) -> Path:
        return self.path / "pump-fanout.json"

    @property
    def contracts(self) -> Path:
        """The contracts that the stack was last brought up with, as one document: what its pipeline works by."""
        return self.path / "contracts.json"

    @property
    def reports(self) -> Path:
        return self.path / "reports"

    @property
    def scratch(self) -> Path:
        """Temporary files of batches; whoever is killed leaves them there."""
        return self.path / "scratch"

    @property
    def _stack_file(self) -> Path:
        return self.path / "stack.json"

    def load(self) -> Stack | None:
        """What the stack remembers; None if there is nothing to be understood."""
        try:
            content = json.loads(self._stack_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(content, dict) or content.pop("form", None) != _FORM:
            return None
        try:
            processes: dict[str, Any] = {
                n: _process(content.pop(n, None)) for n in ("emulator", "dagster", "supervisor")
            }
            return Stack(**content, **processes)
        except TypeError:
            return None

    def save(self, stack: Stack) -> Stack:
        """Remember this, readable by the owner only; the file is replaced as a whole."""
        temporary = self._stack_file.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({"form": _FORM, **asdict(stack)}, indent=2) + "\n")
        os.replace(temporary, self._stack_file)
        return stack

    def update(self, **changes: Any) -> Stack:
        """Remember changed values beside the others."""
        stack = self.load()
        if stack is None:
            raise HomeError(f"{self._stack_file} is missing; run `gavel up`")
        return self.save(replace(stack, **changes))

    def begin(self) -> Stack:
        """Begin a new identity in the folder, on the port of the one before; what that one had is set aside.

        Nothing is deleted but what was set aside earlier (`MOST_ASIDE`). Refuses a folder with content that neither a
        stack nor the code location made. A kill while this runs leads here again: the rest then follows to the same
        place.
        """
        used = self._stack_file.exists()
        if self.path.exists() and not used:
            strange = sorted(p.name for p in self.path.iterdir() if p.name not in _KEPT and not _is_prepared(p))
            if strange:
                raise HomeError(
                    f"{self.path} was not made by gavel (it holds {', '.join(strange[:5])} and no stack.json), and "
                    "starting would move it away. Set GAVEL_HOME to a new folder, or empty this one yourself."
                )
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.load()
        if used:
            self._set_aside(before.identity if before else "unknown")
        return self.save(replace(Stack.new(), port=before.port, front=before.front) if before else Stack.new())

    def _set_aside(self, identity: str) -> None:
        """Move what belongs to an identity into its folder below `aside/`, and remove the oldest of those."""
        moved = [entry for entry in self.path.iterdir() if entry.name not in _KEPT]
        if not moved:
            return
        folders = sorted((self.path / _ASIDE).glob("*"))
        place = next((f for f in folders if f.name.endswith(f"-{identity}")), None)
        if place is None or identity == "unknown":
            place = self.path / _ASIDE / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{identity}"
            folders.append(place)
        place.mkdir(parents=True, exist_ok=True)
        for entry in moved:
            entry.rename(place / entry.name)
        for old in folders[:-MOST_ASIDE]:
            shutil.rmtree(old)

    @property
    def newest_aside(self) -> Path | None:
        """The folder with what the identity before the present one left; None if nothing was set aside."""
        return max((self.path / _ASIDE).glob("*"), default=None)

    @contextmanager
    def locked(self, name: str = "lock", busy: str | None = None) -> Iterator[None]:
        """Hold one of the folder's locks; the system frees it however the holder ends.

        Waits for it, or raises `HomeError` with the text `busy` if it is taken, and where the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            opened = (self.path / name).open("a")
        except OSError as error:
            raise HomeError(
                f"expected a folder that can be written at {self.path}, found: {error.strerror}; "
                "mend that, or name another one with GAVEL_HOME"
            ) from error
        with opened as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            except BlockingIOError as error:
                raise HomeError(busy or "") from error
            yield


def _process(content: Mapping[str, Any] | None) -> Process | None:
    return Process(int(content["pid"]), str(content["started"])) if content else None


def _is_prepared(path: Path) -> bool:
    """Whether this is what `orchestration.prepare` makes: a folder for each target, with the copies that it parsed."""
    return path.name == _PREPARED and path.is_dir() and all((target / "copies").is_dir() for target in path.iterdir())
