"""The state that changed dbt models are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.opening import Where, opened, plainly

models = typer.Typer(no_args_is_help=True, help="The dbt manifest of what an environment has, for `make models`.")


@models.command()
def fetch(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where to write manifest.json: dbt's --state.")],
    environment: Where = None,
) -> None:
    """Write the manifest of the models that were deployed last to a folder; says so if there is none yet."""
    with opened(context, environment) as (where, console):
        from ops.models import fetch as bring

        found = bring(where, folder)
        plainly(console)(f"models as deployed: {found}" if found else "models as deployed: none is kept yet")


@models.command()
def keep(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The manifest that `make keep-models` wrote.")],
    commit: Annotated[str, typer.Option(help="The commit that was deployed, for `make contracts`.")] = "",
    environment: Where = None,
) -> None:
    """Keep a manifest as that of what the environment has from now on."""
    with opened(context, environment) as (where, console):
        from ops.models import keep as put

        plainly(console)(f"models as deployed: {put(where, file, commit)}")
