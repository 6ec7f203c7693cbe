"""The parity log's columns: what each comparison of a table with an export, or with its history, found.

Like the publication log it has no contract: the lake writes the rows (`lakehouse.parity.parity_log`).
"""

from __future__ import annotations

from contracts.types import DecimalType, Field, FieldType, IntegerType, StringType, TimestampType

TABLE = "parity_log"
OWNER = "platform"
DESCRIPTION = (
    "What each comparison of an entity found: whether the lake says what the operational table said at a moment, and "
    "what a repair made of it. One row for each run and entity; rows are never changed."
)
DAY = "dt"
DAY_DESCRIPTION = "Day (UTC) on which the comparison began; the partition."

_TEXT, _NUMBER, _MOMENT = StringType(), IntegerType(), TimestampType()

_COLUMNS: tuple[tuple[str, FieldType, str], ...] = (
    ("parity_id", _TEXT, "Identity of the comparison."),
    ("entity", _TEXT, "Entity whose table was compared."),
    ("kind", _TEXT, "What it was compared with: export, history (no export) or sample (of the operational table)."),
    ("outcome", _TEXT, "equal, different, unproven (in part) or not yet; of a repair what was left in the end."),
    ("run_id", _TEXT, "Dagster run, where it is known."),
    ("begun_at", _MOMENT, "When it began (UTC)."),
    ("ended_at", _MOMENT, "When it ended (UTC)."),
    ("seconds", DecimalType(12, 3), "How long it took, in seconds."),
    ("compared_at", _MOMENT, "The moment (UTC) that was compared: that of the export."),
    ("export_id", _TEXT, "Identity of the export."),
    ("watermark", _MOMENT, "Moment (UTC) up to which all that had arrived was ingested."),
    ("items", _NUMBER, "Items of the entity that the export has, or that were read of the operational table."),
    ("keys", _NUMBER, "Keys that the history knows."),
    ("rows_compared", _NUMBER, "Rows of the compacted table."),
    ("aside", _NUMBER, "Keys set aside, because they changed at that very moment or since."),
    ("differences", _NUMBER, "Differences found."),
    ("differences_after", _NUMBER, "Differences left after a repair; empty where nothing was repaired."),
    ("corrections", _NUMBER, "Corrections that were landed."),
    ("mended", _NUMBER, "Keys whose rows were written again."),
    ("details", _TEXT, "Numbers of differences by table, class and cause, as JSON; no values of rows."),
    ("capacity_units", DecimalType(12, 1), "Read capacity units of the operational table that a sample took."),
)

COLUMNS = tuple(
    Field(name, number, type_, description=description)
    for number, (name, type_, description) in enumerate(_COLUMNS, start=1)
)
"""The columns in order, but for the partition `DAY`."""
