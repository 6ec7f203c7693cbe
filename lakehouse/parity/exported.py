"""The items of an export as the lake would type them: validated by the same code, numbered, or whole for a few keys.

The export is read file by file and never landed for this: what is kept of an item is its key's number, its state's
number, its order and its file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.exports.manifest import ExportFile, UnusableExport, fetch
from lakehouse.exports.mapping import Mapped, Mapper, Stretch, keys_of, lines_of, stretches_of
from lakehouse.intake import reading, validation
from lakehouse.parity import digests, naming
from lakehouse.parity.relations import DOUBLED, TWICE, broken, exported, items
from lakehouse.storage.duck import connect
from lakehouse.storage.sql import quoted
from lakehouse.table.relations import CHECKED, REJECTED, UNUSUAL, VALID, text_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract, Contracts
    from lakehouse.exports.manifest import Export
    from lakehouse.results import Progress
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import Store

_MAPPED = "parity_mapped"
_AHEAD = 2
"""Stretches that are mapped while others are numbered: what bounds memory."""


@dataclass(frozen=True)
class Source:
    """An export, where it lies, and the contracts of the entities that are compared."""

    lake: Lake
    store: Store
    contracts: Contracts
    export: Export
    entities: Sequence[Contract]


@dataclass
class Loaded:
    """What reading an export found: items, unmapped ones among them, and files that were refused, with the reason. Of
    the unmapped ones it has the keys (pk, sk); `nameless` counts those that have none, `erased` files that an erasure
    has taken items out of."""

    items: int = 0
    unmapped: set[tuple[str, str]] = field(default_factory=set)
    nameless: int = 0
    erased: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def in_part(self) -> bool:
        """Whether something of the export could not be read at all."""
        return bool(self.refused or self.nameless)

    @property
    def notes(self) -> list[str]:
        """What people must know of it."""
        found = list(self.refused)
        if self.erased:
            found.append(
                f"an erasure took items out of {self.erased:,} files of the export; keys of erased persons that it has "
                "no item of are set aside."
            )
        if self.unmapped or self.nameless:
            number = len(self.unmapped) + self.nameless
            found.append(f"{number:,} items of the export are no change (a backfill keeps them, with the reason).")
        return found


def load(duck: Duck, source: Source, progress: Progress) -> Loaded:
    """Number every item of the export."""
    loaded = Loaded()
    for contract in source.entities:
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {exported(contract.name)} (k UHUGEINT, st UBIGINT, v BIGINT, file INTEGER)"
        )
        duck.run(f"CREATE OR REPLACE TEMP TABLE {broken(contract.name)} (k UHUGEINT, why VARCHAR, file INTEGER)")
    for file, _, mapped in _each(source, source.export.files, loaded, progress):
        loaded.items += mapped.items
        keys = [aside.keys for aside in mapped.unmapped]
        loaded.unmapped |= {one for one in keys if one is not None}
        loaded.nameless += keys.count(None)
        for contract in source.entities:
            if contract.name in mapped.tables:
                _number(duck, source, contract, file.number, mapped.tables[contract.name])
    return loaded


def load_rows(duck: Duck, source: Source, contract: Contract, keys: str, progress: Progress) -> None:
    """Make `items`: the whole items of an entity whose keys (k) are in a table, read again from their files."""
    numbers = {
        row[0]
        for row in duck.rows(f"SELECT DISTINCT file FROM {exported(contract.name)} WHERE k IN (SELECT k FROM {keys})")
    }
    files = [file for file in source.export.files if file.number in numbers]
    made = False
    for _, _, mapped in _each(source, files, Loaded(), progress):
        if contract.name not in mapped.tables:
            continue
        with _typed(duck, source, contract, mapped.tables[contract.name]):
            texts = ", ".join(f"{quoted(c)} := m.{quoted(c)}" for c in text_columns(contract))
            wanted = (
                f"SELECT {digests.key(contract, 'x.')} AS _k, x.* EXCLUDE (_rid, _no, _row, _object), "
                f"struct_pack({texts}) AS _text FROM {VALID} AS x JOIN {_MAPPED} AS m ON m._line = x._row "
                f"WHERE {digests.key(contract, 'x.')} IN (SELECT k FROM {keys})"
            )
            create = (
                f"INSERT INTO {items(contract.name)}"
                if made
                else f"CREATE OR REPLACE TEMP TABLE {items(contract.name)} AS"
            )
            duck.run(f"{create} {wanted}")
            made = True
    if not made:
        _no_rows(duck, source, contract)


def load_doubled(duck: Duck, source: Source, contract: Contract, progress: Progress) -> int:
    """Make `DOUBLED` of the keys in `TWICE` whose items are in more than one place; returns how many they are."""
    duck.run("CREATE OR REPLACE TEMP TABLE _places (k UHUGEINT, name VARCHAR, said VARCHAR, pk VARCHAR, sk VARCHAR)")
    of_entity = f"SELECT k, file FROM {exported(contract.name)} UNION ALL SELECT k, file FROM {broken(contract.name)}"
    numbers = {
        row[0] for row in duck.rows(f"SELECT DISTINCT file FROM ({of_entity}) WHERE k IN (SELECT k FROM {TWICE})")
    }
    files = [file for file in source.export.files if file.number in numbers]
    for _, stretch, mapped in _each(source, files, Loaded(), progress) if files else ():
        if contract.name in mapped.tables:
            with _typed(duck, source, contract, mapped.tables[contract.name]):
                _places(duck, contract, stretch)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {DOUBLED} AS SELECT k, any_value(name) AS name, any_value(said) AS said, "
        "list_sort(list(DISTINCT [pk, sk])) AS places FROM _places GROUP BY k HAVING count(DISTINCT [pk, sk]) > 1"
    )
    return duck.count(f"SELECT count(*) FROM {DOUBLED}")


def _places(duck: Duck, contract: Contract, stretch: Stretch) -> None:
    """Note where the items of a stretch are that have a key in `TWICE`, of those whose rows are typed now."""
    removed = f"{digests.of_change(contract)} = {digests.REMOVED}"
    found = duck.rows(
        f"SELECT _row, _k::VARCHAR, {naming.shown(contract)}, {naming.said(contract)} FROM "
        f"(SELECT {digests.key(contract)} AS _k, * FROM {VALID} WHERE NOT ({removed})) "
        f"WHERE _k IN (SELECT k FROM {TWICE}) "
        f"UNION ALL SELECT _row, k::VARCHAR, NULL, NULL FROM (SELECT _row, {digests.tried_key(contract, 'u')} AS k "
        f"FROM {REJECTED} JOIN {UNUSUAL} AS u USING (_no, _row)) WHERE k IN (SELECT k FROM {TWICE})"
    )
    if not found:
        return
    lines = lines_of(stretch)
    for row, *named in found:
        text = lines.column("line")[row - stretch.before - 1].as_py()
        if keys := keys_of(text):
            duck.run("INSERT INTO _places VALUES ($1::UHUGEINT, $2, $3, $4, $5)", [*named, *keys])


def _no_rows(duck: Duck, source: Source, contract: Contract) -> None:
    import pyarrow as pa

    names = text_columns(contract)
    empty = pa.table({"_line": pa.array([], pa.int64()), **{name: pa.array([], pa.string()) for name in names}})
    with _typed(duck, source, contract, empty):
        texts = ", ".join(f"{quoted(c)} := m.{quoted(c)}" for c in names)
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {items(contract.name)} AS SELECT {digests.key(contract, 'x.')} AS _k, "
            f"x.* EXCLUDE (_rid, _no, _row, _object), struct_pack({texts}) AS _text FROM {VALID} AS x "
            f"JOIN {_MAPPED} AS m ON m._line = x._row"
        )


def _each(
    source: Source, files: Sequence[ExportFile], loaded: Loaded, progress: Progress
) -> Iterator[tuple[ExportFile, Stretch, Mapped]]:
    """The files mapped, stretch by stretch, while others use what is mapped. A file that is not what the manifest says
    is refused and named."""
    wanted = [contract.name for contract in source.entities]
    with connect(source.lake) as duck, ThreadPoolExecutor(1, "mapping") as pool:
        mapper = Mapper(duck, source.contracts, source.export, wanted)
        for file in files:
            try:
                path = duck.scratch / "exported"
                file = fetch(source.store, file, path)
                loaded.erased += file.erased
                waiting = []
                for stretch in stretches_of(file, path):
                    waiting.append((stretch, pool.submit(mapper.map, stretch)))
                    if len(waiting) >= _AHEAD:
                        done, mapped = waiting.pop(0)
                        yield file, done, mapped.result()
                for done, mapped in waiting:
                    yield file, done, mapped.result()
            except UnusableExport as error:
                loaded.refused.append(str(error))
                progress(f"export {source.export.id}: refused a file: {error}")


@contextmanager
def _typed(duck: Duck, source: Source, contract: Contract, table: pa.Table) -> Iterator[None]:
    """The rows of a table of text (`_line` and the columns of `text_columns`) as `VALID` and `REJECTED`, by the code
    that types what landed."""
    duck.connection.register(_MAPPED, table)
    try:
        reading.read_objects(duck, source.lake, contract, [])
        rows_of_text = (
            f"(SELECT 0::INTEGER AS _no, _line AS _row, NULL::VARCHAR AS _problem, * EXCLUDE (_line) FROM {_MAPPED})"
        )
        duck.run(f"INSERT INTO {CHECKED} {validation.check(contract, rows_of_text)}")
        validation.validate(duck, contract)
        yield
    finally:
        duck.connection.unregister(_MAPPED)


def _number(duck: Duck, source: Source, contract: Contract, file: int, table: pa.Table) -> None:
    with _typed(duck, source, contract, table):
        duck.run(
            f"INSERT INTO {exported(contract.name)} SELECT {digests.key(contract)}, {digests.of_change(contract)}, "
            f"_version, {file} FROM {VALID}"
        )
        if duck.count(f"SELECT count(*) FROM {REJECTED}"):
            duck.run(
                f"INSERT INTO {broken(contract.name)} SELECT {digests.tried_key(contract, 'u')}, r._reason, {file} "
                f"FROM {REJECTED} AS r JOIN {UNUSUAL} AS u USING (_no, _row)"
            )
