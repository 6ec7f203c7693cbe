"""What an export proves becomes landed rows: corrections, which win over all that happened before the second of its
moment, and lose to all from that second on.

They are ingested as any landed object. The same corrections have the same events, so that whoever lands them again, or
at the same time, changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from contracts.change import SEQUENCE_WIDTH
from contracts.system_columns import LANDED
from lakehouse.batch.compaction import compact
from lakehouse.intake.landing import Scope
from lakehouse.parity import landed_text
from lakehouse.parity.lake_state import floor
from lakehouse.parity.relations import CORRECTABLE, NAMES, WINNERS, items
from lakehouse.publish.publication import publish
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.relations import text_columns

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.exports.manifest import Export
    from lakehouse.storage.context import Context
    from lakehouse.storage.duck import Duck

LAST = "9" * SEQUENCE_WIDTH
"""The sequence number of a correction: no stream has a later one."""
_CORRECTIONS = "parity_corrections"


def prepare(duck: Duck, contract: Contract, export: Export) -> int:
    """Make the corrections of the keys in `CORRECTABLE` as landed text; returns how many there are.

    What the export has is taken from there. What it has not was removed, or its time to live was over: the rest of the
    row is what the lake has of it, in `WINNERS`.
    """
    second, whole = int(export.at.timestamp()), items(contract.name)
    system = {
        "_event_id": f"'export:' || {literal(export.id)} || ':' || replace(c.kind, ' ', '-') || ':' || n.name",
        "_version": literal(str(floor(export.at) - 1)),
        "_seq": literal(LAST),
        "_changed_at": literal(f"{datetime.fromtimestamp(second, export.at.tzinfo):%Y-%m-%dT%H:%M:%SZ}"),
    }
    of_item = {name: f"i._text.{quoted(name)}" for name in text_columns(contract)} | system
    of_winner = {f.name: landed_text.of_column(f, "w.") for f in (*contract.fields, *LANDED)} | {
        **system,
        "_op": f"CASE WHEN w._ttl <= {second} THEN 'expire' ELSE 'remove' END",
        "_by": "NULL::VARCHAR",
    }

    def row(columns: dict[str, str]) -> str:
        return ", ".join(f"{columns[name]} AS {quoted(name)}" for name in text_columns(contract))

    named = f"{CORRECTABLE} AS c JOIN {NAMES} AS n ON n.k = c.k"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {_CORRECTIONS} AS SELECT {row(of_item)} FROM {named} "
        f"JOIN {whole} AS i ON i._k = c.k UNION ALL SELECT {row(of_winner)} FROM {named} "
        f"JOIN {WINNERS} AS w ON w._k = c.k WHERE c.k NOT IN (SELECT _k FROM {whole})"
    )
    return duck.count(f"SELECT count(*) FROM {_CORRECTIONS}")


def land(duck: Duck, context: Context, export: Export) -> str:
    """Land the corrections as one object; returns its key, which says what is in it."""
    lake, contract = context.lake, context.contract
    columns = ", ".join(quoted(name) for name in text_columns(contract))
    digest = duck.row(f"SELECT printf('%016x', bit_xor(hash({columns}))) FROM {_CORRECTIONS}")[0]
    path = duck.scratch / "corrections.parquet"
    duck.run(
        f"COPY (SELECT {columns} FROM {_CORRECTIONS} ORDER BY _event_id) TO {literal(str(path))} "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    hour = f"dt={lake.now():%Y-%m-%d}/hh={lake.now():%H}"
    key = f"{lake.landing_prefix(contract)}{hour}/parity-{export.id}-{digest}.parquet"
    lake.store.upload(path, key)
    path.unlink()
    context.report(f"corrections landed as {key}")
    return key


def ingest(context: Context, key: str) -> None:
    """Ingest a landed object of corrections and publish. Raises what `compact` and `publish` raise, conflicts with
    other writers among it."""
    compact(context.lake, context.contract, Scope.requeue(frozenset({key})), progress=context.progress)
    publish(context.lake, context.contract, run_id=context.run_id)
