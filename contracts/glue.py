"""Columns of the Glue catalog, as the `Columns` of a Glue `TableInput`: plain dictionaries, no AWS call."""

from __future__ import annotations

from contracts.model import Contract
from contracts.system_columns import LANDED
from contracts.types import FieldType, IntegerType, fold, scalar_name

MAX_COMMENT = 255  # characters, a limit of Glue


def landing_columns(contract: Contract) -> list[dict[str, str]]:
    """Columns of the landing table: every field and change column, all text, so that nothing can be rounded."""
    fields = (*contract.fields, *LANDED)
    return [{"Name": f.name, "Type": "string", "Comment": f.description[:MAX_COMMENT]} for f in fields]


def glue_type(type_: FieldType) -> str:
    """The type as Glue and Athena write it, for example `array<struct<kind:string,amount:decimal(14,2)>>`."""
    return fold(
        type_,
        scalar=lambda scalar: "bigint" if isinstance(scalar, IntegerType) else scalar_name(scalar),
        list_=lambda _, element: f"array<{element}>",
        map_=lambda _, value: f"map<string,{value}>",
        struct=lambda members: "struct<" + ",".join(f"{f.name}:{name}" for f, name in members) + ">",
    )
