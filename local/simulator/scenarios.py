"""Scenarios: the changes of one lot from its listing to the end of its sale, and small ones such as a wrong entry.

Every scenario is a list of `Request` values decided by its random generator. `condense` turns a finished one into the
form in which history comes from an older system: one final version per item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

from local.simulator.auction import Bid, bidding, winning
from local.simulator.catalogue import Category, choose_category, round_to_step, title_of, value_of
from local.simulator.countries import BY_CODE
from local.simulator.people import Party, introduce, stamp
from local.traffic import Key, Request

_TAX_RATE = Decimal("0.1900")
_CARRIERS = (("Northmail", 0.10), ("Parcelway", 0.16), ("Swift & Sons", 0.28))
"""Carriers and their share of late deliveries."""
_NOT_TAKEN_OVER = frozenset({"invoices", "invoice_lines"})


@dataclass(frozen=True, slots=True)
class TimeScale:
    """How long a day of the scenario lasts: a day for history, seconds when somebody watches."""

    day: timedelta = timedelta(days=1)

    def days(self, number: float) -> timedelta:
        return self.day * number


@dataclass
class Scenario:
    """Collects the changes of one scenario; knows no rule of the trade."""

    name: str
    scale: TimeScale
    rng: Random
    requests: list[Request] = field(default_factory=list)

    def put(self, entity: str, key: Key, at: datetime, **fields: Any) -> None:
        self.requests.append(Request("PUT", entity, key, _plain(fields), at))

    def patch(self, entity: str, key: Key, at: datetime, **fields: Any) -> None:
        self.requests.append(Request("PATCH", entity, key, _plain(fields), at))

    def delete(self, entity: str, key: Key, at: datetime) -> None:
        self.requests.append(Request("DELETE", entity, key, None, at))

    def after(self, at: datetime, low: float, high: float) -> datetime:
        """A moment between `low` and `high` days of the scenario after `at`."""
        moment = at + self.scale.days(self.rng.uniform(low, high))
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def cents(value: float | Decimal) -> Decimal:
    """An amount of money: two digits, halves up."""
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def lot_scenario(
    rng: Random, name: str, parties: Sequence[Party], listed_at: datetime, years: float, scale: TimeScale
) -> list[Request]:
    """One lot: catalogued, bid on, and sold, unsold or withdrawn. `parties` are those registered by then."""
    scenario = Scenario(name, scale, rng)
    sellers = [p for p in parties if p.sells > 0]
    seller = rng.choices(sellers, [p.sells for p in sellers])[0]
    category = choose_category(rng, years)
    value = value_of(rng, category, years) * (0.35 if seller.careless else 1.0)
    low = round_to_step(value * rng.uniform(0.7, 0.95))
    high = max(low + 5, round_to_step(low * rng.uniform(1.25, 1.6)))
    starting = max(1, round(low * rng.uniform(0.35, 0.6)))
    reserve = round_to_step(low * rng.uniform(0.7, 0.98)) if rng.random() < 0.55 else None
    handling = cents(category.handling * rng.uniform(0.7, 1.5) * (3.5 if seller.careless else 1) + value * 0.006)
    starts_at = scenario.after(listed_at, 0.5, 2)
    ends_at = starts_at + scale.days(rng.choice((3, 5, 7, 7, 10)))
    lot: Key = (f"l-{name}",)
    title = title_of(rng, category)
    slip = rng.random() < 0.10
    scenario.put(
        "lots", lot, listed_at,
        lot_id=lot[0], seller_id=seller.customer_id, title=title.swapcase() if slip else title,
        category=category.name,
        grade=rng.choice(category.grades), currency="EUR", starting_price=cents(starting),
        reserve_price=None if reserve is None else cents(reserve), valuation_low=cents(low),
        valuation_high=cents(high),
        handling_cost=handling, status="draft", attributes={"provenance": rng.choice(("private collection",
        "estate", "dealer"))},
        listed_at=listed_at, starts_at=starts_at, ends_at=ends_at,
    )  # fmt: skip
    if slip:
        scenario.patch("lots", lot, scenario.after(listed_at, 0.05, 0.2), title=title)
    if rng.random() < (0.7 if seller.careless else 0.12):
        _virtual_request(scenario, lot, seller, listed_at)
    scenario.patch("lots", lot, starts_at, status="open")
    if rng.random() < 0.02:
        scenario.patch("lots", lot, scenario.after(starts_at, 0.5, 2), status="withdrawn")
        return scenario.requests
    others = [p for p in parties if p is not seller]
    weights = [p.buys * (3.0 if category.name in p.tastes else 1.0) for p in others]
    bidders = list(dict.fromkeys(rng.choices(others, weights, k=rng.choice((2, 3, 4, 4, 5, 6))))) if others else []
    bids = bidding(rng, value, starting, bidders, starts_at, ends_at)
    _bids(scenario, lot, bids, ends_at)
    top = winning(bids)
    closing = ends_at + scale.days(0.0003)
    if top is None or (reserve is not None and top.amount < reserve):
        scenario.patch("lots", lot, closing, status="unsold")
        return scenario.requests
    scenario.patch("lots", lot, closing, status="sold")
    lines = [(lot, title, cents(top.amount))]
    if rng.random() < 0.07:
        lines.append(_companion(scenario, _Listing(seller, category, low, listed_at, starts_at), closing))
    _sale(scenario, lines, seller, top.bidder, category.weight, closing)
    return scenario.requests


@dataclass(frozen=True, slots=True)
class _Listing:
    """What two lots of one seller share."""

    seller: Party
    category: Category
    low: int
    listed_at: datetime
    starts_at: datetime


def _companion(scenario: Scenario, listing: _Listing, closing: datetime) -> tuple[Key, str, Decimal]:
    """A second lot of the seller that finds no bid and goes to the first one's buyer, in the same order."""
    lot: Key = (f"l-{scenario.name}-2",)
    category, listed_at, starts_at = listing.category, listing.listed_at, listing.starts_at
    title, price = title_of(scenario.rng, category), cents(round_to_step(listing.low * 0.4))
    scenario.put(
        "lots", lot, listed_at, lot_id=lot[0], seller_id=listing.seller.customer_id, title=title,
        category=category.name, grade=category.grades[-1], currency="EUR", starting_price=price,
        handling_cost=cents(category.handling),
        status="draft", listed_at=listed_at, starts_at=starts_at,
    )  # fmt: skip
    scenario.patch("lots", lot, starts_at, status="open")
    scenario.patch("lots", lot, closing, status="sold")
    return lot, title, price


