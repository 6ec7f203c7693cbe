"""The command that follows one item from its requests to the reports, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import Where, opened, plainly

if TYPE_CHECKING:
    from ops.environment import Environment
    from ops.follow.following import Options
    from ops.follow.model import Followed


# Each is an option of the command.
def follow(
    context: typer.Context,
    entity: Annotated[
        str | None, typer.Argument(help="The entity, for example orders; or a mart that has its keys.")
    ] = None,
    key: Annotated[
        str | None, typer.Argument(help="The key as in an address of the API: o-000001, or o-000001/2.")
    ] = None,
    request: Annotated[
        str | None, typer.Option(help="What this request wrote (x-amzn-requestid of its answer).")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="The first items of a batch of the entity (`_batch`).")] = None,
    since: Annotated[str | None, typer.Option(help="Look no further back, for example 2026-11-21T00:00:00Z.")] = None,
    personal: Annotated[bool, typer.Option("--personal", help="Show personal values, which is kept, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    environment: Where = None,
) -> None:
    """Follow one item from the requests that wrote it to the reports: where it stands, and what to do.

    It ends with 1 if something is set aside or unknown, and with 3 if it is on its way.
    """
    with opened(context, environment) as (where, console):
        import orjson

        from ops.environment import OpsError
        from ops.follow import page
        from ops.follow.following import Options
        from ops.moments import moment

        options = Options(moment(since), personal)
        if request is not None and (entity, key, batch) == (None, None, None):
            from ops.follow.following import of_request

            found, note = of_request(where, request, options.since, options), ""
        elif request is not None or entity is None or (key is None) == (batch is None):
            raise OpsError("expected ENTITY KEY, ENTITY --batch NUMBER, or --request ID")
        else:
            found, note = _of_entity(where, entity, key, batch, options)
        if as_json:
            typer.echo(orjson.dumps([page.document(one) for one in found], option=orjson.OPT_INDENT_2).decode())
        else:
            say = plainly(console)
            for one in found:
                for line in page.lines(one, where.lake.region):
                    say(line)
                say("")
            if note:
                say(note)
        stands = {one.stands for one in found}
        if stands - {"through", "erased"}:
            raise typer.Exit(1 if stands & {"set aside", "unknown"} else 3)


def _of_entity(
    where: Environment, entity: str, key: str | None, batch: int | None, options: Options
) -> tuple[list[Followed], str]:
    from ops.environment import OpsError
    from ops.follow.following import contract_of, key_of, of_batch
    from ops.follow.following import follow as follow_item
    from ops.follow.marts import entity_of

    contract = contract_of(where, entity_of(entity) or entity)
    if key is not None:
        return [follow_item(where, contract, key_of(contract, key), options)], ""
    assert batch is not None
    found, count = of_batch(where, contract, batch, options)
    if not found:
        raise OpsError(f"expected changes of the batch {batch} in the history of {contract.name}, found none")
    return found, f"batch {batch} of {contract.name} has {count:,} changes; {len(found)} items of it are followed"
