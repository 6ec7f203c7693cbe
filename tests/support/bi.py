"""A small warehouse for the visuals of BI tools, and what the panels of the report say of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb

from reporting.bi.visuals import Visual
from reporting.definitions import load
from tests.support.panel_queries import queries

ROWS = {
    "rpt_sales_by_category_country_and_month": """
        select * from (values ('coins', 'DE', 'Germany', 'Europe', 2, 10.00, 9.00, 3.00),
          (' Coins', 'DE', 'Germany', 'Europe', 1, 5.00, 4.00, 1.00),
          ('stamps', 'FR', 'France', 'Europe', 4, 8.0, 8.00, 2.00),
          ('', 'US', 'Unknown', 'Unknown', 1, 1.0, 1.00, null)) as t
          (category, country_code, country_name, region, sales, sales_amount, net_sales, house_earnings)""",
    "rpt_sales_growth_by_quarter": """
        select * from (values (date '2026-01-01', true, 7.0, 2.0), (date '2026-01-01', true, 1.0, 0.0),
          (date '2026-04-01', false, 3.0, 8.0)) as t (sales_quarter, is_complete, net_sales, net_sales_year_before)""",
    "rpt_sell_through_by_category_and_grade": """
        select * from (values ('coins', 1, 4, 2, 10.0), ('Coins', 0, 1, 1, 10.0), ('stamps', 2, 0, 0, 0.0)) as t
          (category, lots_open, lots_offered, lots_sold, hammer_price)""",
    "rpt_bidding_by_category_and_month": """
        select * from (values ('coins', date '2026-01-01', 2, 8, 2, 1, 1), ('stamps', date '2026-01-01', 2, 0, 0, 0, 0),
          ('coins', date '2026-02-01', 1, 5, 5, 2, 1)) as t
          (category, closing_month, lots, bids, snipes, lots_with_reserve, lots_reserve_met)""",
    "fct_bids": "select true as is_accepted",
}


def fill(database: duckdb.DuckDBPyConnection, schema: str) -> None:
    """Make the tables of `ROWS` in a schema, all of one currency and true until one moment."""
    more = "'EUR' as currency, timestamp '2026-11-21 12:00:00' as data_time"
    for name, rows in ROWS.items():
        database.execute(f"create table {schema}.{name} as select *, {more} from ({rows})")


def said(database: duckdb.DuckDBPyConnection, visual: Visual) -> dict[str, list[float | None]]:
    """What the panel of a visual says: the numbers of each name or period, in the order of the visual's measures."""
    spec = load().panels[visual.key].spec
    rows = database.sql(dict(queries())[f"{visual.key}.1"]).df().to_dict("records")
    columns = [*spec.chart.bars.values(), *spec.chart.lines.values()]
    if spec.chart.kind == "table":
        columns = ["lots", "bids_per_lot", "sniping_share", "reserve_met_share"]
    name = spec.periods.column if spec.periods else spec.chart.name or "category"
    return {as_text(row[name]): numbers(row[column] for column in columns) for row in reversed(rows)}


def as_text(value: Any) -> str:
    return str(value)[:10]  # of a moment the day


def numbers(values: Iterable[Any]) -> list[float | None]:
    """Numbers of any type, to nine digits; what is not known is None."""
    return [None if value is None or value != value else round(float(value), 9) for value in values]