def _virtual_request(scenario: Scenario, lot: Key, seller: Party, listed_at: datetime) -> None:
    key: Key = (f"v-{scenario.name}",)
    requested = scenario.after(listed_at, 0.01, 0.1)
    scenario.put(
        "virtual_requests", key, requested, request_id=key[0], lot_id=lot[0], seller_id=seller.customer_id,
        image_count=scenario.rng.randint(1, 12), status="requested", requested_at=requested,
    )  # fmt: skip
    answered = scenario.after(requested, 0.1, 0.4)
    if scenario.rng.random() < 0.1:
        scenario.patch("virtual_requests", key, answered, status="rejected")
    else:
        scenario.patch("virtual_requests", key, answered, status="delivered", delivered_at=answered)


def _bids(scenario: Scenario, lot: Key, bids: Sequence[Bid], ends_at: datetime) -> None:
    for n, bid in enumerate(bids, start=1):
        key: Key = (f"b-{scenario.name}-{n:02d}",)
        fields = {
            "lot_id": lot[0], "bidder_id": bid.bidder.customer_id, "amount": cents(bid.amount), "currency": "EUR",
            "kind": bid.kind, "status": "accepted", "placed_at": bid.placed_at,
        }  # fmt: skip
        scenario.put("bids", key, bid.placed_at, bid_id=key[0], **fields)
        if bid.retracted_at is not None:
            scenario.patch("bids", key, bid.retracted_at, status="retracted")
        if scenario.rng.random() < 0.01:  # entered twice at the telephone desk
            twice: Key = (f"b-{scenario.name}-{n:02d}x",)
            scenario.put("bids", twice, bid.placed_at + scenario.scale.days(1e-5), bid_id=twice[0], **fields)
            scenario.delete("bids", twice, bid.placed_at + scenario.scale.days(2e-5))
        scenario.patch("bids", key, ends_at + scenario.scale.days(1e-4), closed_at=ends_at)


