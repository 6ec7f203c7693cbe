"""Finding what is misconfigured."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened


def doctor(
    context: typer.Context,
    environment: Where = None,
    ui_url: Annotated[
        str, typer.Option(envvar="GAVEL_UI_URL", help="Where Dagster's UI answers; without it Dagster is left out.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find what is misconfigured: clock, key, rights, quotas, bucket, tables, topic, queues, functions, Firehoses,
    Glue, Athena, versions and Dagster. Changes nothing. Ends with 1 if anything was found.
    """
    with opened(context, environment) as (where, console):
        import json
        from dataclasses import asdict

        from ops.doctor.findings import Patient
        from ops.doctor.looking import LOOKS, examine

        found = examine(Patient(where, where.contracts(), ui_url))
        if as_json:
            typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
        else:
            for finding in found:
                console.print(f"- {finding}", markup=False, highlight=False, soft_wrap=True)
            left_out = "" if ui_url else " Dagster was not looked at: name its UI with --ui-url."
            console.print(f"Looks: {len(LOOKS)}. Findings: {len(found)}.{left_out}", markup=False, highlight=False)
        if found:
            raise typer.Exit(1)
