"""Names that a contract cannot use, because a layer below reads them as something else, and what to write instead.

Names that begin with `_` are the system's everywhere; the loader's form of a name excludes them.
"""

from __future__ import annotations

_KEYS = ("pk", "sk")  # of each item, and with a word before it of the indexes, which all entities of the table share
_ATTRIBUTES = frozenset({"entity", "ttl"})  # of each item, see `contracts.item`
_PARTITIONS = frozenset({"dt", "hh"})  # of the landing tables
_READERS = frozenset(
    {"filename", "file_index", "file_row_number", "rowid"}
)  # columns that DuckDB adds to files and tables
_POSTGRES = frozenset({"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})  # columns of each of its tables
_PATHS = frozenset(
    {"activity", "archive", "figures", "imports", "lists", "parties", "status"}
)  # of the API, beside those of entities
_MADE = frozenset(
    {"entities", "watermarks", "publication_log", "parity_log", "marts", "unknown"}
)  # of all entities, or of none
_PREFIXES = ("stg_", "int_", "dim_", "fct_", "rpt_", "dbt_")  # of models of the dbt project, and dbt's own columns
_SUFFIXES = ("_changes",)  # the history of an entity

# https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html, those of DDL and of SELECT
_ATHENA = """
all alter and array as authorization between bigint binary boolean both by case cashe cast char column commit conf
constraint create cross cube current current_catalog current_date current_path current_schema current_time
current_timestamp current_user cursor database date dayofweek deallocate decimal delete describe distinct div double
drop else end escape except exchange execute exists extended external extract false fetch first float floor following
for foreign from full function grant group grouping having if import in inner insert int integer intersect interval
into is join json_array json_exists json_object json_query json_table json_value last lateral left less like listagg
local localtime localtimestamp macro map more natural none normalize not null numeric of on only or order out outer
over partialscan partition percent preceding precision prepare preserve primary procedure range reads recursive reduce
references regexp revoke right rlike rollback rollup row rows select set skip smallint start table tablesample then
time timestamp to transform trigger trim true truncate uescape unbounded union uniquejoin unnest update user using
utc_timestamp values varchar views when where window with
"""

# duckdb_keywords() of the category `reserved`; a test holds the two together
_DUCKDB = """
analyse analyze any asc asymmetric check collate default deferrable desc do initially lambda leading limit offset
pivot pivot_longer pivot_wider placing qualify returning show some summarize symmetric trailing unique unpivot variadic
"""

# https://trino.io/docs/current/language/reserved.html, what Athena's list leaves out
_TRINO = "current_role"

RESERVED_WORDS = frozenset((_ATHENA + _DUCKDB + _TRINO).split())
"""What Athena or DuckDB read as a part of a statement where it is not between quotes, as a reader's query has it."""


MAX_ENTITY = 64 - len("gavel-local-")
"""Characters: a Firehose's name has at most 64, and `gavel-<environment>-` comes before the entity."""

ENVELOPE = "specversion"
"""What an imported object has if it is a CloudEvent."""

HISTORY = frozenset(
    {
        *("key_batch", "delivery", "copy_of_version", "reported_by_stream", "valid_from", "previous_op", "valid_to"),
        *("is_exported", "previous_event", "previous_same", "reported_again_at"),
        *("is_first", "is_current", "is_removed", "is_expired", "since", "until"),
    }
)
"""Columns of a dimension's history beside the entity's fields (`dbt_project/macros/history.sql`)."""


def problem_of_attribute(name: str, example: str) -> str | None:
    """Why a field of an entity that is a dimension cannot have this name."""
    return f"{name} is a column of a dimension's history; write {example}_{name}" if name in HISTORY else None


def problem_of_member(name: str, example: str) -> str | None:
    """Why a field or a member of one cannot have this name, and what to write; None if it can. `example` is a word to
    put before it, the entity's name."""
    stem, _, last = name.rpartition("_")
    if last in _KEYS:
        return f"{name} is an attribute of the table's keys or of an index's; write {stem or example}_key"
    if name in _ATTRIBUTES:
        return f"{name} is an attribute that the system gives each item; write {example}_{name}"
    if name in _PARTITIONS:
        return f"{name} is a partition of the landing tables; write {example}_{name}"
    if name in _READERS:
        return f"{name} is a column that DuckDB adds to what it reads; write {example}_{name}"
    if name in _POSTGRES:
        return f"{name} is a column that PostgreSQL gives each table that is served; write {example}_{name}"
    if name == ENVELOPE:
        return f"{name} says of an imported object that it is a CloudEvent; write {example}_{name}"
    if name in RESERVED_WORDS:
        return f"{name} is a reserved word of Athena or DuckDB; write {example}_{name}"
    if name.startswith("dbt_"):
        return f"{name} begins with dbt_ as dbt's own columns do; write {name.removeprefix('dbt_') or example}"
    return None


def problem_of_entity(name: str) -> str | None:
    """The same for the name of an entity or of a dimension."""
    if len(name) > MAX_ENTITY:
        return (
            f"{name} is longer than {MAX_ENTITY} characters, for which Firehose has room; write {name[:20].rstrip('_')}"
        )
    if name in _PATHS:
        return f"{name} is a path of the API with other methods; write {name}_items"
    if name in _MADE:
        return f"{name} is what something is called that belongs to no entity or to all; write {name}_items"
    if name in RESERVED_WORDS:
        return f"{name} is a reserved word of Athena or DuckDB; write {name}_items"
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return f"{name} begins with {prefix} as models of dbt do; write {name.removeprefix(prefix) or 'a word'}"
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return f"{name} ends with {suffix} as the histories of entities do; write {name.removesuffix(suffix)}"
    return None
