"""The published tables of an auction house before and after 1% of it changed: folders of Parquet for the dbt project.

Everything follows from the number of orders: each has a lot, a line, a shipment, an invoice with three lines and one or
two payments; there are two bids on each lot, and twenty orders to a customer, who had three states. A hundredth of the
rows is changed or new, spread over all files; half of the customers and a tenth of the lots that changed did so before
their orders, so that facts must point elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from contracts import Contracts, load_contracts
from lakehouse.storage.sql import literal

WATERMARK = "2026-01-01T00:00:00"
_DAYS = 730
_FIRST_DAY = "timestamp '2023-12-01'"


@dataclass(frozen=True)
class Lake:
    """Two states of the same tables: folders `before` and `after`."""

    before: Path
    after: Path


def build(folder: Path, orders: int, memory_limit: str) -> Lake:
    """The tables with so many orders after the changes; taken from the folder if they are there already."""
    lake = Lake(folder / f"{orders}" / "before", folder / f"{orders}" / "after")
    contracts = load_contracts()
    for state, is_after in ((lake.before, False), (lake.after, True)):
        if (state / "watermarks.json").exists():
            continue
        state.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(config={"memory_limit": memory_limit, "preserve_insertion_order": "false"}) as connection:
            for name, query in _tables(contracts, orders, is_after):
                target = literal(str(state / f"{name}.parquet"))
                connection.execute(f"copy ({query}) to {target} (format parquet)")
        (state / "watermarks.json").write_text(json.dumps(dict.fromkeys(contracts, WATERMARK)), "utf-8")
    return lake


def _tables(contracts: Contracts, orders: int, is_after: bool) -> Iterator[tuple[str, str]]:
    """Name and query of every published table. Tables that no mart reads are empty; missing columns read as null."""
    filled = dict(_filled(orders, is_after))
    for entity in contracts:
        for name in (entity, f"{entity}_changes"):
            yield name, filled.get(name, "select 0::bigint as _batch where false")


def _filled(orders: int, is_after: bool) -> Iterator[tuple[str, str]]:
    customers = max(orders // 20, 10)
    order = "'o-' || lpad(i::varchar, 9, '0')"
    lot = "'l-' || lpad(i::varchar, 9, '0')"
    buyer = f"'c-' || lpad((hash(i) % {customers})::varchar, 9, '0')"
    seller = f"'c-' || lpad((hash(i + 1) % {max(customers // 10, 1)})::varchar, 9, '0')"
    placed_at = f"{_FIRST_DAY} + to_seconds((i * {_DAYS}.0 * 86400 / {orders})::bigint)"
    price = "(10 + hash(i + 2) % 100000 / 100)::decimal(14, 2)"
    premium = "(hash(i + 3) % 5000 / 100)::decimal(14, 2)"
    fees = (
        "[{'kind': 'packing', 'payer': 'buyer', 'amount': 3.50::decimal(14, 2)}, "
        "{'kind': 'photography', 'payer': 'seller', 'amount': 3::decimal(14, 2)}][:(hash(i + 4) % 3)::int]"
    )
    amount = f"({price} + {premium} + 3.5)::decimal(14, 2)"

    yield (
        "orders",
        _published(
            orders,
            is_after,
            f"""{order} as order_id, {buyer} as buyer_id, {seller} as seller_id, {lot} as lot_id,
            'a-' || substr({buyer}, 3) as address_id, 'EUR' as currency, {price} as hammer_price,
            {premium} as buyers_premium, ({price} * 0.1)::decimal(14, 2) as sellers_commission, {fees} as fees,
            case when version = 2 then 'completed' when hash(i + 5) % 50 = 0 then 'cancelled' else 'paid' end as status,
            {placed_at} as placed_at""",
        ),
    )
    yield (
        "order_lines",
        _published(
            orders,
            is_after,
            f"""{order} as order_id, 1::bigint as line_number, {lot} as lot_id, 'A lot' as description,
            1::bigint as quantity, {price} as hammer_price, {placed_at} as placed_at""",
        ),
    )
    payment = f"""'p-' || lpad(i::varchar, 9, '0') as payment_id,
        'o-' || lpad((i % {orders})::varchar, 9, '0') as order_id,
        'i-' || lpad((i % {orders})::varchar, 9, '0') as invoice_id,
        case when i < {orders} then 'capture' else 'refund' end as kind, 'card' as method, 'EUR' as currency,
        {amount} as amount, 0.35::decimal(14, 2) as processing_fee,
        case when version = 2 or hash(i + 6) % 4 > 0 then 'settled' else 'pending' end as status,
        {_FIRST_DAY} + to_seconds(((i % {orders}) * {_DAYS}.0 * 86400 / {orders})::bigint + 90000) as created_at"""
    shipment = f"""'s-' || lpad(i::varchar, 9, '0') as shipment_id, {order} as order_id,
        'a-' || substr({buyer}, 3) as address_id, 'Carrier ' || (hash(i + 7) % 3) as carrier, 'EUR' as currency,
        (hash(i + 8) % 3000 / 100)::decimal(14, 2) as cost,
        case when version = 2 then 'delivered' else 'shipped' end as status,
        {placed_at} + interval 2 day as created_at, {placed_at} + interval 6 day as promised_at,
        {placed_at} + interval 3 day as shipped_at,
        case when version = 2 then {placed_at} + interval 5 day end as delivered_at"""
    for name, rows, fields in (("payments", orders + orders // 20, payment), ("shipments", orders, shipment)):
        yield name, _published(rows, is_after, fields)
        yield f"{name}_changes", _changes(rows, is_after, fields)
    yield (
        "invoices",
        _published(
            orders,
            is_after,
            f"""'i-' || lpad(i::varchar, 9, '0') as invoice_id, {order} as order_id, {buyer} as party_id,
            'buyer' as role, 'EUR' as currency, {amount} as total_amount, 1.9::decimal(14, 2) as tax_amount,
            case when version = 2 then 'paid' else 'issued' end as status,
            {placed_at} + interval 1 hour as issued_at, {placed_at} + interval 8 day as due_at""",
        ),
    )
    yield (
        "invoice_lines",
        _published(
            3 * orders,
            is_after,
            f"""'i-' || lpad((i // 3)::varchar, 9, '0') as invoice_id, 1 + i % 3 as line_number,
            'o-' || lpad((i // 3)::varchar, 9, '0') as order_id,
            ['hammer_price', 'buyers_premium', 'tax'][(1 + i % 3)::int] as kind, {price} as amount,
            {_FIRST_DAY} + to_seconds((i // 3 * {_DAYS}.0 * 86400 / {orders})::bigint + 3600) as issued_at""",
        ),
    )
    lot_of_bid = "'l-' || lpad((i // 2)::varchar, 9, '0')"
    yield (
        "bids",
        _published(
            2 * orders,
            is_after,
            f"""'b-' || lpad(i::varchar, 9, '0') as bid_id, {lot_of_bid} as lot_id, {buyer} as bidder_id,
            'EUR' as currency, {price} as amount, 'manual' as kind,
            case when version = 2 then 'retracted' else 'accepted' end as status,
            {_FIRST_DAY} + to_seconds((i // 2 * {_DAYS}.0 * 86400 / {orders})::bigint - (hash(i) % 86400)::bigint)
            as placed_at""",
        ),
    )
    lot_states = f"""(values (1, 1, -10), (2, 1, 0), (3, 2, case when hash(i) % 10 = 0 then -2 else 4 end))
        as states (state, since, days), (select {placed_at} as sold_at)"""
    yield (
        "lots_changes",
        _states(
            orders,
            is_after,
            f"""{lot} as lot_id, {seller} as seller_id, 'A collectible of number ' || i as title,
            'Category ' || (hash(i + 9) % 12) as category, 'VF' as grade, 'EUR' as currency,
            10::decimal(14, 2) as starting_price, 20::decimal(14, 2) as reserve_price,
            30::decimal(14, 2) as valuation_low, 40::decimal(14, 2) as valuation_high,
            5::decimal(14, 2) as handling_cost,
            case state when 1 then 'open' else 'sold' end as status, sold_at - interval 10 day as listed_at,
            sold_at - interval 9 day as starts_at,
            sold_at + to_hours(case when state = 3 and hash(i) % 10 = 1 then 1 else 0 end) as ends_at""",
            lot_states,
            "sold_at",
        ),
    )
    customer_states = f"""
        (values (1, 1, -400), (2, 1, 100), (3, 1, 300), (4, 2, case when i % 2 = 0 then 200 else 900 end))
        as states (state, since, days), (select {_FIRST_DAY} as first_day)"""
    who = "'c-' || lpad(i::varchar, 9, '0')"
    country = "['DE', 'FR', 'IT', 'CH'][(1 + (i + state) % 4)::int]"
    yield (
        "customers_changes",
        _states(
            customers,
            is_after,
            f"""{who} as customer_id, 'private' as kind, {country} as country_code, 'active' as status,
            (i % 50 + state)::bigint as feedback_score, false as marketing_consent, first_day as registered_at""",
            customer_states,
            "first_day",
        ),
    )
    yield (
        "shipping_addresses_changes",
        _states(
            customers,
            is_after,
            f"""'a-' || lpad(i::varchar, 9, '0') as address_id, {who} as customer_id, 'A town' as city, 'R' as region,
            {country} as country_code, 'active' as status""",
            customer_states,
            "first_day",
        ),
    )
    yield (
        "countries_changes",
        _states(
            4,
            False,
            """['DE', 'FR', 'IT', 'CH'][1 + i::int] as country_code, 'Country ' || i as name,
            'Region ' || state as region, 'EUR' as currency, 0.19::decimal(6, 4) as vat_rate,
            first_day as updated_at""",
            customer_states,
            "first_day",
        ),
    )


_IS_CHANGED = "hash(i + 11) % 200 = 0"


def _stamps(batch: str, version: str, at: str) -> str:
    return f"""'event-' || ({version}) as _event_id, 'modify' as _op, ({version})::bigint as _version,
        lpad(({version})::varchar, 40, '0') as _seq, {at} as _changed_at, ({batch})::bigint as _batch"""


def _items(rows: int, is_after: bool) -> str:
    """Numbers of items, and the commit that last changed each: half a hundredth is new, half a hundredth is changed."""
    old = rows - rows // 200
    changed = f"case when i >= {old} or {_IS_CHANGED} then 2 else 1 end" if is_after else "1"
    return f"(select i, {changed} as commit, i >= {old} as is_new from range({rows if is_after else old}) as t (i))"


def _published(rows: int, is_after: bool, fields: str) -> str:
    """One row for each item; changed ones have version 2."""
    version = "case when commit = 2 and not is_new then 2 else 1 end as version"
    return f"""select * exclude (version, commit), {_stamps("commit", "version", _FIRST_DAY)},
        false as _deleted, false as _expired
        from (select {fields}, version, commit from (select *, {version} from {_items(rows, is_after)})) as rows"""


def _changes(rows: int, is_after: bool, fields: str) -> str:
    """The first version of each item, and the second of the changed ones."""
    return f"""select * exclude (version, commit), {_stamps("commit", "version", _FIRST_DAY)}
        from (select {fields}, version, commit from {_items(rows, is_after)}, (values (1), (2)) as versions (version)
        where version = 1 or (commit = 2 and not is_new)) as rows"""


def _states(rows: int, is_after: bool, fields: str, states: str, day: str) -> str:
    """The states of each item that began by the commit `since`, `days` after `day`."""
    return f"""select * exclude (state, moment, commit),
        {_stamps("commit", "(moment::date - date '2000-01-01') * 10 + state", "moment")}
        from (select {fields}, state, {day} + to_days(days) as moment, greatest(since, is_new::int + 1) as commit
        from {_items(rows, is_after)}, {states} where since = 1 or (since = 2 and commit = 2)) as rows"""
