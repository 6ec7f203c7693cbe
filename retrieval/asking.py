"""A question put to the lake: its queries over one published state of each entity, in bounded memory."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from contracts import Contract, Contracts
from contracts.system_columns import HISTORY
from contracts.types import is_personal
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import quoted
from lakehouse.table import schemas
from lakehouse.table.scan import live_rows, no_rows
from lakehouse.table.tables import TableState, published_entry
from retrieval import log, templates
from retrieval.model import Answer, RetrievalError, Shown
from retrieval.parameters import Given, given
from retrieval.templates import Query

MOST_ROWS = 10_000
"""Of a section; what is beyond is left out, and the answer says so."""
_FREE_TEXT = frozenset({"_extra"})
"""System columns that may say something of a person."""


def ask(
    lake: Lake, contracts: Contracts, name: str, texts: Mapping[str, str], *, who: str, personal: bool = False
) -> Answer:
    """The answer to the question `name` with its parameters as texts; that `who` put it is kept before it is answered.

    Without `personal`, values of personal fields are hidden. Raises `RetrievalError` for what cannot be put so, and
    errors of S3, Glue and the engine.
    """
    template = templates.load(name)
    values = given(template, contracts, texts)
    wanted = list(templates.queries(name, template, contracts, values.entity))
    put_at = datetime.now(UTC)
    entry = log.Entry(uuid.uuid4().hex, put_at, who, name, log.said(lake, values), personal)
    log.keep(lake, entry)
    entities = sorted({contract.name for q in wanted for contract in contracts.values() if _reads(q, contract)})
    with connect(lake) as duck:
        watermarks = {entity: _prepare(duck, lake, contracts[entity]) for entity in entities}
        sections = tuple(_shown(duck, query, values, personal) for query in wanted)
    log.keep(lake, entry.answered({s.heading: len(s.rows) for s in sections}))
    question = template.text.format_map(texts)
    return Answer(name, template.title, question, put_at, personal, sections, watermarks)


def _reads(query: Query, contract: Contract) -> bool:
    return not query.tables.isdisjoint({schemas.compacted(contract).name, schemas.changes(contract).name})


def _prepare(duck: Duck, lake: Lake, contract: Contract) -> datetime | None:
    """Make the views of an entity's published state; answers its watermark, None where nothing was published."""
    entry = published_entry(lake, contract)
    state = None if entry is None else TableState(lake, entry.metadata_location)
    for shape, files in (
        (schemas.compacted(contract), state.files if state else []),
        (schemas.changes(contract), state.changes_files if state else []),
    ):
        rows = live_rows(shape, files) if files else no_rows(shape)
        duck.run(f"CREATE TEMP VIEW {quoted(shape.name)} AS {rows}")
    return state.watermark if state else None


class Hidden:
    """The value of a personal field that who put the question did not ask to see."""

    def __str__(self) -> str:
        return "•••"


HIDDEN = Hidden()


def _shown(duck: Duck, query: Query, values: Given, personal: bool) -> Shown:
    bound = {name: values.values[name] for name in query.parameters}
    table = duck.arrow(f"SELECT * FROM ({query.sql}) AS answer LIMIT {MOST_ROWS + 1}", bound)
    fields = {field.name: field for field in (*query.about.fields, *HISTORY)}
    if others := sorted(set(table.column_names) - fields.keys()):
        raise RetrievalError(
            f"{query.section.sql}: expected columns of {query.about.name} and of its history alone, since the contract "
            f"says which are personal, found {', '.join(others)}"
        )
    columns = tuple(fields[name] for name in table.column_names)
    hidden = set() if personal else {c.name for c in columns if is_personal(c) or c.name in _FREE_TEXT}
    rows = [{n: HIDDEN if n in hidden and v is not None else v for n, v in row.items()} for row in table.to_pylist()]
    return Shown(
        query.heading,
        query.section.layout,
        columns,
        query.about.primary_key,
        rows[:MOST_ROWS],
        len(rows) > MOST_ROWS,
    )
