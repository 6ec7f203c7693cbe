"""How results are shown in the Dagster UI: schemas, previews, sizes, links. Pure functions on plain data.

Nothing here computes a result; and no personal field leaves here unmasked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg

from contracts.types import type_name

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract
    from lakehouse.storage.lake import Lake

MASK = "•••"
CELL_WIDTH = 40
_MARKUP = re.compile(r"[\\`\[\]<>|]")
PREVIEW_ROWS = 5


def table_schema(contract: Contract) -> dg.TableSchema:
    """The columns of an entity with types, comments and constraints, as its contract states them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=type_name(field.type),
                description=field.description,
                constraints=dg.TableColumnConstraints(
                    nullable=not field.required,
                    unique=contract.primary_key == (field.name,),
                    other=["primary key"] if field.name in contract.primary_key else [],
                ),
                tags={"classification": field.classification},
            )
            for field in contract.fields
        ]
    )


def markdown_table(columns: Sequence[str], rows: Sequence[Mapping[str, object]], masked: Collection[str] = ()) -> str:
    """A small table in Markdown. Values of `masked` columns are hidden, long ones are cut."""
    if not rows:
        return "_no rows_"
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [_cell(row.get(c), hidden=c in masked) for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def preview(table: pa.Table | None, contract: Contract) -> dg.MarkdownMetadataValue:
    """The first rows of a table, masked what names a person or is personal, and whatever holds undeclared attributes:
    no erasure reaches what Dagster keeps of its runs."""
    if table is None or table.num_rows == 0:
        return dg.MetadataValue.md("_no rows_")
    masked = {*about_persons(contract), "_extra"}
    rows = table.slice(0, PREVIEW_ROWS).to_pylist()
    return dg.MetadataValue.md(markdown_table(table.column_names, rows, masked))


def about_persons(contract: Contract) -> set[str]:
    """The fields of an entity that name persons, or say something personal."""
    return {*contract.personal, *(contract.erasure.persons if contract.erasure else ())}


def _cell(value: object, *, hidden: bool) -> str:
    if value is None:
        return ""
    if hidden:
        return MASK
    text = " ".join(str(value).splitlines())
    return _plain(text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 1] + "…")


def _plain(text: str) -> str:
    """The text as Markdown that shows it: what a row holds makes no link, column, or picture that a browser fetches."""
    return _MARKUP.sub(r"\\\g<0>", text)


def size(number_of_bytes: int) -> str:
    """A number of bytes as a person reads it: 1.5 MB."""
    value = float(number_of_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def bucket_link(lake: Lake, prefix: str) -> dg.UrlMetadataValue:
    """Where a person sees the objects below a prefix: the S3 console, or the emulator's own listing."""
    if lake.endpoint:
        address = f"{lake.endpoint}/{lake.bucket}?list-type=2&prefix={quote(prefix, safe='')}"
    else:
        address = (
            f"https://{lake.region}.console.aws.amazon.com/s3/buckets/{lake.bucket}"
            f"?region={lake.region}&prefix={quote(prefix, safe='')}"
        )
    return dg.MetadataValue.url(address)


def table_link(lake: Lake, table: str) -> dg.MetadataValue:
    """Where a person queries a published table: Athena's editor; for an emulator the name of its Glue entry."""
    if lake.endpoint or lake.local_root:
        return dg.MetadataValue.text(f"{lake.published_database}.{table}")
    return dg.MetadataValue.url(
        f"https://{lake.region}.console.aws.amazon.com/glue/home?region={lake.region}"
        f"#/v2/data-catalog/tables/view/{table}?database={lake.published_database}"
    )
