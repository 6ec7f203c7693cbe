"""BI tools: the files that they import, and QuickSight's import of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly


class Tool(StrEnum):
    """The tools that there are bundles for."""

    quicksight = "quicksight"
    superset = "superset"


bi = typer.Typer(
    no_args_is_help=True,
    help="""BI tools: data sets of the marts, and a first dashboard from the report's panels. See docs/bi.md.""",
)


@bi.command("export")
def export_bi(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    tool: Annotated[Tool, typer.Option("--for", help="Which tool imports it.")] = Tool.quicksight,
    address: Annotated[
        str | None, typer.Option(help="Where Superset reads, as SQLAlchemy has it, if not Athena or the laptop's file.")
    ] = None,
    environment: Where = None,
) -> None:
    """Write what a tool imports: data sets of the marts, and a dashboard. The same project gives the same bytes.

    QuickSight's import needs no file: it makes the bundle for its account.
    """
    with opened(context, environment) as (where, console):
        from ops.bi import export

        count = export(where, tool.value, out, address)
        plainly(console)(f"{out}: {count:,} bytes for {tool.value}")


@bi.command("import")
def import_bi(
    context: typer.Context,
    owner: Annotated[
        str | None, typer.Option(help="ARN of the QuickSight user or group that shall own what is made.")
    ] = None,
    workgroup: Annotated[str | None, typer.Option(help="Athena's workgroup, if not that of the readers.")] = None,
    role: Annotated[str | None, typer.Option(help="ARN of the role that the data source reads as.")] = None,
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Import the data sets and the dashboard into QuickSight, and await it; what fails is rolled back."""
    with opened(context, environment) as (where, console):
        from ops.bi import Import, bring_in

        bring_in(where, Import(owner, workgroup, role), plainly(console), dry_run=dry_run)
