"""What changed between two published states of an entity, by the files that only one of them has.

A state is the rows of its files without the deleted ones. What two states share needs no look, so that the difference
is found for batches, late changes, maintenance, purges, erasures, rebuilds and rolled back tables alike, and costs what
was written since. What comes out is rows as they are in the later state, never changes in an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.serving.columns import text, visible
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import schemas
from lakehouse.table.scan import deleted, live_rows, stored_rows

if TYPE_CHECKING:
    from contracts.types import Field
    from lakehouse.serving.wanted import Target
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape
    from lakehouse.table.tables import TableState

PART_BYTES = 32 * 2**20
"""Of data files as stored, whose rows are written as text at once."""


@dataclass(frozen=True)
class Difference:
    """The rows to write, and the keys to remove: what the engine's tables `_before` and `_after` say of the files that
    one state has, or, with `whole`, all rows of a state, whose `files` are read part by part."""

    duck: Duck
    target: Target
    shape: TableShape
    files: Sequence[LiveFile]
    whole: bool
    where: str = "true"

    def rows(self) -> Iterator[Path]:
        """Files of CSV with the rows to write, each gone when the next one is requested."""
        if not self.whole:
            yield from self._parts([_texts(self.target, f"_after ANTI JOIN _before USING ({self._keys}, _hash)")])
            return
        yield from self._parts(
            _served(self.target, live_rows(self.shape, some), self.where) for some in parts(self.files)
        )

    def gone(self) -> Iterator[Path]:
        """The same for the keys to remove; there are none if the rows are all of the state."""
        keys = self._keys
        gone = f"_before ANTI JOIN _after USING ({keys})"
        yield from self._parts([] if self.whole else [_texts(self.target, gone, self.target.keys)])

    @property
    def _keys(self) -> str:
        return ", ".join(quoted(k.name) for k in self.target.keys)

    def _parts(self, queries: Sequence[str] | Iterator[str]) -> Iterator[Path]:
        for number, query in enumerate(queries):
            path = self.duck.scratch / f"part-{number}.csv"
            self.duck.run(
                f"COPY ({query}) TO {literal(str(path))} "
                "(FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', FORCE_QUOTE *)"
            )
            yield path
            path.unlink()


def parts(files: Sequence[LiveFile]) -> Iterator[list[LiveFile]]:
    """Files in their order, so many together as are read at once."""
    some: list[LiveFile] = []
    for file in files:
        if some and sum(f.bytes for f in (*some, file)) > PART_BYTES:
            yield some
            some = []
        some.append(file)
    if some:
        yield some


def whole(duck: Duck, target: Target, state: TableState, where: str = "true") -> Difference:
    """All rows of a state, or those for which a condition in DuckDB's SQL holds."""
    shape = schemas.compacted(target.contract).stored_as(state.metadata)
    return Difference(duck, target, shape, state.files, True, where)


def between(duck: Duck, target: Target, before: TableState, after: TableState) -> Difference:
    """What is to be done to rows of the state `before` to make them those of `after`. Raises what the store and the
    engine raise for files of the earlier state that are removed."""
    shapes = [schemas.compacted(target.contract).stored_as(state.metadata) for state in (before, after)]
    old, new = ({f.path: f for f in state.files} for state in (before, after))
    marked = [path for path in old.keys() & new.keys() if _deletes(old[path]) != _deletes(new[path])]
    _moved(duck, [old[p] for p in marked], [new[p] for p in marked])

    def rows(shape: TableShape, own: Sequence[LiveFile], moved: str) -> str:
        common = _at(shape, [new[p] for p in marked], f"SELECT * FROM _moved WHERE {moved}")
        return f"{live_rows(shape, own)} UNION ALL {common}" if marked else live_rows(shape, own)

    keys = [k.name for k in target.keys]
    _side("_before", duck, target, keys, rows(shapes[0], [old[p] for p in old.keys() - new.keys()], "vanished"))
    _side(
        "_after", duck, target, target.names, rows(shapes[1], [new[p] for p in new.keys() - old.keys()], "NOT vanished")
    )
    return Difference(duck, target, shapes[1], (), False)


def _side(table: str, duck: Duck, target: Target, columns: Sequence[str], rows: str) -> None:
    """Make a table of the visible ones of rows: columns, as they are (text is made of those alone that changed), and
    `_hash` of all that is served of a row."""
    hashed, kept = (", ".join(map(quoted, names)) for names in (target.names, columns))
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {kept}, hash({hashed}) AS _hash "
        f"FROM ({rows}) WHERE {visible(target)}"
    )


def _deletes(file: LiveFile) -> frozenset[str]:
    return frozenset(d.file_path for d in file.deletes)


def _moved(duck: Duck, old: Sequence[LiveFile], new: Sequence[LiveFile]) -> None:
    """Make `_moved`: the places in data files of both states whose rows only one of them shows."""
    sides = [{n: f for n, f in enumerate(files) if f.deletes} for files in (old, new)]
    before, after = (f"SELECT _file, _pos FROM {deleted(s)}" if s else "SELECT 0, 0 WHERE false" for s in sides)
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _moved AS "
        f"SELECT *, true AS vanished FROM (SELECT * FROM ({after}) EXCEPT SELECT * FROM ({before})) AS p(_file, _pos) "
        f"UNION ALL SELECT *, false FROM (SELECT * FROM ({before}) EXCEPT SELECT * FROM ({after})) AS q(_file, _pos)"
    )


def _at(shape: TableShape, files: Sequence[LiveFile], places: str) -> str:
    """A query for the rows at some places of data files."""
    return (
        f"SELECT {shape.select()} FROM {stored_rows(shape, files)} AS d SEMI JOIN ({places}) AS p "
        "ON d.file_index::INTEGER = p._file AND d.file_row_number = p._pos"
    )


def _served(target: Target, rows: str, where: str = "true") -> str:
    """A query for visible rows as the text that COPY reads."""
    return _texts(target, f"({rows}) AS r WHERE {visible(target)} AND {where}")


def _texts(target: Target, rows: str, fields: Sequence[Field] | None = None) -> str:
    """A query for columns (all, if none are named) of rows as the text that COPY reads."""
    texts = ", ".join(f"{text(f)} AS {quoted(f.name)}" for f in fields or target.fields)
    return f"SELECT {texts} FROM {rows}"