def _sale(
    scenario: Scenario,
    lines: Sequence[tuple[Key, str, Decimal]],
    seller: Party,
    buyer: Party,
    weight: float,
    closing: datetime,
) -> None:
    """The order of one or more lots (each with title and hammer price) and its whole life."""
    rng, lots = scenario.rng, [lot for lot, _, _ in lines]
    hammer = sum((price for _, _, price in lines), Decimal(0))
    placed_at = closing + scenario.scale.days(0.0005)
    order: Key = (f"o-{scenario.name}",)
    address = rng.choice(buyer.addresses)
    premium = cents(min(hammer, Decimal(2000)) * Decimal("0.20") + max(hammer - 2000, Decimal(0)) * Decimal("0.15"))
    commission = cents(hammer * cents(seller.commission))
    fees = _fees(hammer, weight, seller)
    scenario.put(
        "orders", order, placed_at,
        order_id=order[0], buyer_id=buyer.customer_id, seller_id=seller.customer_id, lot_id=lots[0][0],
        address_id=address,
        currency="EUR", hammer_price=hammer, buyers_premium=premium, sellers_commission=commission, fees=fees,
        status="placed", placed_at=placed_at,
    )  # fmt: skip
    for n, (lot, title, price) in enumerate(lines, start=1):
        scenario.put(
            "order_lines", (*order, n), placed_at, order_id=order[0], line_number=n, lot_id=lot[0], description=title,
            quantity=1, hammer_price=price, placed_at=placed_at,
        )  # fmt: skip
    if rng.random() < (0.4 if weight > 2 else 0.06):
        _estimates(scenario, order, cents(18 * weight * BY_CODE[buyer.country].parcel), placed_at)
    invoiced = scenario.after(placed_at, 0.05, 0.3)
    bill = [("hammer_price", "Hammer price", hammer), ("buyers_premium", "Buyer's premium", premium)]
    bill += [("fee", f["kind"], f["amount"]) for f in fees if f["payer"] == "buyer"]
    total = _invoice(scenario, order, "b", buyer, bill, invoiced)
    scenario.patch("orders", order, invoiced, status="invoiced")
    paid = _payment(scenario, order, buyer, total, invoiced)
    if paid is None:
        given_up = invoiced + scenario.scale.days(21)
        scenario.patch("invoices", (f"i-{scenario.name}-b",), given_up, status="void")
        scenario.patch("orders", order, given_up, status="cancelled")
        for lot in lots:
            scenario.patch("lots", lot, given_up, status="unsold")
        return
    scenario.patch("invoices", (f"i-{scenario.name}-b",), paid, status="paid")
    scenario.patch("orders", order, paid, status="paid")
    statement = [("sellers_commission", "Seller's commission", commission)]
    statement += [("fee", f["kind"], f["amount"]) for f in fees if f["payer"] == "seller"]
    settled = scenario.after(paid, 0.5, 1)
    _invoice(scenario, order, "s", seller, statement, settled)
    scenario.patch("invoices", (f"i-{scenario.name}-s",), scenario.after(settled, 3, 10), status="paid")
    _delivery(scenario, _Sale(order, buyer, address, hammer, total, weight), paid)


