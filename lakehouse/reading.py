"""Landed objects as rows of text: Firehose's Parquet, and what other systems drop (NDJSON, CSV, Parquet; also .gz).

Every object is first copied to scratch in exactly the version that was listed. An object that cannot be read is
reported whole; a line that cannot be read becomes a row with a problem. Whether a row keeps its contract belongs to
`validation`.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import duckdb

from contracts.change import CHANGE_COLUMNS
from contracts.types import BooleanType, FieldType, ListType, MapType, StructType
from lakehouse.duck import Duck, file_list
from lakehouse.lake import Lake
from lakehouse.landing import LandedObject
from lakehouse.schemas import quoted, sql_type
from lakehouse.store import ObjectChanged, ObjectMissing

if TYPE_CHECKING:
    from contracts import Contract

_ROWS_AT_ONCE = 20_000


@dataclass
class Reading:
    """What became of the objects: `rows` read by key, whole objects that are `unreadable` with the reason, and those
    `gone` (deleted or written again since they were listed: a later batch takes the new version)."""

    rows: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def read_objects(duck: Duck, lake: Lake, contract: Contract, objects: Sequence[LandedObject]) -> Reading:
    """Read the objects into `landed`: _no, _row (from 1), _problem, and each field and change column as text.

    `taken` says which object a number stands for (_no, key, etag, modified).
    """
    reading = Reading()
    folder = duck.scratch / "landed"
    folder.mkdir(exist_ok=True)
    paths = _download(lake, objects, folder, reading)
    columns = (*contract.field_names, *CHANGE_COLUMNS)
    duck.run(
        "CREATE OR REPLACE TEMP TABLE landed (_no INTEGER, _row BIGINT, _problem VARCHAR, "
        + ", ".join(f"{quoted(c)} VARCHAR" for c in columns)
        + ")"
    )
    duck.run("CREATE OR REPLACE TEMP TABLE taken (_no INTEGER, key VARCHAR, etag VARCHAR, modified TIMESTAMP)")
    if not paths:
        return reading
    duck.connection.executemany(
        "INSERT INTO taken VALUES (?, ?, ?, ?)",
        [(n, o.key, o.etag, o.modified.replace(tzinfo=None)) for n, o in enumerate(objects) if n in paths],
    )
    _load(duck, contract, objects, paths, reading)
    for path in paths.values():
        path.unlink()
    counted = dict(duck.rows("SELECT _no, count(*) FROM landed GROUP BY _no"))
    for number in paths:
        if objects[number].key not in reading.unreadable:
            reading.rows[objects[number].key] = counted.get(number, 0)
    return reading


def _download(lake: Lake, objects: Sequence[LandedObject], folder: Path, reading: Reading) -> dict[int, Path]:
    def fetch(number: int) -> tuple[int, Path | None]:
        path = folder / f"{number}"
        try:
            lake.store.download(objects[number].key, path, objects[number].etag)
        except (ObjectMissing, ObjectChanged):
            return number, None
        return number, path

    if len(objects) < 3:
        fetched = [fetch(n) for n in range(len(objects))]
    else:
        with ThreadPoolExecutor(8) as pool:
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
    tables = [n for n in paths if _is_parquet(contract, objects[n].key)]
    try:
        if tables:
            _load_parquet(duck, contract, [paths[n] for n in tables])
    except duckdb.Error:
        # One of them is broken or unlike the others: each by itself shows which.
        for number in tables:
            load = partial(_load_parquet, duck, contract, [paths[number]])
            _load_alone(duck, objects[number], number, paths[number], load, reading)
    for number in sorted(set(paths) - set(tables)):
        load = partial(_load_text, duck, contract, objects[number].key, paths[number], number)
        _load_alone(duck, objects[number], number, paths[number], load, reading)


def _is_parquet(contract: Contract, key: str) -> bool:
    return contract.origin == "stream" or key.endswith(".parquet")


def _load_alone(
    duck: Duck, landed: LandedObject, number: int, path: Path, load: Callable[[], None], reading: Reading
) -> None:
    try:
        load()
    except (duckdb.Error, ValueError, OSError, EOFError) as error:
        duck.run("DELETE FROM landed WHERE _no = ?", [number])
        told = str(error).splitlines()[0].replace(str(path), landed.key.rpartition("/")[2])
        reading.unreadable[landed.key] = f"{type(error).__name__}: {told[:300]}"


def _load_parquet(duck: Duck, contract: Contract, paths: Sequence[Path]) -> None:
    """Columns of any type as text: what a Parquet writer typed is written as the contract's text would be."""
    source = (
        f"read_parquet({file_list([str(p) for p in paths])}, union_by_name = true, filename = true, "
        "file_row_number = true, binary_as_string = true, hive_partitioning = false)"
    )
    found = {str(name): str(type_) for name, type_, *_ in duck.rows(f"DESCRIBE SELECT * FROM {source}")}
    for name in ("filename", "file_row_number"):
        found.pop(name)
    names = {name: name for name in found} if contract.origin == "stream" else _resolve(contract, list(found))
    texts = {
        column: _text(contract, column, given, found[given]) for given, column in names.items() if column is not None
    }
    unknown = [given for given in found if names.get(given) is None]
    if unknown and contract.origin == "files":
        listed = ", ".join(f"{quoted(u)} := {quoted(u)}" for u in unknown)
        texts["_extra"] = f"to_json(struct_pack({listed}))::VARCHAR"
    known = [c for c in (*contract.field_names, *CHANGE_COLUMNS) if c in texts]
    duck.run(
        f"INSERT INTO landed (_no, _row, {', '.join(quoted(c) for c in known)}) "
        f"SELECT parse_filename(filename)::INTEGER, file_row_number + 1, {', '.join(texts[c] for c in known)} "
        f"FROM {source}"
    )


