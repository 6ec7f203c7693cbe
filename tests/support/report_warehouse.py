"""A small invented warehouse as the dbt project builds it, with rows for every panel of the report page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import yaml

from reporting.answers import Scope, section, themes
from reporting.definitions import load
from reporting.model import Panel, Section
from reporting.page import data_times
from reporting.source import open_warehouse

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
DATA_TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPORTED = "2026-03-01 12:00:00"

PROJECT = Path(__file__).parents[2] / "dbt_project" / "models"


def schema() -> Iterator[str]:
    """Empty tables as the contracts of the models have them, so that the page is tested against these."""
    yield "create schema staging"
    yield "create table staging.stg_watermarks (entity varchar, batch bigint, watermark timestamp)"
    yield "create schema marts"
    yield "create schema reports"
    for schema, model, columns in models():
        yield f"create table {schema}.{model} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"


@cache
def models() -> tuple[tuple[str, str, dict[str, str]], ...]:
    """The marts and reports: schema, name, and the types of the columns by name."""
    return tuple(
        (schema, model["name"], {column["name"]: column["data_type"] for column in model["columns"]})
        for schema in ("marts", "reports")
        for path in sorted((PROJECT / schema).rglob("*.yml"))
        for model in yaml.safe_load(path.read_text("utf-8")).get("models", ())
    )


def row(table: str, **values: Any) -> str:
    """The statement that adds a row; columns that are not named are null."""
    literals = ("null" if v is None else str(v) if isinstance(v, bool | int) else f"'{v}'" for v in values.values())
    return f"insert into {table} ({', '.join(values)}) values ({', '.join(literals)})"


def sale(order: str, when: str, currency: str, amount: int, earned: int, is_sale: bool = True) -> str:
    net = amount if is_sale else 0
    return row(
        "marts.fct_orders", order_id=order, buyer_id="ann", seller_id="bob", placed_at=when, currency=currency,
        is_sale=is_sale, hammer_price=amount, net_sales=net, house_earnings=earned, refunded_amount=0,
    )  # fmt: skip


def bid(key: str, when: str, currency: str, bidder: str = "ann", is_accepted: bool = True) -> str:
    return row(
        "marts.fct_bids", bid_id=key, lot_id="lot-1", bidder_id=bidder, placed_at=when, currency=currency,
        is_accepted=is_accepted,
    )  # fmt: skip


def category(month: str, name: str, currency: str, amount: int, country: str = "Unknown") -> str:
    return row(
        "reports.rpt_sales_by_category_country_and_month", sales_month=month, category=name, currency=currency, sales=1,
        country_name=country, region=country, sales_amount=amount, net_sales=amount, net_sales_so_far=amount,
        house_earnings=amount // 10, data_time=REPORTED,
    )  # fmt: skip


def party(name: str, currency: str, country: str | None, amount: int, profit: int, rank: int = 1) -> str:
    amounts = ("buyers_premium", "sellers_commission", "fees", "refunds", "payment_fees", "shipping_cost")
    return row(
        "reports.rpt_profit_by_party", party_id=name, currency=currency, country_code=country, bought_orders=2,
        bought_amount=amount, sold_orders=0, sold_amount=0, profit_as_buyer=profit, profit_as_seller=0,
        handling_cost=0, profit=profit, rank_as_buyer=rank, rank_as_seller=rank, rank_by_profit=rank,
        data_time=REPORTED, **dict.fromkeys(amounts, 0),
    )  # fmt: skip


def quarter(beginning: str, net_sales: int, year_before: int, is_complete: bool, name: str = "Coins") -> str:
    return row(
        "reports.rpt_sales_growth_by_quarter", category=name, country_name="Unknown", currency="EUR",
        sales_quarter=beginning, is_complete=is_complete, net_sales=net_sales, net_sales_year_before=year_before,
        data_time=REPORTED,
    )  # fmt: skip


def group(month: str, name: str, parties: int, net_sales: int, window: int = 12) -> str:
    return row(
        "reports.rpt_party_group_trends", report_month=month, role="buyer", party_group=name, currency="EUR",
        window_months=window, parties=parties, sales=1, net_sales=net_sales, house_earnings=0, data_time=REPORTED,
    )  # fmt: skip


def lot_group(name: str, grade: str, offered: int, sold: int, below: int, above: int, price: int) -> str:
    return row(
        "reports.rpt_sell_through_by_category_and_grade", category=name, grade=grade, currency="EUR", lots_open=0,
        lots_offered=offered, lots_sold=sold, lots_compared=sold, lots_below_valuation=below,
        lots_above_valuation=above, hammer_price=price, compared_hammer_price=price, compared_valuation_low=80,
        compared_valuation_high=120, data_time=REPORTED,
    )  # fmt: skip


def bidding(month: str, name: str, lots: int, bids: int, snipes: int, reserves: int, met: int) -> str:
    return row(
        "reports.rpt_bidding_by_category_and_month", closing_month=month, category=name, currency="EUR", lots=lots,
        bids=bids, snipes=snipes, lots_with_reserve=reserves, lots_reserve_met=met, data_time=REPORTED,
    )  # fmt: skip


def cash(month: str, median: float, late: float | None) -> str:
    return row(
        "reports.rpt_order_to_cash_by_month", sales_month=month, currency="EUR", sales=10, sales_paid=9, sales_open=1,
        sales_paid_undated=0,
        late_share=late, median_days=str(median), percentile_90_days="9.5", data_time=REPORTED,
    )  # fmt: skip


def owed(role: str, number: int, amount: int) -> str:
    bands = ("not due", "1-30 days", "31-60 days", "61-90 days", "over 90 days")
    return row(
        "reports.rpt_receivables_by_age", role=role, currency="EUR", age_band=bands[number - 1], band_number=number,
        invoices=1, open_amount=amount, data_time=REPORTED,
    )  # fmt: skip


def delivered(month: str, carrier: str, shipments: int, late: int, median: float) -> str:
    return row(
        "reports.rpt_order_to_delivery_by_month_and_carrier", order_month=month, carrier=carrier, shipments=shipments,
        delivered=shipments, delivered_with_promise=shipments, delivered_late=late, overdue=1, returned=0, lost=0,
        median_days=str(median), percentile_90_days="9.9", data_time=REPORTED,
    )  # fmt: skip


def freshness(entity: str, lag: int, is_late: bool, when: str | None = "2026-03-01 12:00:00") -> str:
    return row(
        "reports.rpt_data_freshness", entity=entity, owner="trading", watermark=when, newest_change=when,
        lag_minutes=lag if when else None, promised_minutes=15, is_late=is_late, data_time=REPORTED,
    )  # fmt: skip


def run(entity: str, ended_at: str, rows: int, quarantined: int) -> str:
    return row(
        "reports.rpt_pipeline_runs", publication_id=entity + ended_at, entity=entity, ended_at=ended_at, seconds=2,
        rows_read=rows, applied=rows - quarantined, quarantined=quarantined, cost_usd="0.125", data_time=REPORTED,
    )  # fmt: skip


def cost(day: str, changes: int, usd: str) -> str:
    return row(
        "reports.rpt_cost_by_day", day=day, publications=3, changes=changes, cost_usd=usd,
        usd_per_million=float(usd) * 1_000_000 / changes if changes else None, usd_per_million_of_7_days=2.5,
        data_time=REPORTED,
    )  # fmt: skip


def budget(kind: str, name: str, late: int) -> str:
    return row(
        "reports.rpt_freshness_budget", kind=kind, name=name, owner="trading", target_minutes=15,
        watermark="2026-03-01 12:00:00", observed_minutes=1000, late_minutes=late, share_in_time=1 - late / 1000,
        objective="0.99", budget_burned=late / 10, data_time=REPORTED,
    )  # fmt: skip


def watermark(entity: str, when: str) -> str:
    return row("staging.stg_watermarks", entity=entity, batch=3, watermark=when)


def warehouse(folder: Path, statements: Iterable[str] = ()) -> Path:
    path = folder / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in (*schema(), *statements):
            connection.execute(statement)
    return path


def true_until(until: datetime, reports: Iterable[str] = load().reports) -> Iterator[str]:
    """The statements that move reports to a data time."""
    return (f"update reports.{name} set data_time = '{until}'" for name in reports)


def answered(path: Path, until: datetime, currency: str = "EUR") -> tuple[dict[str, Panel], Section]:
    """The panels about a currency and about all of them by their titles, and all about the currency. A report that does
    not say what it is true for is true until then."""
    page = load()
    with open_warehouse(path) as source:
        scope = Scope(source, until, data_times(page, source), currency)
        found = section(page, scope)
        general = themes(page, Scope(source, until, scope.times))
    return {panel.title: panel for theme in (*found.themes, *general) for panel in theme.panels}, found


TWO_CURRENCIES = (
    watermark("orders", "2026-03-01 12:30:00"),
    sale("o-1", "2026-02-01 10:00:00", "EUR", 1000, 250),
    sale("o-2", "2026-02-11 10:00:00", "EUR", 500, -20),
    sale("o-3", "2026-02-11 10:00:00", "USD", 70000, 9000),
    sale("o-4", "2026-02-12 00:00:00", "EUR", 9999, 0, is_sale=False),
    bid("b-1", "2026-02-01 09:00:00", "EUR"),
    bid("b-2", "2026-02-01 09:30:00", "USD"),
    bid("b-3", "2026-02-01 00:00:00", "EUR", bidder="bob", is_accepted=False),
    category("2026-02-01", "Coins", "EUR", 1500),
    category("2026-02-01", "Coins", "USD", 70000),
    party("ann", "EUR", "DE", 1500, 230),
    party("ann", "USD", "DE", 70000, 9000),
)

OF_ALL = (
    *TWO_CURRENCIES,
    category("2026-01-01", "watches", "EUR", 500, country="France"),
    party("eve", "EUR", "FR", 20, -7, rank=2),
    quarter("2025-10-01", 1200, 1000, True),
    quarter("2025-10-01", 300, 400, True, "watches"),
    quarter("2026-01-01", 500, 1000, False),
    group("2026-01-01", "new", 4, 300),
    group("2026-02-01", "new", 3, 250),
    group("2026-02-01", "large", 2, 750),
    group("2026-02-01", "lapsed", 9, 0),
    group("2026-03-01", "new", 99, 1),
    lot_group("coins", "MS-65", 10, 9, 1, 6, 130),
    lot_group("watches", "mint", 10, 5, 2, 1, 80),
    bidding("2026-01-01", "coins", 10, 40, 8, 5, 4),
    bidding("2026-02-01", "coins", 10, 30, 15, 4, 1),
    bidding("2026-02-01", "watches", 10, 20, 10, 0, 0),
    cash("2026-01-01", 4.0, None),
    cash("2026-02-01", 3.0, 0.25),
    owed("buyer", 1, 300),
    owed("buyer", 5, 100),
    delivered("2026-01-01", "Northmail", 10, 1, 4.0),
    delivered("2026-02-01", "Northmail", 10, 3, 5.0),
    delivered("2026-02-01", "Parcelway", 5, 1, 9.0),
    freshness("orders", 1, False),
    freshness("bids", 20, True),
    freshness("estimates", 0, True, when=None),
    run("bids", "2026-02-28 10:00:00", 100, 3),
    run("orders", "2026-02-28 12:00:00", 50, 0),
    cost("2026-02-28", 100, "0.0005"),
    cost("2026-03-01", 0, "0.0001"),
    budget("table", "orders", 5),
    budget("model", "fct_bids", 20),
    row("reports.rpt_freshness_budget", kind="model", name="dim_lot", target_minutes=15, observed_minutes=0),
)
