"""What the contracts here would change on an environment's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ops.environment import Environment

if TYPE_CHECKING:
    from lakehouse.table.schema_plan import SchemaPlan


def plans(where: Environment) -> list[SchemaPlan]:
    """What would become of the tables of each contract of this installation; changes nothing."""
    from contracts import load_contracts
    from lakehouse import api

    return [api.plan_schema(where.lake, contract) for contract in load_contracts().values()]


def lines(found: Sequence[SchemaPlan]) -> Iterator[str]:
    """The plans in lines for people; tables that stay as they are, are counted."""
    for one in found:
        if one.new:
            yield f"{one.entity}: new tables"
        yield from (f"{one.entity}: added    {column}" for column in one.added)
        yield from (f"{one.entity}: widened  {column}" for column in one.changed)
        if one.refused:
            yield f"REFUSED  {one.refused}"
    yield f"as they are: {sum(one.nothing for one in found)} of {len(found)} entities"
