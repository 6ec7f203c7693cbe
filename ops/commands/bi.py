"""BI tools: the files that they import, and QuickSight's import of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly

bi = typer.Typer(
    no_args_is_help=True,
    help="""BI tools: data sets of the marts, and a first dashboard from the report's panels. See docs/bi.md.""",
)


@bi.command("export")
def export_bi(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    environment: Where = None,
) -> None:
    """Write what QuickSight imports: an asset bundle of data source, data sets, analysis and dashboard.

    The same project gives the same bytes. An import needs no file: it makes the bundle for its account.
    """
    with opened(context, environment) as (where, console):
        from ops.bi import export

        count = export(where.name, out)
        plainly(console)(f"{out}: {count} assets")


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
