"""Bringing an environment's stacks on AWS to what is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import DryRun, opened, plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ops.deployment.deploying import Outcome
    from ops.deployment.given import Plan

DEPLOYED = ("dev", "test", "prod")
CHANGES = 3
"""The exit code of a dry run that would change something; 0: nothing, 1: an error or what would be refused."""


def _deployed(name: str) -> str:
    if name not in DEPLOYED:
        raise typer.BadParameter(f"expected one of {', '.join(DEPLOYED)}, found {name!r}")
    return name


# Each is an option that a person types.
def deploy(
    context: typer.Context,
    environment: Annotated[str, typer.Argument(callback=_deployed, metavar=f"[{'|'.join(DEPLOYED)}]")],
    image: Annotated[str | None, typer.Option(help="The pipeline's image by digest. Default: the one it has.")] = None,
    without_pipeline: Annotated[bool, typer.Option("--without-pipeline", help="Leave the pipeline as it is.")] = False,
    without_governance: Annotated[
        bool, typer.Option("--without-governance", help="Leave who may read the lake as it is.")
    ] = False,
    delivery: Annotated[
        bool, typer.Option("--delivery", help="Only what gives rights to workflows that deploy; for an administrator.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    replace_data: Annotated[
        list[str] | None,
        typer.Option("--replace-data", metavar="LOGICAL_ID", help="A resource with data that may go or be replaced."),
    ] = None,
) -> None:
    """Bring up an environment on AWS, or bring it to what is here: all stacks in their order, each shown before.

    Parameters are in deploy/parameters/ENVIRONMENT.json. It may be repeated and stopped at any point: what is as it
    should be is not touched. A dry run ends with 3 if something would be changed, and with 0 if nothing.
    """
    with opened(context, environment) as (where, console):
        from ops.deployment.deploying import Deployment, Manner
        from ops.deployment.given import Wanted, plan

        say = plainly(console)
        if sum(map(bool, (image, without_pipeline, delivery))) > 1:
            raise typer.BadParameter("expected one of --image, --without-pipeline and --delivery, found several")
        planned = plan(where, Wanted(image, without_pipeline, delivery, without_governance))
        place = planned.place
        say(f"{place.environment} in account {place.account}, region {place.region}")
        manner = Manner(_ask(yes), dry_run, frozenset(replace_data or ()))
        try:
            outcome = Deployment(where, planned, manner, say).run()
        except KeyboardInterrupt:
            say("\nInterrupted. What CloudFormation has begun it ends by itself; run this again to go on.")
            raise typer.Exit(130) from None
        if outcome.refused:
            for line in outcome.refused:
                say(line)
            raise typer.Exit(1)
        if dry_run:
            say(f"Would change: {', '.join(outcome.changed) or 'nothing'}")
            raise typer.Exit(CHANGES if outcome.changed else 0)
        for line in closing(planned, outcome):
            say(line)


def _ask(yes: bool) -> Callable[[str], bool]:
    def ask(prompt: str) -> bool:
        try:
            return yes or typer.confirm(prompt)
        except typer.Abort:  # Ctrl-C, or nobody is there to answer
            return False

    return ask


def closing(planned: Plan, outcome: Outcome) -> Iterator[str]:
    """What a person needs in the end: addresses, and what is left to do."""
    yield f"\nChanged: {', '.join(outcome.changed) or 'nothing'}"
    for one in planned.stacks:
        there = outcome.outputs[one.stack.key]
        yield from (f"  {name:<20}{there[name]}" for name in one.stack.shown if name in there)
    for one in planned.stacks:
        facts = {**one.values, **outcome.outputs[one.stack.key]}
        yield from (f"Next: {line.format(**facts)}" for line in one.stack.then)
    for key, waiting in planned.later.items():
        yield f"Left for later: {key}, until {waiting.parameter} is given"
        yield from (f"  it needs {problem}" for problem in waiting.problems)
