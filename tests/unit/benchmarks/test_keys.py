"""No key of the table becomes hot with its lot, shown on the simulator's busiest lot."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.keys.distribution import TABLE, Write, busiest_lot, spread, summary, times, writes
from contracts import Contracts, load_contracts
from local.simulator import generate
from local.traffic import Request

END = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def contracts() -> Contracts:
    return load_contracts()


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return generate(seed=7, changes=2_000, end=END)


def story_of(requests: list[Request], lot: str) -> list[Request]:
    return [r for r in requests if lot.removeprefix("l-") in str(r.key[0])]


def test_a_lot_with_a_thousand_times_the_bids_has_no_hotter_key(contracts: Contracts, requests: list[Request]) -> None:
    lot = busiest_lot(list(writes(requests, contracts)))
    story = story_of(requests, lot)
    once = summary(list(writes(story, contracts)))
    hot = list(writes(times(story, 1000), contracts))
    much = summary(hot)
    assert much[TABLE]["writes"] >= 1000 * sum(r.entity == "bids" for r in story)
    assert {w: s["hottest_writes"] for w, s in much.items()} == {w: s["hottest_writes"] for w, s in once.items()}
    assert spread((w.pk for w in hot if w.where == TABLE), 16) < 1.2


def test_no_index_holds_bids_and_those_of_parties_hold_orders_alone(
    contracts: Contracts, requests: list[Request]
) -> None:
    made = list(writes(requests, contracts))
    assert {w.entity for w in made if w.where in ("by_buyer", "by_seller")} == {"orders"}
    assert {w.where for w in made} == {TABLE, "by_buyer", "by_seller", "by_status", "by_name"}
    assert "bids" not in {w.entity for w in made if w.where != TABLE}


def test_a_key_that_all_share_is_seen(contracts: Contracts) -> None:
    made = [Write(TABLE, f"BID#{n}", "bids", "l-1") for n in range(30)] + [Write(TABLE, "LOT#1", "lots", "l-1")] * 70
    assert summary(made)[TABLE] == {
        "writes": 100, "keys": 31, "hottest": "LOT", "hottest_writes": 70, "hottest_share": 0.7,
    }  # fmt: skip
    assert spread((w.pk for w in made), 16) > 10


def test_what_belongs_to_a_write_is_written_too(contracts: Contracts) -> None:
    at = END
    parties = {"buyer_id": "c-1", "seller_id": "c-2", "lot_id": "l-1", "placed_at": "2026-11-20T10:00:00Z"}
    order = Request("PUT", "orders", ("o-1",), parties, at)
    estimate = Request("PUT", "estimates", ("e-1",), {"order_id": "o-1"}, at)
    shipment = Request("PUT", "shipments", ("s-1",), {"order_id": "o-1"}, at)
    made = [(w.where, w.pk, w.lot) for w in writes([order, estimate, shipment, shipment], contracts)]
    assert made == [
        (TABLE, "ORDER#o-1", "l-1"),
        ("by_buyer", "BUYER#c-1", "l-1"),
        ("by_seller", "SELLER#c-2", "l-1"),
        (TABLE, "ESTIMATE#e-1", "l-1"),
        (TABLE, "ORDER#o-1", "l-1"),
        (TABLE, "ORDER#o-1", "l-1"),
        (TABLE, "POINTER#shipments#s-1", "l-1"),
        (TABLE, "ORDER#o-1", "l-1"),
    ]
