"""Landed objects as rows of text: Firehose's Parquet, and what other systems drop (NDJSON, CSV, Parquet; also .gz).

Every object is first copied to scratch in exactly the version that was listed. An object that cannot be read is
reported whole; a line that cannot be read becomes a row with a problem. Whether a row keeps its contract belongs to
`validation`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import duckdb
import numpy as np

from contracts.types import NestedType, StringType
from lakehouse.intake import parquet_files, validation, weights
from lakehouse.intake.landing import LandedObject
from lakehouse.intake.text_files import (
    PLAIN_LINES,
    Content,
    NotReadable,
    in_tables,
    is_compressed,
    is_ndjson,
    json_lines,
    json_rows,
    meaning,
    read_text,
    removal_sql,
    resolve,
)
from lakehouse.results import Failure
from lakehouse.storage.duck import Duck
from lakehouse.storage.failures import Poison, class_of, without_values
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import literal, quoted
from lakehouse.storage.store import ObjectChanged, ObjectMissing, ObjectNotRestored
from lakehouse.storage.threads import Threads
from lakehouse.table.relations import CHECKED, LANDED, OBJECTS, WANTED, text_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract

_USUAL_MEMBERS = 64  # different lists of members in one file that are read at once
_SAMPLE = 2_000  # lines that show which these are
_BYTES_AT_ONCE = 32 << 20
_ROWS_AT_ONCE = 16_384  # of small objects
_SMALL_BYTES = 1 << 20
_ROWS_OF_LITERALS = 500
_MOST_SEGMENTS = 2_000
"""Columns of all row groups that one statement reads, together. The engine keeps the rows of each apart, with some 50
KB a column however few they are, until it has 120,000: a thousand small files filled its memory."""
_NO_ENCODING = ("BYTE_STREAM_SPLIT", "Unsupported page encoding")  # how the engine tells of one that it does not know
_NOTHING = "NULL::VARCHAR"
_one_spares = Lock()


@dataclass
class Reading:
    """What became of the objects: `rows` read by key, whole objects that are `unreadable` with the reason and the file
    with their content (`kept`), the `texts` by number, and those `gone` (deleted or written again since they were
    listed: a later batch takes the new version). `given` are the rows of each text that the engine got. What is kept in
    `shelf` is recut there, too. `decoded` are tables that were written again because the engine could not decode
    them."""

    rows: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Path] = field(default_factory=dict)
    texts: dict[int, Content] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    given: dict[int, int] = field(default_factory=dict)
    shelf: weights.Shelf | None = None
    decoded: set[int] = field(default_factory=set)


def read_objects(
    duck: Duck,
    lake: Lake,
    contract: Contract,
    objects: Sequence[LandedObject],
    most: int | None = None,
    shelf: weights.Shelf | None = None,
) -> Reading:
    """Read the objects once, checking and typing as `validation.check` says, into `checked`; `validation.validate` goes
    on from there. `OBJECTS` says which object a number stands for (_no, key, etag, modified).

    What is kept in `shelf` is not downloaded. Raises `weights.TooHeavy` for rows of more than `most` bytes (by default
    `weights.most_of` the contract), `weights.PARQUET_TIMES` as many where all is Parquet."""
    reading = Reading(shelf=shelf)
    folder = _folder(duck)
    folder.mkdir(exist_ok=True)
    paths = _download(lake, contract, objects, folder, reading, shelf)
    duck.run(f"CREATE OR REPLACE TEMP TABLE {OBJECTS} (_no INTEGER, key VARCHAR, etag VARCHAR, modified TIMESTAMP)")
    if paths:
        _insert_objects(duck, [(n, objects[n]) for n in paths])
    duck.run(f"SET VARIABLE overwritten = {any(objects[n].overwritten for n in paths)}")
    validation.begin(duck, contract)
    if not paths:
        return reading
    for number in [n for n in paths if is_table(contract, objects[n].key)]:
        try:
            weights.check_size(paths[number])
        except NotReadable as error:
            _give_up(duck, objects[number], number, error, reading)
            del paths[number]
    for number in [n for n in paths if not is_table(contract, objects[n].key)]:
        landed, path = objects[number], paths[number]
        reading.texts[number] = shelf.text(landed, path) if shelf else Content(path, is_compressed(landed.key))
    weighed = {n: weight_of(contract, objects[n], reading.texts.get(n, path)) for n, path in paths.items()}
    known = {n: weight for n, weight in weighed.items() if weight}
    most = weights.most_of(contract) if most is None else most
    if not reading.texts:
        most *= weights.PARQUET_TIMES
    chunks = weights.shared_out(objects, known, most)
    if len(chunks) > 1:
        raise weights.TooHeavy(chunks)
    _load(duck, contract, objects, paths, reading)
    counted = dict(duck.rows(f"SELECT _no, count(*) FROM {CHECKED} GROUP BY _no"))
    for number in paths:
        if objects[number].key not in reading.unreadable:
            rows = reading.rows[objects[number].key] = counted.get(number, 0)
            if rows != (given := reading.given.get(number, rows)):
                raise Poison(f"expected {given} rows of {objects[number].key} to be checked, found {rows}")
    return reading


def weight_of(contract: Contract, landed: LandedObject, content: Path | Content) -> weights.Weight | None:
    """What the rows of an object weigh; None if nobody knows."""
    if isinstance(content, Content):
        return weights.weight_of_text(content, landed, len(contract.fields))
    return weights.weight_of_table(content, landed, contract.primary_key)


def _within(tables: Iterable[pa.Table], first: int, end: int | None) -> Iterator[pa.Table]:
    """Of tables in the order of their rows those behind the first `first`, up to and with `end`, some tables together:
    a statement of the engine costs more than a thousand rows. Few rows are long ones, of which one table is enough."""
    import pyarrow as pa

    together: list[pa.Table] = []
    for table in filter(len, tables):
        before = table["_row"][0].as_py() - 1
        begins, ends = max(first - before, 0), len(table) if end is None else end - before
        if begins < min(ends, len(table)):
            together.append(table.slice(begins, ends - begins))
        if together and (len(table) < weights.FEWEST_ROWS or sum(t.nbytes for t in together) > _BYTES_AT_ONCE):
            yield pa.concat_tables(together)
            together = []
        if end is not None and ends <= len(table):
            break
    if together:
        yield pa.concat_tables(together)


def _stretch(landed: LandedObject, source: str) -> str:
    """The rows of a source (with _row) that are meant."""
    if landed.whole:
        return source
    end = "" if landed.end is None else f" AND _row <= {landed.end}"
    return f"(SELECT * FROM {source} WHERE _row > {landed.first}{end})"


def as_landed(lake: Lake, contract: Contract, landed: LandedObject, path: Path) -> Path:
    """The content of an object as it landed: the file that it was read from may have been recut for that
    (`weights.recut`, `parquet_files.bare_text`). If it is gone from the lake meanwhile, that file is all there is."""
    if not is_table(contract, landed.key):
        return path
    whole = path.with_name(f"{path.name}.landed")
    try:
        lake.store.download(landed.key, whole, landed.etag)
    except (ObjectMissing, ObjectChanged):
        return path
    return whole


def path_of(duck: Duck, number: int) -> Path:
    """Where the content of an object is while its batch lasts."""
    return _folder(duck) / str(number)


def _folder(duck: Duck) -> Path:
    """Where the objects are kept until the batch ends, named by their numbers."""
    return duck.scratch / "landed"


def _insert_objects(duck: Duck, numbered: Sequence[tuple[int, LandedObject]]) -> None:
    # As literals: values handed over from Python make DuckDB import pandas, which takes longer than a small batch.
    for start in range(0, len(numbered), _ROWS_OF_LITERALS):
        rows = numbered[start : start + _ROWS_OF_LITERALS]
        values = ", ".join(
            f"({n}, {literal(o.key)}, {literal(o.etag)}, TIMESTAMP '{o.modified.replace(tzinfo=None).isoformat()}')"
            for n, o in rows
        )
        duck.run(f"INSERT INTO {OBJECTS} VALUES {values}")


def _download(
    lake: Lake,
    contract: Contract,
    objects: Sequence[LandedObject],
    folder: Path,
    reading: Reading,
    shelf: weights.Shelf | None,
) -> dict[int, Path]:
    def fetch(number: int) -> tuple[int, Path | None]:
        path = folder / f"{number}"
        if shelf is not None and shelf.put(objects[number], path):
            return number, path
        try:
            lake.store.download(objects[number].key, path, objects[number].etag)
        except (ObjectMissing, ObjectChanged):
            return number, None
        except ObjectNotRestored as error:
            raise Poison(f"expected an object that can be read, found one to be restored first: {error}") from error
        if is_table(contract, objects[number].key):
            weights.recut(path)
        return number, path

    if len(objects) < 3:
        fetched = [fetch(n) for n in range(len(objects))]
    else:
        with Threads(8) as pool:
            fetched = list(pool.map(fetch, range(len(objects))))
    reading.gone += [objects[n].key for n, path in fetched if path is None]
    return {n: path for n, path in fetched if path is not None}


def _load(
    duck: Duck,
    contract: Contract,
    objects: Sequence[LandedObject],
    paths: dict[int, Path],
    reading: Reading,
) -> None:
    tables = [n for n in paths if is_table(contract, objects[n].key)]
    if tables:
        _load_tables(duck, contract, objects, tables, reading)
    for some in _small_together(objects, sorted(set(paths) - set(tables)), reading):
        _load_texts(duck, contract, objects, some, reading)


def _small_together(objects: Sequence[LandedObject], numbers: Sequence[int], reading: Reading) -> Iterator[list[int]]:
    """Objects of text in groups that are read by one statement: small ones of one kind, each other one alone."""
    groups: dict[bool, list[int]] = {True: [], False: []}
    sizes = {True: 0, False: 0}
    for number in numbers:
        rows, size = reading.texts[number].counted or (0, 0)
        if not objects[number].whole or not 0 < rows <= weights.FEWEST_ROWS or size > _SMALL_BYTES:
            yield [number]
            continue
        kind = is_ndjson(_name(objects[number]))
        if sizes[kind] + size > _BYTES_AT_ONCE:
            yield groups[kind]
            groups[kind], sizes[kind] = [], 0
        groups[kind].append(number)
        sizes[kind] += size
    yield from filter(None, groups.values())


def _load_texts(
    duck: Duck, contract: Contract, objects: Sequence[LandedObject], numbers: Sequence[int], reading: Reading
) -> None:
    """Objects of one kind; what fails with several of them is tried with each alone. The rows of one of several are one
    table, so that whatever is joined with it has all of them."""
    import pyarrow as pa

    read: list[tuple[int, Iterable[pa.Table]]] = []
    for number in numbers:
        landed, content = objects[number], reading.texts[number]
        tables = _tables(contract, landed, content)
        try:
            whole = [] if len(numbers) == 1 else list(tables)
            read.append((number, [pa.concat_tables(whole)] if whole else tables))
        except Exception as error:  # noqa: BLE001 - what an object raises has no end, see failures
            _give_up(duck, landed, number, error, reading)
    reading.given.update(dict.fromkeys(numbers, 0))
    rows_read = (_given(reading, number, table) for number, tables in read for table in tables)
    together = _joined(rows_read) if len(numbers) > 1 else rows_read
    try:
        if is_ndjson(_name(objects[numbers[0]])):
            _load_json(duck, contract, together)
        else:
            for rows in _registered(duck, together):
                duck.run(f"INSERT INTO {CHECKED} {validation.check(contract, rows)}")
    except Exception as error:  # noqa: BLE001 - likewise
        if len(numbers) == 1:
            _give_up(duck, objects[numbers[0]], numbers[0], error, reading)
            return
        _raise_unless_data(error)
        duck.run(f"DELETE FROM {CHECKED} WHERE _no IN ({_listed(numbers)})")
        for number, _ in read:
            _load_texts(duck, contract, objects, [number], reading)


def _name(landed: LandedObject) -> str:
    return landed.key.rpartition("/")[2]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _tables(contract: Contract, landed: LandedObject, content: Content) -> Iterator[pa.Table]:
    """The rows of an object that are meant: lines of JSON, or values as text."""
    name = _name(landed)
    if is_ndjson(name):
        tables = json_lines(content, landed.first)
    else:
        tables = read_text(contract, text_columns(contract), name, content, landed.first)
    return _within(tables, landed.first, landed.end)


def _numbered(number: int, table: pa.Table) -> pa.Table:
    import pyarrow as pa

    return table.add_column(0, "_no", pa.array(np.full(len(table), number, np.int32)))


def _given(reading: Reading, number: int, table: pa.Table) -> pa.Table:
    reading.given[number] += len(table)
    return _numbered(number, table)


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables together until they have some thousand rows: a statement of the engine costs more than these."""
    import pyarrow as pa

    together: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        together.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= _ROWS_AT_ONCE or size > _BYTES_AT_ONCE:
            yield pa.concat_tables(together)
            together, rows, size = [], 0, 0
    if together:
        yield pa.concat_tables(together)