def _fees(hammer: Decimal, weight: float, seller: Party) -> list[dict[str, Any]]:
    fees = []
    if hammer >= 500:
        fees.append({"kind": "insurance", "payer": "buyer", "amount": cents(hammer * Decimal("0.01"))})
    if weight > 1:
        fees.append({"kind": "packing", "payer": "buyer", "amount": cents(6 * weight)})
    if not seller.careless:
        fees.append({"kind": "photography", "payer": "seller", "amount": cents(3)})
    return fees


def _estimates(scenario: Scenario, order: Key, amount: Decimal, placed_at: datetime) -> None:
    at = scenario.after(placed_at, 0.02, 0.05)
    versions = 2 if scenario.rng.random() < 0.5 else 1
    for version in range(1, versions + 1):
        key: Key = (f"e-{scenario.name}-{version}",)
        scenario.put(
            "estimates", key, at, estimate_id=key[0], order_id=order[0], quote_number=f"Q-{scenario.name}",
            quote_version=version,
            currency="EUR", amount=cents(amount * (Decimal("0.9") if version == 2 else 1)), status="sent",
            created_at=at,
            valid_until=(at + timedelta(days=30)).date().isoformat(),
        )  # fmt: skip
        answer = scenario.after(at, 0.05, 0.1)
        scenario.patch("estimates", key, answer, status="accepted" if version == versions else "rejected")
        at = scenario.after(answer, 0.02, 0.05)


def _invoice(
    scenario: Scenario,
    order: Key,
    role: str,
    party: Party,
    charges: Sequence[tuple[str, str, Decimal]],
    at: datetime,
) -> Decimal:
    """An invoice to the buyer (`b`) or a statement to the seller (`s`) with its lines; returns the total.

    The hammer price is not taxed.
    """
    tax = cents(sum((a for kind, _, a in charges if kind != "hammer_price"), Decimal(0)) * _TAX_RATE)
    lines = [*charges, ("tax", "Value added tax", tax)]
    total = sum((amount for _, _, amount in lines), Decimal(0))
    key: Key = (f"i-{scenario.name}-{role}",)
    scenario.put(
        "invoices", key, at, invoice_id=key[0], order_id=order[0], party_id=party.customer_id,
        role="buyer" if role == "b" else "seller", currency="EUR", total_amount=total, tax_amount=tax,
        status="issued",
        issued_at=at, due_at=at + scenario.scale.days(7),
    )  # fmt: skip
    for n, (kind, description, amount) in enumerate(lines, start=1):
        scenario.put(
            "invoice_lines", (*key, n), at, invoice_id=key[0], line_number=n, order_id=order[0], kind=kind,
            description=description, amount=amount, tax_rate=_TAX_RATE if kind == "tax" else None, issued_at=at,
        )  # fmt: skip
    return total


def processing_fee(method: str, amount: Decimal) -> Decimal:
    """What the payment provider charges for an amount in EUR."""
    share, fixed = {
        "card": ("0.014", "0.25"), "wallet": ("0.029", "0.35"), "bank_transfer": ("0", "0.20"), "cheque": ("0",
        "1.50"),
    }[method]  # fmt: skip
    return cents(amount * Decimal(share) + Decimal(fixed))


