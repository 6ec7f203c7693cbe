"""What commands share: the options that several have, and the way to the environment and the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from ops.environment import Environment, OpsError

ENVIRONMENTS = ("local", "dev", "test", "prod")

_COMMANDING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, but tab and line end; what turns the direction of writing; what cannot be written in UTF-8."""

Opener = Callable[[str | None], Environment]
"""Gives the environment of a name, or the usual one for None; raises `OpsError`."""


def _name(text: str | None) -> str | None:
    if text is not None and text not in ENVIRONMENTS:
        raise typer.BadParameter(f"expected one of {', '.join(ENVIRONMENTS)}, found {text!r}")
    return text


Where = Annotated[
    str | None,
    typer.Option(
        "--environment",
        envvar="GAVEL_ENV",
        callback=_name,
        metavar=f"[{'|'.join(ENVIRONMENTS)}]",
        help="Which environment. `gavel ops` takes local if nothing is said.",
    ),
]
FailedSince = Annotated[
    str | None, typer.Option("--since", help="Only what failed since this moment, for example 2026-11-21T00:00:00Z.")
]
FailedUntil = Annotated[str | None, typer.Option("--until", help="… and before this one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]


def open_on_aws(name: str | None) -> Environment:
    """The environment of a name in the account of the person's credentials."""
    if name is None:
        raise OpsError(f"expected --environment NAME ({', '.join(ENVIRONMENTS)}) or the variable GAVEL_ENV, found none")
    return Environment.of_credentials(name)


@contextmanager
def opened(context: typer.Context, name: str | None) -> Iterator[tuple[Environment, Console]]:
    """The environment and the terminal. Errors that say what to do, and what AWS refuses, are shown without a
    traceback, on the error output; so is what keeps the lake or its files from being read, without the values that an
    engine quotes. Whoever mounts the commands may hand over an `Opener` as the context's object."""
    console = Console()
    opener: Opener = context.obj or open_on_aws
    try:
        yield opener(name), console
    except Exception as error:
        said = _said(error)
        if said is None:
            raise
        errors = Console(stderr=True)
        errors.print(f"\n[red]{type(error).__name__}[/red] ", end="")
        plainly(errors)(said)
        raise typer.Exit(1) from error


def _said(error: Exception) -> str | None:
    """What is said of an error; None of one that is a defect of the program."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, OpsError | BotoCoreError | ClientError):
        return str(error)
    if "lakehouse.storage.store" not in sys.modules:  # then nothing of the lake has failed
        return None
    from lakehouse.storage.failures import Environment as Unreadable
    from lakehouse.storage.store import ObjectMissing

    if isinstance(error, Unreadable | ObjectMissing):
        return str(error)
    duckdb = sys.modules.get("duckdb")
    if duckdb is not None and isinstance(error, duckdb.IOException | duckdb.HTTPException | duckdb.PermissionException):
        from lakehouse.storage.failures import without_values

        return f"{without_values(error)}: look whether your rights reach the bucket, and run it again"
    return None


def plainly(console: Console, indent: str = "") -> Callable[[str], None]:
    """Prints a line as it is, behind the indent: no markup, no colours, never broken. A terminal obeys nothing in it:
    what it would take for a command is shown as Python writes it."""

    def say(line: str) -> None:
        line = _COMMANDING.sub(lambda found: ascii(found[0])[1:-1], line)
        console.print(f"{indent}{line}", markup=False, highlight=False, soft_wrap=True)

    return say