def _load_json(duck: Duck, contract: Contract, tables: Iterable[pa.Table]) -> None:
    """Lines at once, with the _no of their object; what is not plain or not in the usual form is read again, one by one
    and exactly."""
    import pyarrow.compute as pc

    members: list[str] = []
    for lines in tables:
        for _ in _registered(duck, [lines]):
            members = members or _usual_members(duck, contract)
            rows = _members_as_text(contract, members)
            duck.run(f"INSERT INTO {CHECKED} {validation.check(contract, rows)}")
        numbers, first = pc.unique(lines["_no"]).to_pylist(), pc.min(lines["_row"]).as_py()
        odd = f"_no IN ({_listed(numbers)}) AND _row >= {first} AND _text IS NOT NULL"
        again = [rid for (rid,) in duck.rows(f"SELECT _rid FROM {CHECKED} WHERE {odd}")]
        if again:
            duck.run(f"DELETE FROM {CHECKED} WHERE {odd}")
            odd_lines = lines.filter(np.isin(validation.rids(lines["_no"].to_numpy(), lines["_row"].to_numpy()), again))
            exactly = _exact(contract, odd_lines)
            for exact in _registered(duck, _joined(exactly) if len(numbers) > 1 else exactly):
                duck.run(f"INSERT INTO {CHECKED} {validation.check(contract, exact)}")


