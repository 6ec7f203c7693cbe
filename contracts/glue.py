"""Columns of the Glue catalog, as the `Columns` of a Glue `TableInput`: plain dictionaries, no AWS call."""

from __future__ import annotations

from contracts.change import CHANGE_COLUMNS
from contracts.model import Contract
from contracts.types import FieldType, IntegerType, fold, scalar_name

MAX_COMMENT = 255  # characters, a limit of Glue

CHANGE_COMMENTS = {
    "_event_id": "Identity of the stream record.",
    "_op": "What happened: insert, modify, remove, expire (TTL) or snapshot (export).",
    "_version": "Order of this change: the end of its second, in microseconds; _seq decides within it.",
    "_seq": "Sequence number of the stream, padded to 40 digits; decides within one version.",
    "_changed_at": "When the change was made, UTC, to the second.",
    "_ttl": "When the operational item may expire, seconds since 1970 UTC.",
    "_contract": "Version of the contract that the item was written under.",
    "_extra": "Attributes that the contract does not know, or has with another type, as DynamoDB JSON.",
    "_by": "Who made the change: user:<sub>, tenant:<id> or function:<name>; null where nobody knows.",
}


def landing_columns(contract: Contract) -> list[dict[str, str]]:
    """Columns of the landing table: every field and change column, all text, so that nothing can be rounded."""
    fields = [{"Name": f.name, "Type": "string", "Comment": f.description[:MAX_COMMENT]} for f in contract.fields]
    return fields + [{"Name": c, "Type": "string", "Comment": CHANGE_COMMENTS[c]} for c in CHANGE_COLUMNS]


def glue_type(type_: FieldType) -> str:
    """The type as Glue and Athena write it, for example `array<struct<kind:string,amount:decimal(14,2)>>`."""
    return fold(
        type_,
        scalar=lambda scalar: "bigint" if isinstance(scalar, IntegerType) else scalar_name(scalar),
        list_=lambda _, element: f"array<{element}>",
        map_=lambda _, value: f"map<string,{value}>",
        struct=lambda members: "struct<" + ",".join(f"{f.name}:{name}" for f, name in members) + ">",
    )
