"""What commands share: the options that several have, and the way to the environment and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from ops.environment import Environment, OpsError

ENVIRONMENTS = ("local", "dev", "test", "prod")

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
    traceback, on the error output. Whoever mounts the commands may hand over an `Opener` as the context's object."""
    from botocore.exceptions import BotoCoreError, ClientError

    console = Console()
    opener: Opener = context.obj or open_on_aws
    try:
        yield opener(name), console
    except (OpsError, BotoCoreError, ClientError) as error:
        errors = Console(stderr=True)
        errors.print(f"\n[red]{type(error).__name__}[/red] ", end="")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def plainly(console: Console, indent: str = "") -> Callable[[str], None]:
    """Prints a line as it is, behind the indent: no markup, no colours, never broken."""

    def say(line: str) -> None:
        console.print(f"{indent}{line}", markup=False, highlight=False, soft_wrap=True)

    return say
