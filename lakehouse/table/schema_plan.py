"""What the contracts here would change on the published tables of a lake, before anything is deployed.

The next batch of an entity makes the change itself; here it is only looked at, by metadata alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.compatibility import IncompatibleContract
from lakehouse.table import schemas
from lakehouse.table.tables import TableState, check_follows, published_entry

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

    from contracts import Contract
    from lakehouse.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """What would become of one entity's tables: `new` says that there are none yet; `added` and `changed` columns in
    lines for people; `refused` is why the contract cannot follow the stored rows, empty if it can."""

    entity: str
    new: bool = False
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    refused: str = ""

    @property
    def nothing(self) -> bool:
        """Whether the tables stay as they are."""
        return not (self.new or self.added or self.changed or self.refused)


def plan_schema(lake: Lake, contract: Contract) -> SchemaPlan:
    """Compare a contract with the published tables of its entity; changes nothing."""
    entry = published_entry(lake, contract)
    if entry is None:
        return SchemaPlan(contract.name, new=True)
    try:
        check_follows(lake, contract)
    except IncompatibleContract as error:
        return SchemaPlan(contract.name, refused=str(error))
    state = TableState(lake, entry.metadata_location)
    added: dict[str, None] = {}
    changed: dict[str, None] = {}
    for shape, stored in (
        (schemas.compacted(contract), state.metadata.schema()),
        (schemas.changes(contract), state.changes_metadata.schema()),
    ):
        there, wanted = _types(stored), _types(shape.schema())
        added |= {f"{name} {type_}": None for name, type_ in wanted.items() if name not in there}
        changed |= {
            f"{name} {there[name]} becomes {type_}": None
            for name, type_ in wanted.items()
            if there.get(name, type_) != type_
        }
    return SchemaPlan(contract.name, added=tuple(added), changed=tuple(changed))


def _types(schema: Schema) -> dict[str, str]:
    """The type of each column, as Iceberg writes it, nested ones below their column."""
    from pyiceberg.schema import index_by_id

    leaves = {i: field for i, field in index_by_id(schema).items() if field.field_type.is_primitive}
    return {schema.find_column_name(i) or "": str(field.field_type) for i, field in leaves.items()}