def _payment(scenario: Scenario, order: Key, buyer: Party, total: Decimal, invoiced: datetime) -> datetime | None:
    """Payments of the buyer's invoice; the moment at which the money is there, None if it never comes."""
    rng, invoice = scenario.rng, f"i-{scenario.name}-b"
    late = rng.random() < (0.5 if buyer.careless else 0.05)
    if late:
        scenario.patch("invoices", (invoice,), invoiced + scenario.scale.days(7.1), status="overdue")
        if rng.random() < 0.25:
            return None
    at = scenario.after(invoiced, 8, 14) if late else scenario.after(invoiced, 0.1, 4)
    attempts = 2 if buyer.method in ("card", "wallet") and rng.random() < 0.06 else 1
    fields = {"order_id": order[0], "invoice_id": invoice, "kind": "capture", "method": buyer.method,
    "currency": "EUR",
              "amount": total, "status": "pending"}  # fmt: skip
    done = at
    for n in range(1, attempts + 1):
        key: Key = (f"p-{scenario.name}-{n}",)
        failed = n < attempts
        fee = Decimal("0.00") if failed else processing_fee(buyer.method, total)
        scenario.put("payments", key, at, payment_id=key[0], created_at=at, processing_fee=fee, **fields)
        done = scenario.after(at, 0.01, 0.05 if buyer.method in ("card", "wallet") else 1.0)
        scenario.patch("payments", key, done, status="failed" if failed else "settled")
        at = scenario.after(done, 0.05, 0.3)
    if rng.random() < 0.02:  # booked twice by hand and taken out again
        wrong: Key = (f"p-{scenario.name}-x",)
        scenario.put("payments", wrong, done, payment_id=wrong[0], created_at=done, processing_fee=None, **fields)
        scenario.delete("payments", wrong, scenario.after(done, 0.01, 0.02))
    return done


@dataclass(frozen=True, slots=True)
class _Sale:
    """A paid order: its hammer price, what the buyer paid in all, and the price factor of its parcel."""

    order: Key
    buyer: Party
    address: str
    hammer: Decimal
    total: Decimal
    weight: float


