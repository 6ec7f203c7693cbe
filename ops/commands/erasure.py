"""Erasing a person's data, and legal holds."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened

erasure = typer.Typer(
    no_args_is_help=True,
    help="""Erase a person's data everywhere, with a signed proof.

    The pipeline does it: first every table and object is rewritten, then, when readers of earlier states are done,
    those are removed, everything that is left is read, and the proof is signed.
    """,
)
Identity = Annotated[
    str,
    typer.Option(
        "--subject", prompt="Identity (customer_id)", help="The person's customer_id; without it, it is prompted for."
    ),
]


def erase(
    context: typer.Context,
    subject: Identity,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say where the person is.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Leave readers of earlier states no time.")] = False,
    environment: Where = None,
) -> None:
    """Request that a person's data is erased everywhere; a second call changes nothing."""
    with opened(context, environment) as (where, console):
        from ops import erasure as erasures

        if dry_run:
            for found in erasures.search(where, subject):
                console.print(
                    f"{found.entity}: {found.rows} rows in {found.files} files ({found.bytes:,} bytes), "
                    f"{found.landed} landed objects",
                    highlight=False,
                )
            return
        request = erasures.request(where, subject, at_once=now)
        console.print(f"{request.id}: {request.status}; the pipeline goes on with it", highlight=False)


@erasure.command("list")
def list_erasures(context: typer.Context, environment: Where = None) -> None:
    """Show how far each request is."""
    with opened(context, environment) as (where, console):
        from ops import erasure as erasures

        for line in erasures.states(where):
            console.print(line, markup=False, highlight=False)


@erasure.command("verify")
def verify_erasure(
    context: typer.Context, request: Annotated[str, typer.Argument(help="Id of a request.")], environment: Where = None
) -> None:
    """Verify the signature of a proof, and say what it says."""
    with opened(context, environment) as (where, console):
        from ops import erasure as erasures

        console.print(erasures.verify(where, request), markup=False, highlight=False, soft_wrap=True)


@erasure.command("hold")
def hold_person(
    context: typer.Context,
    subject: Identity,
    reason: Annotated[str | None, typer.Option(help="Why nothing of the person may be erased.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Lift the hold.")] = False,
    environment: Where = None,
) -> None:
    """Set or lift a legal hold on a person: while it lasts, nothing is erased."""
    if lift == (reason is not None):
        raise typer.BadParameter("expected either --reason TEXT or --lift")
    with opened(context, environment) as (where, console):
        from ops import erasure as erasures

        changed = erasures.hold(where, subject, reason)
        done = "set" if reason is not None else "lifted" if changed else "there was none"
        console.print(f"hold {done}", highlight=False)
