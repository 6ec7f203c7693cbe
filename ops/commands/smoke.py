"""An order from the API to its mart."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened, plainly


def smoke(
    context: typer.Context,
    minutes: Annotated[float, typer.Option(min=0, max=50, help="How long the order may take to its mart.")] = 20,
    environment: Where = None,
) -> None:
    """Send an order of a marked party through the API, wait until its mart has it, and delete it again, and its user.

    It is cancelled from the start, so that no report counts it. Ends with 1 if it does not arrive in time. On a laptop
    something has to carry it meanwhile: `gavel dev`, or `gavel refresh`.
    """
    with opened(context, environment) as (where, console):
        from ops.smoke import Manner
        from ops.smoke import smoke as send

        send(where, Manner(minutes * 60), plainly(console))
