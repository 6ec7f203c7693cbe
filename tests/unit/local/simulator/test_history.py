"""The simulated history: what it promises to reports, to the API and to whoever runs it twice."""

import csv
import io
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise

import pytest

from contracts import load_contracts
from contracts.validation import parse
from local.simulator import country_files, generate, live, start_of_day
from local.simulator.history import HISTORY
from local.simulator.people import population
from local.simulator.scenarios import TimeScale, condense, lot_scenario

CONTRACTS = load_contracts()
END = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def requests():
    return generate(seed=7, changes=4000, end=END)


def items_after(requests):
    """The items that exist after the requests, asserting that each request finds what it needs."""
    items = {}
    for request in requests:
        place = (request.entity, request.key)
        if request.method == "PUT":
            items[place] = dict(request.payload)
        else:
            assert place in items, f"{request} comes before its item exists"
            if request.method == "PATCH":
                items[place].update(request.payload)
            else:
                del items[place]
        for relation in CONTRACTS[request.entity].relations:
            target = (request.payload or {}).get(relation.field)
            if target is not None and CONTRACTS[relation.entity].origin == "stream":
                assert (relation.entity, (target,)) in items, f"{request}: {relation.field} {target} does not exist yet"
    return items


def of(items, entity):
    return [fields for (name, _), fields in items.items() if name == entity]


def problems(request):
    if request.payload is None:
        return ()
    return parse(CONTRACTS[request.entity], request.payload, partial=request.method == "PATCH").problems


def test_the_seed_decides_everything():
    assert generate(seed=3, changes=500, end=END) == generate(seed=3, changes=500, end=END)
    random.seed(99)  # the global generator has no say
    assert generate(seed=3, changes=500, end=END) == generate(seed=3, changes=500, end=END)
    ids = {r.key for r in generate(seed=3, changes=500, end=END)}
    assert ids.isdisjoint({r.key for r in generate(seed=4, changes=500, end=END)})
    assert ids.isdisjoint({r.key for r in generate(seed=3, changes=500, end=END + timedelta(days=1))})


@pytest.mark.parametrize("changes", [0, 1, 59, 60, 333, 4000])
def test_exactly_as_many_changes_as_requested(changes):
    assert len(generate(seed=5, changes=changes, end=END)) == changes


def test_an_end_without_time_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        generate(seed=1, changes=500, end=END.replace(tzinfo=None))


def test_every_payload_satisfies_its_contract(requests):
    assert [(str(r), problems(r)) for r in requests if problems(r)] == []


def test_a_patch_never_touches_an_immutable_field(requests):
    assert [str(r) for r in requests if r.method == "PATCH" and set(r.payload) & CONTRACTS[r.entity].immutable] == []


def test_changes_come_after_what_they_depend_on_and_in_order_of_time(requests):
    assert [r.at for r in requests] == sorted(r.at for r in requests)
    items_after(requests)


def test_all_streamed_entities_and_all_kinds_of_change_occur(requests):
    kinds = Counter((r.entity, r.method) for r in requests)
    assert {e for e, _ in kinds} == {n for n, c in CONTRACTS.items() if c.origin == "stream"}
    assert {e for e, m in kinds if m == "DELETE"} >= {"customers", "lots", "shipping_addresses"}
    assert {e for e, m in kinds if m == "PATCH"} >= {"orders", "lots", "bids", "payments", "shipments", "customers"}


def test_two_years_have_shape_for_reports(requests):
    items = items_after(requests)
    orders = of(items, "orders")
    months = Counter(o["placed_at"][:7] for o in orders)
    assert len(months) >= 23
    assert min(o["placed_at"] for o in orders) >= (END - HISTORY).isoformat()[:10]
    category = {lot["lot_id"]: lot["category"] for lot in of(items, "lots")}
    assert len({category[o["lot_id"]] for o in orders}) >= 7
    buyers, sellers = Counter(o["buyer_id"] for o in orders), Counter(o["seller_id"] for o in orders)
    assert sum(n > 1 for n in buyers.values()) > 20
    assert sellers.most_common(1)[0][1] > 3 * len(orders) / len(sellers)
    assert len({c["country_code"] for c in of(items, "customers")}) >= 10
    assert {o["status"] for o in orders} >= {"completed", "refunded", "cancelled", "shipped"}
    late = [s for s in of(items, "shipments") if s.get("delivered_at") and s["delivered_at"] > s["promised_at"]]
    assert 0.05 < len(late) / len(of(items, "shipments")) < 0.4
    assert {p["kind"] for p in of(items, "payments")} == {"capture", "refund"}


def test_some_sellers_cost_more_than_they_bring(requests):
    items = items_after(requests)
    revenue, cost = Counter(), Counter()
    for order in of(items, "orders"):
        revenue[order["seller_id"]] += Decimal(order["sellers_commission"])
    for lot in of(items, "lots"):
        cost[lot["seller_id"]] += Decimal(lot.get("handling_cost") or 0)
    assert any(revenue[s] < cost[s] for s in cost)
    assert any(revenue[s] > cost[s] for s in cost)