def _delivery(scenario: Scenario, sale: _Sale, paid: datetime) -> None:
    """The parcel's way to the buyer, and what is paid back."""
    order, buyer = sale.order, sale.buyer
    rng, parcel = scenario.rng, BY_CODE[buyer.country].parcel
    carrier, late_share = rng.choices(_CARRIERS, (5, 3, 2))[0]
    key: Key = (f"s-{scenario.name}",)
    created = scenario.after(paid, 0.2, 2)
    promised = created + scenario.scale.days(round(2 + 2 * parcel))
    scenario.put(
        "shipments", key, created, shipment_id=key[0], order_id=order[0], address_id=sale.address, carrier=carrier,
        tracking_number=f"T{rng.randrange(10**10):010d}", currency="EUR",
        cost=cents(7.5 * parcel * sale.weight * rng.uniform(0.8, 1.3) + 2), status="packed", created_at=created,
        promised_at=promised,
    )  # fmt: skip
    shipped = scenario.after(created, 0.1, 1)
    scenario.patch("shipments", key, shipped, status="shipped", shipped_at=shipped)
    scenario.patch("orders", order, shipped, status="shipped")
    if rng.random() < 0.008:
        lost = scenario.after(promised, 8, 12)
        scenario.patch("shipments", key, lost, status="lost")
        _refund(scenario, order, buyer, sale.total, lost)
        scenario.patch("orders", order, scenario.after(lost, 0.5, 1), status="refunded")
        return
    late = rng.random() < late_share
    delivered = scenario.after(promised, 1, 8) if late else shipped + (promised - shipped) * rng.uniform(0.4, 0.98)
    delivered = delivered.replace(microsecond=delivered.microsecond // 1000 * 1000)
    scenario.patch("shipments", key, delivered, status="delivered", delivered_at=delivered)
    scenario.patch("orders", order, delivered, status="delivered")
    if rng.random() < (0.3 if buyer.careless else 0.025):
        returned = scenario.after(delivered, 2, 6)
        scenario.patch("shipments", key, returned, status="returned")
        _refund(scenario, order, buyer, sale.total, returned)
        scenario.patch("orders", order, scenario.after(returned, 0.5, 1), status="refunded")
        return
    if late and rng.random() < 0.3:
        _refund(scenario, order, buyer, cents(sale.hammer * Decimal("0.05")), scenario.after(delivered, 0.5, 2))
    scenario.patch("orders", order, scenario.after(delivered, 10, 14), status="completed")


def _refund(scenario: Scenario, order: Key, buyer: Party, amount: Decimal, at: datetime) -> None:
    key: Key = (f"p-{scenario.name}-r",)
    scenario.put(
        "payments", key, at, payment_id=key[0], order_id=order[0], invoice_id=f"i-{scenario.name}-b", kind="refund",
        method=buyer.method, currency="EUR", amount=amount, processing_fee=Decimal("0.10"), status="pending",
        created_at=at,
    )  # fmt: skip
    scenario.patch("payments", key, scenario.after(at, 0.1, 0.4), status="settled")


def leaver_scenario(rng: Random, name: str, party: Party, scale: TimeScale) -> list[Request]:
    """Somebody who registers, never trades and leaves; one in four comes back."""
    arrival = introduce(rng, party)
    scenario = Scenario(name, scale, rng, list(arrival))
    leaves = scenario.after(party.registered_at, 3, 10)
    for address_id in party.addresses:
        scenario.delete("shipping_addresses", (address_id,), leaves)
    scenario.delete("customers", (party.customer_id,), leaves + timedelta(milliseconds=1))
    if rng.random() < 0.25:
        again = scenario.after(leaves, 1, 4)
        for n, request in enumerate(arrival):
            scenario.requests.append(
                Request("PUT", request.entity, request.key, request.payload, again + timedelta(milliseconds=n))
            )
    return scenario.requests


def wrong_lot_scenario(rng: Random, name: str, seller: Party, at: datetime, scale: TimeScale) -> list[Request]:
    """A lot that was entered twice and taken out of the catalogue."""
    scenario = Scenario(name, scale, rng)
    category = choose_category(rng, 2)
    lot: Key = (f"l-{name}",)
    scenario.put(
        "lots", lot, at, lot_id=lot[0], seller_id=seller.customer_id, title=title_of(rng, category),
        category=category.name,
        grade=category.grades[0], currency="EUR", status="draft", listed_at=at,
    )  # fmt: skip
    scenario.delete("lots", lot, scenario.after(at, 0.01, 0.3))
    return scenario.requests


def correction_scenario(rng: Random, name: str, party: Party, at: datetime, scale: TimeScale) -> list[Request]:
    """A correction of what is known of a party: telephone gone, rating changed, consent given, account closed."""
    scenario = Scenario(name, scale, rng)
    customer: Key = (party.customer_id,)
    match rng.randrange(6):
        case 0:
            scenario.patch("customers", customer, at, phone=None)
        case 1 | 2:
            scenario.patch("customers", customer, at, feedback_score=rng.randint(0, 400))
        case 3:
            scenario.patch("customers", customer, at, marketing_consent=rng.random() < 0.5)
        case 4:
            scenario.patch("customers", customer, at, tags=["checked"])
        case _:
            number = f"{rng.randint(1, 180)}a"
            scenario.patch("shipping_addresses", (party.addresses[0],), at, street=f"Corrected Street {number}")
    return scenario.requests


def condense(requests: Sequence[Request]) -> list[Request]:
    """One PUT per item with its last state, at the time of its first change; removed items are left out.

    So the house took over its history: invoices stayed in the old system, and bids of closed lots carry no closing
    time, because that would make them leave the operational table 90 days later, that is at once.
    """
    first: dict[tuple[str, Key], datetime] = {}
    state: dict[tuple[str, Key], dict[str, Any]] = {}
    for request in requests:
        item = (request.entity, request.key)
        first.setdefault(item, request.at)
        if request.method == "DELETE":
            state.pop(item, None)
        elif request.method == "PUT":
            state[item] = dict(request.payload or {})
        elif item in state:
            state[item].update(request.payload or {})
    for (entity, _), fields in state.items():
        if entity == "bids":
            fields.pop("closed_at", None)
        elif entity == "payments":
            fields["invoice_id"] = None
    return [
        Request("PUT", entity, key, state[entity, key], first[entity, key])
        for entity, key in state
        if entity not in _NOT_TAKEN_OVER
    ]


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _json(value) for name, value in fields.items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):
        return [_json(v) for v in value]
    if isinstance(value, dict):
        return _plain(value)
    return value
