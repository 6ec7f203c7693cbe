"""The report page as a file: reading the warehouse, data times, currencies, writing it.

What the page says about a currency belongs to `sections`, how it looks to `page.html`.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from reporting import words
from reporting.parts import Read, Scope, Section, Theme, data_time
from reporting.sections import general, section

TEMPLATE = Path(__file__).with_name("page.html")
REPORTS = (
    "rpt_bidding_by_category_and_month",
    "rpt_data_freshness",
    "rpt_order_to_cash_by_month",
    "rpt_order_to_delivery_by_month_and_carrier",
    "rpt_party_group_trends",
    "rpt_pipeline_runs",
    "rpt_profit_by_party",
    "rpt_receivables_by_age",
    "rpt_sales_by_category_country_and_month",
    "rpt_sales_growth_by_quarter",
    "rpt_sell_through_by_category_and_grade",
)
MARTS = ("marts.fct_orders", "marts.fct_bids")
TABLES = (*MARTS, *(f"reports.{name}" for name in REPORTS))


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


def render(
    warehouse_path: Path, output_path: Path, now: datetime | None = None, kept: Collection[str] = ()
) -> ReportPage:
    """Render the page from the marts of a warehouse file, which is opened for reading only.

    The page replaces `output_path` as a whole, so that nobody reads half of it. It names the models that were `kept` as
    they were because their build failed, and the reports that were never built, whose themes are left out. Raises
    `WarehouseNotBuilt` where the marts themselves are missing.
    """
    rendered_at = now or datetime.now(UTC)
    with _reader(warehouse_path) as (read, absent):
        times = _data_times(read, absent)
        whole = min(times.values(), default=None) or _watermark(read)
        until = whole or rendered_at.astimezone(UTC).replace(tzinfo=None)
        currencies = _currencies(read, absent)
        scope = Scope(read, until, absent=absent, kept=frozenset(kept))
        sections = tuple(section(replace(scope, currency=row["currency"])) for row in currencies)
        themes = general(scope)
    html = _html(sections, themes, times, whole, rendered_at, _as_they_were(kept, times, absent))
    _replace(output_path, html)
    return ReportPage(
        path=output_path,
        data_time=whole.replace(tzinfo=UTC) if whole else None,
        rendered_at=rendered_at,
        currencies=tuple(s.currency for s in sections),
        sales=sum(row["sales"] for row in currencies),
        bids=sum(row["bids"] for row in currencies),
        figures={f.label: f.value for f in sections[0].figures} if sections else {},
        bytes=len(html.encode()),
    )


def _as_they_were(kept: Collection[str], times: Mapping[str, datetime], absent: Collection[str]) -> list[str]:
    """What could not be built anew, each with what it is true for."""
    old = sorted(set(kept) - set(absent))
    told = [f"{name} (until {words.moment(times[name])})" if name in times else name for name in old]
    return [*told, *(f"{name} (not built yet)" for name in sorted(absent))]


KNOWN = ("rpt_bidding_by_category_and_month", "rpt_receivables_by_age", "rpt_sell_through_by_category_and_grade")
"""Reports that may know a currency in which nothing was ordered and no bid was placed."""

CURRENCIES = """
select
    currency,
    cast(sum(sales) as bigint) as sales,
    cast(sum(bids) as bigint) as bids
from (
    select currency, case when is_sale then 1 else 0 end as sales, 0 as bids
    from marts.fct_orders
    union all
    select currency, 0 as sales, 1 as bids
    from marts.fct_bids
    where is_accepted
{reports}
) as known
group by currency
order by sales desc, bids desc, currency
"""


def _currencies(read: Read, absent: Collection[str]) -> list[dict[str, Any]]:
    """Each currency that the page has something about, with its sales and bids, that with most sales first."""
    reports = "\n".join(
        f"    union all\n    select distinct currency, 0 as sales, 0 as bids\n    from reports.{name}"
        for name in KNOWN
        if name not in absent
    )
    return read(CURRENCIES.format(reports=reports))


@contextmanager
def _reader(path: Path) -> Iterator[tuple[Read, frozenset[str]]]:
    """A function that runs queries on the warehouse, and the reports that it does not have; the file is open, for
    reading only, as long as the context."""
    import duckdb

    if not path.exists():
        raise WarehouseNotBuilt(f"expected the warehouse at {path}, found no file: build the marts first")
    with duckdb.connect() as connection:
        # Under the name that the views in the file know themselves by, whatever the file is called.
        connection.execute("attach '{}' as warehouse (read_only)".format(str(path).replace("'", "''")))
        connection.execute("use warehouse")

        def read(query: str) -> list[dict[str, object]]:
            result = connection.execute(query)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        found = read("select table_schema || '.' || table_name as name from information_schema.tables")
        present = {str(row["name"]) for row in found}
        absent = frozenset(name for name in REPORTS if f"reports.{name}" not in present)
        missing = sorted(set(TABLES) - present)
        if len(absent) == len(REPORTS) or set(MARTS) - present:
            raise WarehouseNotBuilt(f"{path}: expected the marts, found no {', '.join(missing)}: build the marts first")
        yield read, absent


def _data_times(read: Read, absent: Collection[str]) -> dict[str, datetime]:
    """What each report is true for, where that is known."""
    times = ((name, data_time(read, name)) for name in REPORTS if name not in absent)
    return {name: time for name, time in times if time is not None}


def _watermark(read: Read) -> datetime | None:
    """How far the published tables are, which holds while all reports are empty."""
    (row,) = read("select min(watermark) as watermark from staging.stg_watermarks")
    watermark: datetime | None = row["watermark"]
    return watermark


def _html(
    sections: Sequence[Section],
    general: Sequence[Theme],
    times: Mapping[str, datetime],
    whole: datetime | None,
    rendered_at: datetime,
    as_they_were: Sequence[str],
) -> str:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["moment"] = words.moment
    themes = [*(theme for section in sections for theme in section.themes), *general]
    plots = {panel.key: json.loads(panel.plot) for theme in themes for panel in theme.panels if panel.plot}
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        sections=sections,
        general=general,
        times=times,
        data_time=whole,
        rendered_at=rendered_at,
        as_they_were=as_they_were,
        # No text from the data may end the script element that it stands in.
        plots=json.dumps(plots).replace("<", "\\u003c"),
        library=_library() if plots else "",
    )


@cache
def _library() -> str:
    """The plotting library, packed to two fifths of its size; the browser unpacks it."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
