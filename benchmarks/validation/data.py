"""Landed objects to measure with: changes of four entities as the relay and Firehose land them, and as files dropped by
other systems.

Everything follows from the row number, so that a data set is the same on every machine. Values have the shapes and the
spread of the simulated house: long-tailed customers, prices in cents, times to the millisecond, few distinct tags and
currencies. One row in 200 breaks the contract, each in one of several ways.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from contracts import Contract, load_contracts
from contracts.change import CHANGE_COLUMNS
from contracts.types import BooleanType, DecimalType, IntegerType, ListType, MapType, StructType
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.schemas import duckdb_type

ENTITIES = ("bids", "customers", "lots", "orders")
STREAM_FORMS = ("parquet-snappy", "parquet-zstd")
FILE_FORMS = ("ndjson", "ndjson.gz", "csv", "csv.gz", "parquet-typed")
OBJECTS = 8
BAD_EVERY = 200

_ORDERING = {"bids": "placed_at", "customers": "registered_at", "lots": "listed_at", "orders": "placed_at"}

# Macros of the row number `i`: a pseudo-random number below n that differs by salt, money, moments.
_MACROS = """
CREATE MACRO pick(i, salt, n) AS (hash(i * 1000003 + salt) % n)::BIGINT;
CREATE MACRO word(i, salt, words) AS words[1 + pick(i, salt, len(words))];
CREATE MACRO money(i, salt, n) AS
    regexp_replace((pick(i, salt, n * 100) / 100.0)::DECIMAL(14, 2)::VARCHAR, '\\.?0+$', '');
