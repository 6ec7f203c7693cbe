"""Tenants of the partner API."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened

tenants = typer.Typer(
    no_args_is_help=True,
    help="""Tenants of the partner API: who may call it with tokens of another identity provider.

    A tenant's name is what its tokens carry in the claim that the template's parameter TenantClaim names.
    """,
)


@tenants.command("add")
def add_tenant(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    party: Annotated[str | None, typer.Option(help="The party whose orders the tenant may read.")] = None,
    staff: Annotated[bool, typer.Option("--staff", help="Let the tenant do everything.")] = False,
    tier: Annotated[str, typer.Option(help="How many requests it may send: basic, standard or premium.")] = "basic",
    environment: Where = None,
) -> None:
    """Add a tenant, or change its tier or what it may do. A second call changes nothing."""
    if staff == (party is not None):
        raise typer.BadParameter("expected either --party ID or --staff")
    with opened(context, environment) as (where, console):
        from ops.tenants import Registry

        outcome = Registry(where).add(name, tier, party)
        may = "do everything" if staff else f"read what belongs to {party}"
        console.print(f"{name}: {outcome}; may {may}, tier {tier}", markup=False, highlight=False)


@tenants.command("remove")
def remove_tenant(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    environment: Where = None,
) -> None:
    """Remove a tenant; its tokens open nothing from now on."""
    with opened(context, environment) as (where, console):
        from ops.tenants import Registry

        removed = Registry(where).remove(name)
        console.print(f"{name}: {'removed' if removed else 'there was no such tenant'}", markup=False, highlight=False)


@tenants.command("list")
def list_tenants(context: typer.Context, environment: Where = None) -> None:
    """Show the tenants with tier and what they may do."""
    with opened(context, environment) as (where, console):
        from ops.tenants import Registry

        for tenant in Registry(where).tenants():
            may = "everything" if tenant.party_id is None else f"party {tenant.party_id}"
            console.print(f"{tenant.name}  {tenant.tier}  {may}", markup=False, highlight=False, soft_wrap=True)