def test_the_buyer_is_the_highest_bidder_whose_bid_stands(requests):
    items = items_after(requests)
    standing = {}
    for bid in of(items, "bids"):
        if bid["status"] == "accepted":
            standing.setdefault(bid["lot_id"], []).append((Decimal(bid["amount"]), bid["bidder_id"]))
    orders = {o["order_id"]: o for o in of(items, "orders")}
    first = [line for line in of(items, "order_lines") if line["line_number"] == 1]
    assert len(first) == len(orders)
    for line in first:
        order = orders[line["order_id"]]
        assert line["lot_id"] == order["lot_id"]
        assert max(standing[order["lot_id"]]) == (Decimal(line["hammer_price"]), order["buyer_id"])


def test_the_lines_of_an_order_share_its_hammer_price(requests):
    items, shares = items_after(requests), Counter()
    for line in of(items, "order_lines"):
        shares[line["order_id"]] += Decimal(line["hammer_price"])
    assert shares == {o["order_id"]: Decimal(o["hammer_price"]) for o in of(items, "orders")}
    assert any(line["line_number"] == 2 for line in of(items, "order_lines")), "some orders are of several lots"


def test_invoices_add_up_and_payments_match_them(requests):
    items = items_after(requests)
    lines = Counter()
    for line in of(items, "invoice_lines"):
        lines[line["invoice_id"]] += Decimal(line["amount"])
    invoices = {i["invoice_id"]: Decimal(i["total_amount"]) for i in of(items, "invoices")}
    assert invoices
    assert invoices == {k: v for k, v in lines.items() if k in invoices}
    for payment in of(items, "payments"):
        if payment["invoice_id"] and payment["kind"] == "capture":
            assert Decimal(payment["amount"]) == invoices[payment["invoice_id"]]


def scenario(number=3):
    rng = random.Random("people")
    parties = population(
        rng, 30, "t", END - timedelta(days=90), END - timedelta(days=80), ("watches", "coins", "stamps")
    )
    return lot_scenario(random.Random(f"scenario {number}"), "t-1", parties, END - timedelta(days=70), 2.0, TimeScale())


def test_a_sale_is_reported_through_its_whole_life():
    for number in range(40):
        reported = scenario(number)
        statuses = [r.payload["status"] for r in reported if r.entity == "orders" and "status" in r.payload]
        if statuses and statuses[-1] == "completed":
            assert statuses == ["placed", "invoiced", "paid", "shipped", "delivered", "completed"]
            return
    pytest.fail("no scenario of forty ends with a completed order")


def test_bids_rise_by_increments_and_some_come_in_the_last_minute():
    snipes = 0
    for number in range(60):
        bids = [
            r.payload
            for r in scenario(number)
            if r.entity == "bids" and r.method == "PUT" and not r.key[0].endswith("x")
        ]
        amounts = [Decimal(b["amount"]) for b in bids]
        assert all(b > a for a, b in pairwise(amounts))
        assert all(a["bidder_id"] != b["bidder_id"] for a, b in pairwise(bids))
        lots = [r.payload for r in scenario(number) if r.entity == "lots" and r.method == "PUT"]
        closes = datetime.fromisoformat(lots[0]["ends_at"])
        snipes += sum(
            timedelta(0) < closes - datetime.fromisoformat(b["placed_at"]) <= timedelta(minutes=1) for b in bids
        )
    assert snipes > 20


def test_condensed_history_ends_in_the_same_orders_and_lots():
    reported = scenario()
    full, short = items_after_alone(reported), items_after_alone(condense(reported))
    for place in full:
        if place[0] in ("orders", "order_lines", "lots", "shipments"):
            assert short[place] == full[place]
    assert {r.method for r in condense(reported)} == {"PUT"}
    assert not any(b.get("closed_at") for b in of(short, "bids")), "it would leave the operational table at once"


def items_after_alone(requests):
    items = {}
    for r in sorted(requests, key=lambda r: r.at):
        if r.method == "DELETE":
            items.pop((r.entity, r.key), None)
        else:
            items.setdefault((r.entity, r.key), {}).update(r.payload)
    return items


def test_live_auctions_begin_now_and_are_gentle():
    start = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
    requests = list(islice(live(seed=2, start=start), 1500))
    assert requests == list(islice(live(seed=2, start=start), 1500))
    assert [str(r) for r in requests if problems(r)] == []
    assert [r.at for r in requests] == sorted(r.at for r in requests)
    items_after(requests)
    assert requests[0].at - start < timedelta(seconds=5)
    seconds = (requests[-1].at - start).total_seconds()
    assert 0.3 < len(requests) / seconds < 3, "about one change a second"
    assert any(r.entity == "orders" and r.payload.get("status") == "completed" for r in requests)
    lots = [r for r in requests if r.entity == "lots" and r.method == "PUT"]
    assert all(datetime.fromisoformat(r.payload["listed_at"]) >= start for r in lots)


def test_country_files_satisfy_the_contract_and_cover_all_customers(requests):
    files = country_files()
    assert all(f.key.startswith("dropbox/countries/") and f.key.endswith(".csv") for f in files)
    rows = [row for f in files for row in csv.DictReader(io.StringIO(f.body.decode()))]
    assert [p for row in rows for p in parse(CONTRACTS["countries"], row).problems] == []
    named = {r.payload["country_code"] for r in requests if (r.payload or {}).get("country_code")}
    assert named <= {row["country_code"] for row in rows}
    keys = Counter(row["country_code"] for row in rows)
    assert max(keys.values()) == 2, "a rate that changed must be there in both forms"


def test_history_ends_at_midnight_by_default():
    assert start_of_day(datetime(2026, 11, 21, 13, 5, 7, 12, tzinfo=UTC)) == END
