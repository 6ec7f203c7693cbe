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
    """A few of the winners, personal fields masked."""
    columns = [
        f"CASE WHEN {quoted(f.name)} IS NOT NULL THEN '***' END AS {quoted(f.name)}"
        if is_personal(f)
        else quoted(f.name)
        for f in contract.fields
    ]
    stamps = "_op, _version, _changed_at"
    return duck.arrow(
        f"SELECT {', '.join(columns)}, {stamps} FROM {VALID} SEMI JOIN {APPLIED} USING (_rid) "
        f"ORDER BY _version DESC, _seq DESC LIMIT {_ROWS}"
    )
