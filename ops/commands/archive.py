"""Questions to the archive."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.opening import Where, opened

questions = typer.Typer(
    no_args_is_help=True,
    help="""Ask the archive: an order as it was, a party's whole history, who changed what. Who asks is kept.""",
)


@questions.command("list")
def list_questions(context: typer.Context, environment: Where = None) -> None:
    """Show the questions that there are, and what each needs."""
    with opened(context, environment) as (_, console):
        from ops.archive import questions as all_questions

        for line in all_questions():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@questions.command("ask")
def ask_question(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="Which question, for example order_as_of.")],
    to: Annotated[Path, typer.Option(help="The file of the page, or with the suffix .json of the rows.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be given several times.")
    ] = None,
    personal: Annotated[bool, typer.Option("--personal", help="Show personal values, which is kept, too.")] = False,
    environment: Where = None,
) -> None:
    """Answer a question from all that the lake keeps, as a page without script."""
    with opened(context, environment) as (where, console):
        from ops.archive import answer

        for line in answer(where, question, parameter or (), to, personal=personal):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@questions.command("log")
def log_of_questions(
    context: typer.Context,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day (UTC).")],
    party: Annotated[str | None, typer.Option(help="Only questions about this party.")] = None,
    environment: Where = None,
) -> None:
    """Show who put which question on a day, and how many rows each got."""
    with opened(context, environment) as (where, console):
        from ops.archive import put

        for line in put(where, day, party):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
