"""The report page: one self-contained HTML file that the house's management reads first.

Here belongs the page as a whole: reading the warehouse, data time, currencies, writing the file. What it says about a
currency belongs to `report_panels`, how it looks to `report_page.html`. Amounts of different currencies are never
added up: each currency has a section of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assets.report_panels import Read, Section, section

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = Path(__file__).with_name("report_page.html")
TABLES = ("marts.fct_orders", "marts.fct_bids", "reports.top_parties", "reports.sales_by_category_and_month")


class WarehouseNotBuilt(RuntimeError):
    """The warehouse file is missing or has no marts yet."""


@dataclass(frozen=True)
class ReportPage:
    """A rendered page.

    `data_time` (UTC) is None while nothing was published. `figures` are the headline numbers as text, by label, for
    the currency with most sales, which is the first of `currencies`.
    """

    path: Path
    data_time: datetime | None
    rendered_at: datetime
    currencies: tuple[str, ...]
    sales: int
    bids: int
    figures: Mapping[str, str]
    bytes: int


def render(warehouse_path: Path, output_path: Path, now: datetime | None = None) -> ReportPage:
    """Render the page from the marts of a warehouse file, which is opened for reading only.

    The page replaces `output_path` as a whole, so that nobody reads half of it. Raises `WarehouseNotBuilt`.
    """
    rendered_at = now or datetime.now(UTC)
    with _reader(warehouse_path) as read:
        data_time = _data_time(read)
        currencies = read(CURRENCIES)
        sections = tuple(section(read, str(currency)) for currency in currencies["currency"])
    html = _html(sections, data_time, rendered_at)
    _replace(output_path, html)
    return ReportPage(
        path=output_path,
        data_time=data_time,
        rendered_at=rendered_at,
        currencies=tuple(s.currency for s in sections),
        sales=int(currencies["sales"].sum()),
        bids=int(currencies["bids"].sum()),
        figures={f.label: f.value for f in sections[0].figures} if sections else {},
        bytes=len(html.encode()),
    )


# The reports say what they are true for; without a row to say it in, it is how far the published tables are.
DATA_TIME = """
select coalesce(min(data_time), (select min(watermark) from staging.stg_watermarks)) as data_time
from (
    select data_time from reports.sales_by_category_and_month
    union all
    select data_time from reports.top_parties
) as reports
"""

CURRENCIES = """
select
    coalesce(orders.currency, bids.currency) as currency,
    coalesce(orders.sales, 0) as sales,
    coalesce(bids.bids, 0) as bids
from (
    select currency, count(*) filter (where is_sale) as sales
    from marts.fct_orders
    group by currency
) as orders
full join (
    select currency, count(*) as bids
    from marts.fct_bids
    where is_accepted
    group by currency
) as bids on orders.currency = bids.currency
order by sales desc, bids desc, currency
"""


@contextmanager
def _reader(path: Path) -> Iterator[Read]:
    """A function that runs queries on the warehouse; the file is open, for reading only, as long as the context."""
    import duckdb

    if not path.exists():
        raise WarehouseNotBuilt(f"expected the warehouse at {path}, found no file: build the marts first")
    with duckdb.connect() as connection:
        # Under the name that the views in the file know themselves by, whatever the file is called.
        connection.execute("attach '{}' as warehouse (read_only)".format(str(path).replace("'", "''")))
        connection.execute("use warehouse")

        def read(query: str) -> pd.DataFrame:
            return connection.execute(query).df()

        found = read("select table_schema || '.' || table_name as name from information_schema.tables")["name"]
        missing = sorted(set(TABLES) - set(found))
        if missing:
            raise WarehouseNotBuilt(f"{path}: expected the marts, found no {', '.join(missing)}: build the marts first")
        yield read


def _data_time(read: Read) -> datetime | None:
    rows = read(DATA_TIME).dropna()
    return rows["data_time"].iloc[0].to_pydatetime().replace(tzinfo=UTC) if len(rows) else None


def _html(sections: Sequence[Section], data_time: datetime | None, rendered_at: datetime) -> str:
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    plots = {panel.key: json.loads(panel.plot) for s in sections for panel in s.panels if panel.plot}
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        sections=sections,
        data_time=_moment(data_time) if data_time else None,
        data_time_iso=data_time.isoformat() if data_time else "",
        rendered_at=_moment(rendered_at),
        # No text from the data may end the script element that it stands in.
        plots=json.dumps(plots).replace("<", "\\u003c"),
        plotly=get_plotlyjs() if plots else "",
    )


def _moment(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