def _text(contract: Contract, column: str, given: str, type_: str) -> str:
    name = quoted(given)
    if column == "_op" and given == "_deleted":
        return f"CASE WHEN CAST({name} AS VARCHAR) = 'true' THEN 'remove' END"
    if type_ == "VARCHAR":
        return name
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(timezone('UTC', {name}), '%Y-%m-%dT%H:%M:%S.%fZ')"
    if column in contract.field_names and type_.endswith(("]", ")")) and not type_.startswith("DECIMAL"):
        wanted = _text_type(contract.field(column).type)
        return f"CAST(to_json(CAST({name} AS {wanted})) AS VARCHAR)"
    return f"CAST({name} AS VARCHAR)"


def _text_type(type_: FieldType) -> str:
    """The nested type with text for every scalar but booleans, so that JSON keeps each digit."""
    match type_:
        case ListType(element=element):
            return f"{_text_type(element)}[]"
        case MapType(value=value):
            return f"MAP(VARCHAR, {_text_type(value)})"
        case StructType(fields):
            return "STRUCT(" + ", ".join(f"{quoted(f.name)} {_text_type(f.type)}" for f in fields) + ")"
        case BooleanType():
            return sql_type(type_)
        case _:
            return "VARCHAR"


def _resolve(contract: Contract, given: Sequence[str]) -> dict[str, str | None]:
    """Which column each given name means: a field by name or alias; `_deleted` marks a removal; None is unknown."""
    known = {alias: f.name for f in contract.fields for alias in (*f.aliases, f.name)} | {"_deleted": "_op"}
    resolved = {name: known.get(name) for name in given}
    targets = [t for t in resolved.values() if t is not None]
    if twice := sorted({t for t in targets if targets.count(t) > 1}):
        raise ValueError(f"expected each field once, found {', '.join(twice)} by name and by alias")
    return resolved


def _load_text(duck: Duck, contract: Contract, key: str, path: Path, number: int) -> None:
    plain = key.removesuffix(".gz")
    read = _csv_rows if plain.endswith(".csv") else _json_rows
    if not plain.endswith((".csv", ".json", ".jsonl", ".ndjson")):
        raise ValueError(
            "expected an object named .parquet, .ndjson, .jsonl, .json or .csv (the last four also .gz), found "
            f"{key.rpartition('/')[2]}"
        )
    columns = ("_no", "_row", "_problem", *contract.field_names, *CHANGE_COLUMNS)
    with _opened(path, key.endswith(".gz")) as source:
        batch: list[dict[str, Any]] = []
        for row, (values, problem) in enumerate(read(contract, source), start=1):
            batch.append({"_no": number, "_row": row, "_problem": problem, **values})
            if len(batch) >= _ROWS_AT_ONCE:
                _insert(duck, columns, batch)
                batch = []
        if batch:
            _insert(duck, columns, batch)


def _insert(duck: Duck, columns: Sequence[str], batch: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    types = {"_no": pa.int32(), "_row": pa.int64()}
    arrays = [pa.array([row.get(c) for row in batch], types.get(c, pa.string())) for c in columns]
    duck.connection.register("rows_read", pa.Table.from_arrays(arrays, list(columns)))
    duck.run("INSERT INTO landed BY NAME SELECT * FROM rows_read")
    duck.connection.unregister("rows_read")


def _opened(path: Path, packed: bool) -> IO[str]:
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open("rt", encoding="utf-8-sig", newline="")


def _json_rows(contract: Contract, source: IO[str]) -> Iterator[tuple[dict[str, str | None], str | None]]:
    for line in source:
        if not line.strip():
            continue
        try:
            # Numbers stay as they were written: no digit is lost on the way to a decimal.
            item = json.loads(line, parse_float=str, parse_int=str, parse_constant=_refuse)
            if not isinstance(item, dict):
                raise ValueError(f"expected a JSON object, found {type(item).__name__}")
            yield _row(contract, item), None
        except ValueError as error:
            yield {"_extra": line.rstrip("\r\n")}, f"not a row: {error}"


def _refuse(constant: str) -> str:
    raise ValueError(f"expected a number, found {constant}")


def _csv_rows(contract: Contract, source: IO[str]) -> Iterator[tuple[dict[str, str | None], str | None]]:
    reader = csv.reader(source, strict=True)
    header = next(reader, None)
    if not header:
        raise ValueError("expected a header line with the column names, found none")
    resolved = _resolve(contract, header)
    if not set(contract.primary_key) <= set(resolved.values()):
        raise ValueError(f"expected a header with {', '.join(contract.primary_key)}, found {', '.join(header)[:200]}")
    for line in reader:
        if not line:
            continue
        if len(line) != len(header):
            problem = f"not a row: expected {len(header)} values as in the header, found {len(line)}"
            yield {"_extra": json.dumps(line, ensure_ascii=False)}, problem
        else:
            yield _row(contract, {h: v if v != "" else None for h, v in zip(header, line, strict=True)}), None


def _row(contract: Contract, item: dict[str, Any]) -> dict[str, str | None]:
    names = _resolve(contract, list(item))
    row: dict[str, str | None] = {}
    extra = {}
    for given, value in item.items():
        column = names[given]
        if column is None:
            extra[given] = value
        elif column == "_op":
            row["_op"] = "remove" if value in (True, "true") else None
        else:
            row[column] = value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if extra:
        row["_extra"] = json.dumps(extra, ensure_ascii=False, sort_keys=True)
    return row
