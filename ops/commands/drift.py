"""Finding where an environment is not what contracts, templates and models say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import Where, opened, plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lakehouse.drift.findings import Drifted, Report, Unread
    from ops.environment import Environment

UNREAD = 3
"""The exit code if nothing drifted as far as was seen, and not all could be read."""
LAPTOP = (
    "Not compared on a laptop, which deploys its one stack in another way than AWS gets its: stacks and policies, so "
    "that a bucket's policy, a role or a queue that was changed by hand is not found here."
)
"""What a person has to know who looks at a laptop."""


# Each option of the command is a parameter: typer reads them from the signature.
def drift(
    context: typer.Context,
    environment: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Keep what was found in the data bucket, where alerts read it.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Show how each difference is taken back and, once that is agreed to, take it back."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --repair: do not ask.")] = False,
    ui_url: Annotated[
        str,
        typer.Option(envvar="GAVEL_UI_URL", help="With --repair: Dagster's UI, to start again what is switched off."),
    ] = "",
) -> None:
    """Find what drifted: stacks, Glue tables, policies; and, as the nightly run saw them, Dagster's definitions and
    dbt's relations. Changes nothing without --repair. Ends with 1 if anything drifted (with --repair: and is left),
    with 3 if something could not be read.
    """
    with opened(context, environment) as (where, console):
        import json

        from lakehouse.drift.findings import NIGHTLY, document
        from ops.drift.looking import keep, look, reports

        if repair:
            after = _repair(where, plainly(console), yes, ui_url)
            if report:
                keep(where, after)
            _end(bool(after.drifted), bool(after.unread))
            return
        now = look(where)
        kept, damaged = reports(where)
        found = {"now": now} | {name: one for name, one in kept.items() if name == NIGHTLY}
        if report:
            keep(where, now)
        drifted, unread = counted(found, damaged)
        if as_json:
            looks = {name: {"at": each.at.isoformat(), "parts": each.parts} for name, each in found.items()}
            listed = [{"part": one.part, "unit": one.unit, "why": one.why} for one in unread]
            typer.echo(json.dumps({"looks": looks, "drifted": [*map(document, drifted)], "unread": listed}, indent=2))
        else:
            for line in (*lines(found, damaged), *([LAPTOP] if where.name == "local" else [])):
                plainly(console)(line)
        if drifted or unread:
            raise typer.Exit(1 if drifted else UNREAD)


def _repair(where: Environment, say: Callable[[str], None], yes: bool, ui_url: str) -> Report:
    """Show the plan, ask, carry it out, and look again; what is found then."""
    from ops.drift import repairing

    now = repairing.looked(where, ui_url)
    plan = repairing.Plan.of(now)
    for line in repairing.lines(plan, [f"{one.part}, {one.unit}: {one.why}" for one in now.unread]):
        say(line)
    if where.name == "local":
        say(LAPTOP)
    if not ui_url:
        say("What is switched off in Dagster was not looked at: name its UI with --ui-url.")
    if not plan.ours:
        say("Nothing is taken back.")
        return now
    if not yes and not typer.confirm(f"Make these {len(plan.calls)} calls?"):
        say("Nothing was done.")
        raise typer.Exit(1)
    done = repairing.take_back(where, plan, lambda unit: repairing.looked(where, ui_url, unit), ui_url)
    after = repairing.looked(where, ui_url)
    for line in repairing.said_afterwards(plan, done, after):
        say(line)
    return after


def _end(drifted: bool, unread: bool) -> None:
    if drifted or unread:
        raise typer.Exit(1 if drifted else UNREAD)


def counted(found: Mapping[str, Report], damaged: Sequence[Unread]) -> tuple[list[Drifted], list[Unread]]:
    """What drifted, and what could not be read, `damaged` reports among it. What this look could not read stays so,
    though an earlier one could: that is no answer of now."""
    from lakehouse.drift.findings import current

    drifted, unread = current(found.values())
    return drifted, list(dict.fromkeys((*found["now"].unread, *unread, *damaged)))


def lines(found: Mapping[str, Report], damaged: Sequence[Unread]) -> Iterator[str]:
    """What a person reads."""
    drifted, unread = counted(found, damaged)
    yield from (f"- {one.part}: {one}" for one in drifted)
    yield from (f"- {one.part}: {one.unit} cannot be read: {one.why}" for one in unread)
    seen: set[str] = set()
    for name, report in found.items():
        when = "now" if name == "now" else f"by the nightly run, {report.at:%Y-%m-%d %H:%M} UTC"
        yield f"Looked at {', '.join(part for part in report.parts if part not in seen) or 'nothing'} {when}."
        seen |= set(report.parts)
    if len(found) == 1:
        yield "Definitions and relations: the nightly run (job `drift`) has not reported yet."
    if drifted and not any(one.who for one in drifted):
        yield "Who changed it is not known: CloudTrail names nobody, or there is none, as on a laptop."
    yield f"Differences: {len(drifted)}. Not read: {len(unread)}."
