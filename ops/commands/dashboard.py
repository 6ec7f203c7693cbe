"""The staff dashboard on AWS: its built files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly

dashboard = typer.Typer(
    no_args_is_help=True,
    help="""The staff dashboard on AWS, behind the distribution of deploy/dashboard.yaml. See docs/deploy.md.""",
)


@dashboard.command()
def publish(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="The built files; `make dashboard` makes them.")] = Path(
        "build/dashboard/site"
    ),
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Bring built files to the bucket of the distribution, assets first and pages last, and let it fetch pages again.

    What is there already is not sent. Files of earlier builds stay, because open pages may still load them.
    """
    with opened(context, environment) as (where, console):
        from ops.dashboard import publish as bring

        bring(where, folder, plainly(console), dry_run=dry_run)