def _exact(contract: Contract, lines: pa.Table) -> Iterator[pa.Table]:
    """The rows of lines of JSON, with the _no of their object, by a reader that loses nothing of them."""
    import pyarrow.compute as pc

    for number in pc.unique(lines["_no"]).to_pylist():
        own = lines.filter(pc.equal(lines["_no"], number))
        for table in in_tables(text_columns(contract), json_rows(contract, own)):
            yield _numbered(number, table)


def _usual_members(duck: Duck, contract: Contract) -> list[str]:
    """The most frequent lists of members, as JSON, among the first plain lines in `rows_read`, if the contract has
    each of them."""
    frequent = duck.rows(
        f"SELECT keys FROM (SELECT to_json(json_keys(plain))::VARCHAR AS keys FROM {PLAIN_LINES} LIMIT {_SAMPLE}) "
        f"WHERE keys IS NOT NULL GROUP BY keys ORDER BY count(*) DESC, keys LIMIT {_USUAL_MEMBERS}"
    )
    return [keys for (keys,) in frequent if _known(contract, json.loads(keys))]


def _known(contract: Contract, members: list[str]) -> bool:
    try:
        return len(set(members)) == len(members) and None not in resolve(contract, members).values()
    except ValueError:
        return False


def _members_as_text(contract: Contract, members: list[str]) -> str:
    listed = "[" + ", ".join(literal(m) for m in members) + "]::VARCHAR[]"
    names = sorted({name for each in members for name in json.loads(each)})
    columns = meaning(contract)
    texts = {}
    for column in text_columns(contract):
        found = [f"found[{n}]" for n, name in enumerate(names, start=1) if columns.get(name) == column]
        text = f"coalesce({', '.join(found)})" if found else _NOTHING
        texts[column] = removal_sql(text) if column == "_op" and found else text
    paths = "[" + ", ".join(literal(f'$."{name}"') for name in names) + "]::VARCHAR[]"
    # Text that may be an object has nobody else who looks whether a member is in it twice.
    scalars = [texts[f.name] for f in contract.fields if isinstance(f.type, StringType) and texts[f.name] != _NOTHING]
    nested = "".join(f" OR left({text}, 1) IN ('{{', '[')" for text in scalars)
    return (
        f"(SELECT _no, _row, CASE WHEN usual IS NULL{nested} THEN 'not plain' END AS _problem, "
        f"{', '.join(f'{text} AS {quoted(c)}' for c, text in texts.items())} FROM (SELECT _no, _row, usual, "
        f"json_extract_string(usual, {paths}) AS found FROM (SELECT _no, _row, CASE WHEN list_contains({listed}, "
        f"to_json(json_keys(plain))::VARCHAR) THEN plain END AS usual FROM {PLAIN_LINES})))"
    )


