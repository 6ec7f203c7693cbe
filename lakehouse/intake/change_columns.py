"""The change columns of a row, as SQL: those that came with a stream's row, and those that a dropped row is given."""

from __future__ import annotations

from contracts.change import SEQUENCE_WIDTH
from contracts.model import Contract
from contracts.system_columns import LANDED
from contracts.types import DateType, TimestampType
from lakehouse.intake.typed_values import typed
from lakehouse.intake.usual import value_column
from lakehouse.storage.sql import literal, quoted

WRITTEN_AT = "%Y%m%dT%H%M%S%f"
"""How `_seq` of a dropped row says when its object was written; texts are in the order of the times."""
# What `OBJECTS` says of a row's object. Lists and not a join: they cost nothing where a query does not ask for them.
OBJECT_KEY, OBJECT_MODIFIED = "getvariable('object_keys')[_no + 1]", "getvariable('object_times')[_no + 1]"


def stamps(contract: Contract, usual: bool) -> str:
    """The change columns of typed rows: of the text itself, or (`usual`) of what `check` has typed already."""
    if contract.origin == "files":
        return _file_stamps(contract, usual)
    number, moment, sequence = typed_system("_version", usual), typed_system("_changed_at", usual), "_seq"
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "_event_id": "_event_id",
            "_op": "_op",
            "_version": number,
            "_seq": sequence if usual else f"lpad(_seq, {SEQUENCE_WIDTH}, '0')",
            "_changed_at": moment,
            "_ttl": typed_system("_ttl", usual),
            "_contract": "_contract",
            "_extra": "_extra",
            "_by": "_by",
        }.items()
    )


def typed_system(name: str, usual: bool) -> str:
    """SQL for the typed value of a change column."""
    field = next(f for f in LANDED if f.name == name)
    return value_column(field) if usual else typed(name, field.type)


def _file_stamps(contract: Contract, usual: bool) -> str:
    """The change columns of a row that another system dropped: its ordering column is its version, ties go by object
    key, then by when the object was written (so that a corrected file wins), then by row number. The row's identity is
    its place and content, so that the same object again is a repetition and a corrected one is not."""
    assert contract.ordering is not None  # the contract's loader sees to it
    ordering = contract.field(contract.ordering)
    type_ = ordering.type
    value = value_column(ordering) if usual else typed(quoted(contract.ordering), type_)
    timed = isinstance(type_, TimestampType | DateType)
    content = ", ".join(f"coalesce({quoted(f)}, chr(1))" for f in (*contract.field_names, "_op", "_extra"))
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "_event_id": f"sha256(concat_ws(chr(0), {OBJECT_KEY}, _row, {content}))",
            "_op": "coalesce(_op, 'snapshot')",
            "_version": f"epoch_us({value}::TIMESTAMP)" if timed else value,
            "_seq": f"concat_ws('#', {OBJECT_KEY}, strftime({OBJECT_MODIFIED}, '{WRITTEN_AT}'), "
            "lpad(_row::VARCHAR, 12, '0'))",
            "_changed_at": f"{value}::TIMESTAMP" if timed else OBJECT_MODIFIED,
            "_ttl": "NULL::BIGINT",
            "_contract": literal(contract.version),
            "_extra": "_extra",
            "_by": "NULL::VARCHAR",
        }.items()
    )
