"""A few of a batch's winners for people to look at, personal fields masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.types import is_personal
from lakehouse.storage.sql import quoted
from lakehouse.table.relations import APPLIED, VALID

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract
    from lakehouse.storage.duck import Duck

_ROWS = 10


def preview(duck: Duck, contract: Contract) -> pa.Table:
    """A few of the winners, personal fields masked. Which these are is found without their columns: all rows of many
    columns at once do not fit beside what the batch holds."""
    columns = [
        f"CASE WHEN {quoted(f.name)} IS NOT NULL THEN '***' END AS {quoted(f.name)}"
        if is_personal(f)
        else quoted(f.name)
        for f in contract.fields
    ]
    stamps = "_op, _version, _changed_at"
    order = "ORDER BY _version DESC, _seq DESC"
    first = f"SELECT _rid FROM {VALID} SEMI JOIN {APPLIED} USING (_rid) {order} LIMIT {_ROWS}"
    return duck.arrow(f"SELECT {', '.join(columns)}, {stamps} FROM {VALID} WHERE _rid IN ({first}) {order}")