def _registered(duck: Duck, tables: Iterable[pa.Table]) -> Iterator[str]:
    """Tables of rows with the _no of their object as queries, one after the other; each is `rows_read` until the
    next."""
    for table in tables:
        duck.connection.register("rows_read", table)
        try:
            yield "(SELECT * FROM rows_read)"
        finally:
            duck.connection.unregister("rows_read")


def read_again(duck: Duck, contract: Contract, contents: Mapping[int, Content]) -> None:
    """Leave in `landed` the rows of text that `wanted` (_no, _row) names: those of `valid` are not kept as text."""
    texts = ", ".join(f"{quoted(c)} VARCHAR" for c in text_columns(contract))
    duck.run(f"CREATE OR REPLACE TEMP TABLE {LANDED} (_no INTEGER, _row BIGINT, _problem VARCHAR, {texts})")
    objects = duck.rows(
        f"SELECT _no, key, min(_row) - 1, max(_row) FROM {OBJECTS} JOIN {WANTED} USING (_no) GROUP BY ALL ORDER BY _no"
    )
    if tables := [n for n, *_ in objects if n not in contents]:
        for shape in parquet_files.shapes(duck, _folder(duck), tables):
            source = parquet_files.as_text(duck, contract, _folder(duck), shape)
            duck.run(f"INSERT INTO {LANDED} BY NAME SELECT * FROM {source} SEMI JOIN {WANTED} USING (_no, _row)")
    for number, key, first, end in objects:
        if number in contents:
            read = read_text(contract, text_columns(contract), key.rpartition("/")[2], contents[number], first)
            for rows in _registered(duck, (_numbered(number, table) for table in _within(read, first, end))):
                duck.run(f"INSERT INTO {LANDED} BY NAME SELECT * FROM {rows} SEMI JOIN {WANTED} USING (_no, _row)")


