"""Finding where an environment is not what contracts, templates and models say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import Where, opened, plainly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lakehouse.drift.findings import Drifted, Report, Unread

UNREAD = 3
"""The exit code if nothing drifted as far as was seen, and not all could be read."""


def drift(
    context: typer.Context,
    environment: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Keep what was found in the data bucket, where alerts read it.")
    ] = False,
) -> None:
    """Find what drifted: stacks, Glue tables, policies; and, as the nightly run saw them, Dagster's definitions and
    dbt's relations. Changes nothing. Ends with 1 if anything drifted, with 3 if something could not be read.
    """
    with opened(context, environment) as (where, console):
        import json

        from lakehouse.drift.findings import NIGHTLY, document
        from ops.drift.looking import keep, look, reports

        now = look(where)
        found = {"now": now} | {name: kept for name, kept in reports(where).items() if name == NIGHTLY}
        if report:
            keep(where, now)
        drifted, unread = counted(found)
        if as_json:
            looks = {name: {"at": each.at.isoformat(), "parts": each.parts} for name, each in found.items()}
            listed = [{"part": one.part, "unit": one.unit, "why": one.why} for one in unread]
            typer.echo(json.dumps({"looks": looks, "drifted": [*map(document, drifted)], "unread": listed}, indent=2))
        else:
            for line in lines(found):
                plainly(console)(line)
        if drifted or unread:
            raise typer.Exit(1 if drifted else UNREAD)


def counted(found: Mapping[str, Report]) -> tuple[list[Drifted], list[Unread]]:
    """What drifted, and what could not be read. What this look could not read stays so, though an earlier one could:
    that is no answer of now."""
    from lakehouse.drift.findings import current

    drifted, unread = current(found.values())
    return drifted, list(dict.fromkeys((*found["now"].unread, *unread)))


def lines(found: Mapping[str, Report]) -> Iterator[str]:
    """What a person reads."""
    drifted, unread = counted(found)
    yield from (f"- {one.part}: {one}" for one in drifted)
    yield from (f"- {one.part}: {one.unit} cannot be read: {one.why}" for one in unread)
    seen: set[str] = set()
    for name, report in found.items():
        when = "now" if name == "now" else f"by the nightly run, {report.at:%Y-%m-%d %H:%M} UTC"
        yield f"Looked at {', '.join(part for part in report.parts if part not in seen) or 'nothing'} {when}."
        seen |= set(report.parts)
    if len(found) == 1:
        yield "Definitions and relations: the nightly run (job `drift`) has not reported yet."
    yield f"Differences: {len(drifted)}. Not read: {len(unread)}."
