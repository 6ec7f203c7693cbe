"""The publication log's columns: what each publication made visible, when, and at what cost.

The table has no contract, because nobody sends it changes: the lake writes the rows
(`lakehouse.publish.publication_log`), and the catalog, the local build and the dbt source take the columns from here.
"""

from __future__ import annotations

from contracts.types import DecimalType, Field, FieldType, IntegerType, StringType, TimestampType

TABLE = "publication_log"
OWNER = "platform"
DESCRIPTION = (
    "What each publication of a table made visible: the batch's input, output, watermark, duration and cost. Rows are "
    "never changed; they stay when snapshots expire and when a table is rolled back or rebuilt. The same publication "
    "may have two rows for a while: count each `publication_id` once."
)
DAY = "dt"
DAY_DESCRIPTION = "Day (UTC) on which the state was written; the partition."

_TEXT, _NUMBER, _MOMENT = StringType(), IntegerType(), TimestampType()

_COLUMNS: tuple[tuple[str, FieldType, str], ...] = (
    ("publication_id", _TEXT, "Identity of the publication: the metadata file that readers were pointed at."),
    ("entity", _TEXT, "Entity whose table was published; empty for a model."),
    (
        "kind",
        _TEXT,
        "What was published: batch, replay (objects ingested again), rebuild, repair, maintenance, erasure or "
        "roll_back; build, of a model of marts and reports; or look, of a model that a build left as it was.",
    ),
    ("engine", _TEXT, "Engine that merged: embedded or athena."),
    ("run_id", _TEXT, "Dagster run that published, where it is known."),
    ("batch_id", _TEXT, "Identity of the run of compaction, as its snapshots carry it."),
    ("batch", _NUMBER, "Number of the last commit that changed rows, as `_batch` of the rows."),
    ("commits", _NUMBER, "Commits of the run that changed rows: one for each chunk of input."),
    ("begun_at", _MOMENT, "When the run began (UTC)."),
    ("ended_at", _MOMENT, "When its result was audited (UTC)."),
    (
        "published_at",
        _MOMENT,
        "When readers saw it (UTC); empty where the process died just after publishing.",
    ),
    ("seconds", DecimalType(12, 3), "How long the run took, in seconds."),
    ("objects", _NUMBER, "Landed objects ingested."),
    ("bytes_read", _NUMBER, "Size of these objects in bytes."),
    (
        "rows_read",
        _NUMBER,
        "Rows of these objects: applied, superseded, duplicate, quarantined and too late together.",
    ),
    ("applied", _NUMBER, "Changes that became the latest row of their key."),
    ("superseded", _NUMBER, "Changes older than another one of their key: kept in the history only."),
    ("duplicate", _NUMBER, "Rows that deliver a change again."),
    ("quarantined", _NUMBER, "Rows that break the contract, set aside."),
    ("too_late", _NUMBER, "Changes older than the table's tombstone horizon whose key is absent, set aside."),
    ("objects_quarantined", _NUMBER, "Objects that could not be read at all, set aside."),
    ("objects_held", _NUMBER, "Objects that failed the audit, set aside."),
    ("files_written", _NUMBER, "Data and delete files that the run added to the table and its history."),
    ("bytes_written", _NUMBER, "Size of these files in bytes."),
    ("rows_after", _NUMBER, "Rows of the published table after it, tombstones included."),
    ("changes_after", _NUMBER, "Rows of the published history after it."),
    ("files_after", _NUMBER, "Data files of the published table after it."),
    ("bytes_after", _NUMBER, "Size of the published table after it, in bytes."),
    ("watermark", _MOMENT, "Moment (UTC) up to which all that arrived is ingested."),
    ("queries", _NUMBER, "Queries that Athena ran for it."),
    ("bytes_scanned", _NUMBER, "Bytes that these queries scanned."),
    ("billed_usd", DecimalType(18, 6), "What these queries cost, in US dollars; an estimate."),
    ("put_requests", _NUMBER, "Requests to S3 that are billed as PUT, COPY, POST or LIST; empty in rows of before."),
    ("get_requests", _NUMBER, "Requests to S3 that are billed as GET and all other; empty in rows of before."),
    ("glue_requests", _NUMBER, "Requests to Glue's Data Catalog; empty in rows of before."),
    ("bytes_sent", _NUMBER, "Bytes sent to S3; empty in rows of before."),
    ("bytes_fetched", _NUMBER, "Bytes fetched from S3; empty in rows of before."),
    ("model", _TEXT, "Model of marts and reports, true for the row's watermark; empty for an entity's table."),
)

COLUMNS = tuple(
    Field(name, number, type_, description=description)
    for number, (name, type_, description) in enumerate(_COLUMNS, start=1)
)
"""The columns in order, but for the partition `DAY`."""