CREATE MACRO party(i, salt) AS
    'c-h1-' || lpad((pick(i, salt, 200000) * pick(i, salt + 1, 200000) // 200000)::VARCHAR, 6, '0');
CREATE MACRO moment(i, salt, days) AS strftime(
    TIMESTAMP '2026-11-01' + INTERVAL (pick(i, salt, days * 86400000::BIGINT)) MILLISECOND, '%Y-%m-%dT%H:%M:%S.%fZ');
CREATE MACRO maybe(i, salt, share, value) AS CASE WHEN pick(i, salt, 1000) < share THEN value END;
"""

_VALUES: Mapping[str, Mapping[str, str]] = {
    "bids": {
        "bid_id": "'b-h1-' || lpad((i // 20)::VARCHAR, 6, '0') || '-' || lpad((i % 20)::VARCHAR, 2, '0')",
        "lot_id": "'l-h1-' || lpad((i // 20)::VARCHAR, 6, '0')",
        "bidder_id": "party(i, 1)",
        "amount": "money(i, 3, 4000)",
        "currency": "word(i, 4, ['EUR', 'EUR', 'EUR', 'USD', 'GBP'])",
        "kind": "word(i, 5, ['manual', 'manual', 'proxy'])",
        "status": "CASE WHEN pick(i, 6, 50) = 0 THEN 'retracted' ELSE 'accepted' END",
        "placed_at": "moment(i, 7, 20)",
        "closed_at": "maybe(i, 8, 300, moment(i, 9, 20))",
    },
    "customers": {
        "customer_id": "'c-h1-' || lpad(i::VARCHAR, 6, '0')",
        "name": "word(i, 1, ['Anna', 'Ben', 'Clara', 'Elif', 'Jonas', 'Zoë', 'Samir', 'Yuki']) || ' ' || "
        "word(i, 2, ['Adler', 'Brandt', 'Costa', 'Müller', 'Ito', 'Garcia', 'Novak', 'Visser'])",
        "email": "word(i, 1, ['anna', 'ben', 'clara', 'elif', 'jonas', 'zoe', 'samir', 'yuki']) || '.' || "
        "i::VARCHAR || '@example.com'",
        "phone": "maybe(i, 3, 800, '+00 555 ' || lpad(pick(i, 4, 10000000)::VARCHAR, 7, '0'))",
        "kind": "CASE WHEN pick(i, 5, 12) = 0 THEN 'business' ELSE 'private' END",
        "country_code": "word(i, 6, ['DE', 'FR', 'NL', 'US', 'GB', 'IT', 'JP', 'CH'])",
        "status": "CASE WHEN pick(i, 7, 40) = 0 THEN 'suspended' ELSE 'active' END",
        "feedback_score": "(pick(i, 8, 40) * pick(i, 9, 40) // 10)::VARCHAR",
        "marketing_consent": "(pick(i, 10, 10) < 4)::VARCHAR",
        "tags": """word(i, 11, ['[]', '[]', '["collector"]', '["power-seller"]', '["power-seller","collector"]'])""",
        "registered_at": "moment(i, 12, 400)",
    },
    "lots": {
        "lot_id": "'l-h1-' || lpad(i::VARCHAR, 6, '0')",
        "seller_id": "party(i, 1)",
        "title": "word(i, 3, ['Halder', 'Corvin', 'Aurora', 'Kestrel', 'Astor & Lane']) || ' ' || "
        "word(i, 4, ['diver', 'chronograph', 'rookie card', 'booster box', 'gold crown']) || ', ' || "
        "(1850 + pick(i, 5, 170))::VARCHAR || ', no. ' || pick(i, 6, 100000)::VARCHAR",
        "category": "word(i, 7, ['trading cards', 'watches', 'coins', 'stamps', 'wine', 'prints'])",
        "grade": "word(i, 8, ['mint', 'excellent', 'very good', 'PSA 10', 'PSA 9'])",
        "currency": "word(i, 9, ['EUR', 'EUR', 'EUR', 'USD', 'GBP'])",
        "starting_price": "money(i, 10, 500)",
        "reserve_price": "maybe(i, 11, 500, money(i, 12, 900))",
        "valuation_low": "money(i, 13, 1000)",
        "valuation_high": "money(i, 14, 3000)",
        "handling_cost": "money(i, 15, 40)",
        "status": "word(i, 16, ['draft', 'open', 'open', 'sold', 'sold', 'unsold', 'withdrawn'])",
        "attributes": """'{"provenance":"' || word(i, 17, ['private collection', 'estate', 'dealer']) || """
        """'","year":"' || (1850 + pick(i, 5, 170))::VARCHAR || '"' || """
        """CASE WHEN pick(i, 18, 5) = 0 THEN ',"serial":"' || pick(i, 19, 10000000)::VARCHAR || '"' ELSE '' END """
        "|| '}'",
        "listed_at": "moment(i, 20, 20)",
        "starts_at": "moment(i, 21, 20)",
        "ends_at": "moment(i, 22, 20)",
    },
    "orders": {
        "order_id": "'o-h1-' || lpad(i::VARCHAR, 6, '0')",
        "buyer_id": "party(i, 1)",
        "seller_id": "party(i, 3)",
        "lot_id": "'l-h1-' || lpad(i::VARCHAR, 6, '0')",
        "address_id": "'a-h1-' || lpad(pick(i, 5, 250000)::VARCHAR, 6, '0')",
        "currency": "word(i, 6, ['EUR', 'EUR', 'EUR', 'USD', 'GBP'])",
        "hammer_price": "money(i, 7, 4000)",
        "buyers_premium": "money(i, 8, 800)",
        "sellers_commission": "money(i, 9, 400)",
        "fees": """'[' || concat_ws(',', maybe(i, 10, 400, '{"kind":"insurance","payer":"buyer","amount":"' || """
        """money(i, 11, 40) || '"}'), maybe(i, 12, 200, '{"kind":"packing","payer":"buyer","amount":"12"}'), """
        """maybe(i, 13, 700, '{"kind":"photography","payer":"seller","amount":"3"}')) || ']'""",
        "status": "word(i, 14, ['placed', 'invoiced', 'paid', 'shipped', 'delivered', 'completed', 'cancelled'])",
        "quote_number": "maybe(i, 15, 150, 'Q-h1-' || lpad(i::VARCHAR, 6, '0'))",
        "quote_version": "maybe(i, 15, 150, (1 + pick(i, 16, 2))::VARCHAR)",
        "placed_at": "moment(i, 17, 20)",
    },
}

_STAMPS: Mapping[str, str] = {
    "_event_id": "md5(i::VARCHAR)",
    "_op": "CASE WHEN pick(i, 31, 10) < 7 THEN 'modify' ELSE 'insert' END",
    "_version": "(1793491200000000 + i * 911 + pick(i, 32, 900))::VARCHAR",
    "_seq": "lpad((49659876543210987654321::HUGEINT + i * 131)::VARCHAR, 40, '0')",
    "_changed_at": "strftime(TIMESTAMP '2026-11-21' + INTERVAL (i // 1000) SECOND, '%Y-%m-%dT%H:%M:%SZ')",
    "_ttl": "NULL",
    "_contract": "'1.0.0'",
    "_extra": "NULL",
    "_by": "NULL",
}

_FAULTS: Mapping[str, Mapping[str, str]] = {
    "bids": {
        "amount": "'12.505'",
        "placed_at": "'2026-11-21 10:00:00'",
        "status": "'lost'",
        "currency": "'euro'",
        "bid_id": "NULL",
    },
    "customers": {
        "registered_at": "'2026-02-30T10:00:00Z'",
        "country_code": "'Germany'",
        "feedback_score": "'4.5'",
        "tags": "'[1]'",
        "phone": "repeat('5', 50)",
    },
    "lots": {
        "starting_price": "'-1'",
        "attributes": """'{"year":1950}'""",
        "ends_at": "'2026-11-21T10:00:00'",
        "title": "''",
        "status": "'gone'",
    },
    "orders": {
        "hammer_price": "'1234567890123.5'",
        "fees": """'[{"kind":"insurance","payer":"nobody","amount":"1"}]'""",
        "placed_at": "'yesterday'",
        "buyer_id": "NULL",
        "quote_version": "'two'",
    },
}

_BARE = ("'[1]'", """'{"year":1950}'""")


@dataclass(frozen=True)
class DataSet:
    """The objects of one entity in one form, and the contract that they are under.

    `objects` are paths in order; `rows` is how many rows they hold in all and `bad` how many of them break it.
    """

    contract: Contract
    form: str
    folder: Path
    rows: int

    @property
    def objects(self) -> list[Path]:
        return sorted(self.folder.glob("object-*"))

    @property
    def bad(self) -> int:
        """How many rows break the contract; in a typed file, what fits no type is null and mostly none of them."""
        kinds = [name for name in _FAULTS[self.contract.name] if _breaks(self, name)]
        every = len(_FAULTS[self.contract.name])
        return self.rows // BAD_EVERY * len(kinds) // every

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.objects)


def _breaks(data: DataSet, name: str) -> bool:
    """Whether the field's fault is one in this form: bare numbers inside of JSON are text to begin with, and a typed
    file cannot hold what fits no type."""
    type_ = data.contract.field(name).type
    if data.form.startswith("ndjson"):
        return not (isinstance(type_, ListType | MapType) and _FAULTS[data.contract.name][name] in _BARE)
    if data.form != "parquet-typed" or not isinstance(type_, DecimalType | IntegerType | BooleanType):
        return True
    with duckdb.connect() as connection:
        fault = f"TRY_CAST({_FAULTS[data.contract.name][name]} AS {duckdb_type(type_)})"
        found = connection.execute(f"SELECT {fault} IS NULL, {fault} < 0").fetchone()
    assert found is not None
    return bool(found[1]) or (bool(found[0]) and data.contract.field(name).required)


def contract_of(entity: str, form: str) -> Contract:
    """The entity's contract; for dropped files as it would be with `origin: files`."""
    contract = load_contracts()[entity]
    if form in STREAM_FORMS:
        return contract
    return dataclasses.replace(contract, origin="files", ordering=_ORDERING[entity], keys=None)


def build(root: Path, entity: str, form: str, rows: int) -> DataSet:
    """The data set, written below `root` unless it is there already."""
    data = DataSet(contract_of(entity, form), form, root / f"{entity}-{form}-{rows}", rows)
    if data.objects:
        return data
    part = data.folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    step = rows // OBJECTS
    with duckdb.connect() as connection:
        connection.execute(_MACROS)
        for number in range(OBJECTS):
            query = _rows(data.contract, form, number * step, (number + 1) * step)
            path = part / f"object-{number:02d}.{_suffix(form)}"
            connection.execute(f"COPY ({query}) TO {literal(str(path))} ({_options(form)})")
    part.rename(data.folder)
    return data


def _suffix(form: str) -> str:
    return "parquet" if form.startswith("parquet") else form


def _options(form: str) -> str:
    options = {
        # One row group an object, as Firehose writes it.
        "parquet-snappy": "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 1000000",
        "parquet-zstd": "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 1000000",
        "parquet-typed": "FORMAT parquet, COMPRESSION zstd",
        "ndjson": "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'",
        "csv": "FORMAT csv, HEADER true",
    }
    plain = form.removesuffix(".gz")
    return options[plain] + (", COMPRESSION gzip" if plain != form else "")


def _rows(contract: Contract, form: str, start: int, end: int) -> str:
    """A query for the rows of one object: the text of each column, or what another system would write."""
    entity = contract.name
    stream = form in STREAM_FORMS
    columns = {**_VALUES[entity], **(_STAMPS if stream else {})}
    faults = list(_FAULTS[entity])
    texts = []
    for name, value in columns.items():
        if name in faults:
            turn = f"i % {BAD_EVERY} = 7 AND (i // {BAD_EVERY}) % {len(faults)} = {faults.index(name)}"
            value = f"CASE WHEN {turn} THEN {_FAULTS[entity][name]} ELSE {value} END"
        texts.append(f"({value})::VARCHAR AS {quoted(name)}")
    rows = f"SELECT {', '.join(texts)} FROM range({start}, {end}) r(i)"
    if stream:
        assert set(columns) == {*contract.field_names, *CHANGE_COLUMNS}
        return rows
    if form == "parquet-typed":
        return f"SELECT {', '.join(_typed(contract, name) for name in columns)} FROM ({rows})"
    if form.startswith("ndjson"):
        members = " || ', ' || ".join(_member(contract, name) for name in columns)
        return f"SELECT '{{' || {members} || '}}' AS line FROM ({rows})"
    return rows


def _typed(contract: Contract, name: str) -> str:
    """The column as a typed Parquet file has it; what does not fit a type cannot be in one, except in text."""
    type_ = contract.field(name).type
    if isinstance(type_, DecimalType | IntegerType | BooleanType):
        return f"TRY_CAST({quoted(name)} AS {duckdb_type(type_)}) AS {quoted(name)}"
    return quoted(name)


def _member(contract: Contract, name: str) -> str:
    """The JSON member: numbers bare, nested values as they are, everything else as a string."""
    type_ = contract.field(name).type
    column = quoted(name)
    if isinstance(type_, DecimalType | IntegerType):
        bare = f"CASE WHEN regexp_full_match({column}, '-?[0-9]+(\\.[0-9]+)?') THEN {column} ELSE to_json({column}) END"
    elif isinstance(type_, BooleanType | ListType | MapType | StructType):
        bare = column
    else:
        bare = f"to_json({column})"
    return f"""'"{name}": ' || coalesce({bare}, 'null')"""