def is_table(contract: Contract, key: str) -> bool:
    """Whether the object of that key is Parquet."""
    return contract.origin == "stream" or key.endswith(".parquet")


def _load_tables(
    duck: Duck, contract: Contract, objects: Sequence[LandedObject], numbers: Sequence[int], reading: Reading
) -> None:
    """Files of the same schema in one statement; if one of them is broken, in halves until it is found."""
    try:
        found = parquet_files.shapes(duck, _folder(duck), numbers)
    except duckdb.Error as error:
        if len(numbers) == 1:
            _give_up(duck, objects[numbers[0]], numbers[0], error, reading)
            return
        _raise_unless_data(error)
        for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
            _load_tables(duck, contract, objects, half, reading)
        return
    most = max(_MOST_SEGMENTS // len(text_columns(contract)), 1)
    groups = {number: weights.row_groups(path_of(duck, number)) for number in numbers}
    for shape in found:
        for some in shape.parts(groups, most):
            _load_shape(duck, contract, objects, some, reading)


def _load_shape(
    duck: Duck, contract: Contract, objects: Sequence[LandedObject], shape: parquet_files.Shape, reading: Reading
) -> None:
    try:
        source = parquet_files.as_text(duck, contract, _folder(duck), shape)
        if len(objects) == 1:  # an object that is cut has a chunk of its own
            source = _stretch(objects[0], source)
        nested = [f.name for f in contract.fields if isinstance(f.type, NestedType)]
        repeated = parquet_files.repeated(duck, _folder(duck), shape, nested)
        with _sparing(duck, [_folder(duck) / str(number) for number in shape.numbers]):
            duck.run(f"INSERT INTO {CHECKED} {validation.check(contract, source, repeated)}")
    except Exception as error:  # noqa: BLE001 - what an object raises has no end, see failures
        if isinstance(error, duckdb.OutOfMemoryException) and _recut(duck, objects, shape.numbers, reading):
            _load_tables(duck, contract, objects, shape.numbers, reading)
            return
        _raise_unless_data(error)
        if len(shape.numbers) == 1:
            (number,) = shape.numbers
            if _decoded(duck, objects, number, error, reading) or parquet_files.bare_text(
                duck, path_of(duck, number), error
            ):
                _load_tables(duck, contract, objects, [number], reading)
            else:
                _give_up(duck, objects[number], number, error, reading)
            return
        for half in shape.halves():
            _load_shape(duck, contract, objects, half, reading)


def _recut(duck: Duck, objects: Sequence[LandedObject], numbers: Sequence[int], reading: Reading) -> bool:
    """Recut files that are too large to be read in the row groups that they have; whether any was."""
    found = [number for number in numbers if weights.recut(path_of(duck, number), whatever=True)]
    _keep_recut(duck, objects, found, reading)
    return bool(found)


def _decoded(duck: Duck, objects: Sequence[LandedObject], number: int, error: Exception, reading: Reading) -> bool:
    """Write a file again, once, that is encoded in a way that the engine does not know and Arrow does."""
    if number in reading.decoded or not any(said in str(error) for said in _NO_ENCODING):
        return False
    reading.decoded.add(number)
    done = weights.recut(path_of(duck, number), encoded=True)
    if done:
        _keep_recut(duck, objects, [number], reading)
    return done


def _keep_recut(duck: Duck, objects: Sequence[LandedObject], numbers: Sequence[int], reading: Reading) -> None:
    if reading.shelf is not None:
        for number in numbers:
            reading.shelf.keep_recut(objects[number], path_of(duck, number))


@contextmanager
def _sparing(duck: Duck, paths: Sequence[Path]) -> Iterator[None]:
    """Within it, files with row groups whose columns fill much of the memory are read one row group at a time: each
    thread decompresses the pages of one, and reads the next one's before. One batch at a time: threads are a setting of
    the engine, which batches beside each other share, and the last to set it back would leave it at one."""
    if not any(weights.largest_column(path) > weights.LARGE_COLUMN for path in paths):
        yield
        return
    with _one_spares:
        (threads,) = duck.row("SELECT current_setting('threads')")
        duck.run("SET threads = 1; SET disable_parquet_prefetching = true")
        try:
            yield
        finally:
            duck.run(f"SET threads = {threads}; SET disable_parquet_prefetching = false")


def _give_up(duck: Duck, landed: LandedObject, number: int, error: Exception, reading: Reading) -> None:
    _raise_unless_data(error)
    duck.run(f"DELETE FROM {CHECKED} WHERE _no = ?", [number])
    # What an engine or a decoder says may show a value, and it may be personal; what is said here never does.
    own = isinstance(error, NotReadable)
    reading.unreadable[landed.key] = f"NotReadable: {error}" if own else without_values(error)
    reading.kept[landed.key] = _folder(duck) / str(number)


def _raise_unless_data(error: Exception) -> None:
    """Raise again what says nothing about the content of an object."""
    failure = class_of(error, reading=True)
    if failure is not class_of(error) and failure is Failure.POISON:
        raise Poison(without_values(error)) from error
    if failure is not Failure.DATA:
        raise error
