"""Stories: the changes of one lot from its listing to the end of its sale, and small ones such as a wrong entry.

Every story is a list of `Request` values decided by its random generator. `condense` turns a finished story into the
form in which history is taken over from an older system: one final version per item.
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
class Pace:
    """How long a day of the story lasts: a day for history, seconds when somebody watches."""

    day: timedelta = timedelta(days=1)

    def days(self, number: float) -> timedelta:
        return self.day * number


@dataclass
class Story:
    """Collects the changes of one story; knows no rule of the trade."""

    name: str
    pace: Pace
    rng: Random
    requests: list[Request] = field(default_factory=list)

    def put(self, entity: str, key: Key, at: datetime, **fields: Any) -> None:
        self.requests.append(Request("PUT", entity, key, _plain(fields), at))

    def patch(self, entity: str, key: Key, at: datetime, **fields: Any) -> None:
        self.requests.append(Request("PATCH", entity, key, _plain(fields), at))

    def delete(self, entity: str, key: Key, at: datetime) -> None:
        self.requests.append(Request("DELETE", entity, key, None, at))

    def after(self, at: datetime, low: float, high: float) -> datetime:
        """A moment between `low` and `high` days of the story after `at`."""
        moment = at + self.pace.days(self.rng.uniform(low, high))
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def cents(value: float | Decimal) -> Decimal:
    """An amount of money: two digits, halves up."""
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def lot_story(
    rng: Random, name: str, parties: Sequence[Party], listed_at: datetime, years: float, pace: Pace
) -> list[Request]:
    """One lot: catalogued, bid on, and sold, unsold or withdrawn. `parties` are those registered by then."""
    story = Story(name, pace, rng)
    sellers = [p for p in parties if p.sells > 0]
    seller = rng.choices(sellers, [p.sells for p in sellers])[0]
    category = choose_category(rng, years)
    value = value_of(rng, category, years) * (0.35 if seller.careless else 1.0)
    low = round_to_step(value * rng.uniform(0.7, 0.95))
    high = max(low + 5, round_to_step(low * rng.uniform(1.25, 1.6)))
    starting = max(1, round(low * rng.uniform(0.35, 0.6)))
    reserve = round_to_step(low * rng.uniform(0.7, 0.98)) if rng.random() < 0.55 else None
    handling = cents(category.handling * rng.uniform(0.7, 1.5) * (3.5 if seller.careless else 1) + value * 0.006)
    starts_at = story.after(listed_at, 0.5, 2)
    ends_at = starts_at + pace.days(rng.choice((3, 5, 7, 7, 10)))
    lot: Key = (f"l-{name}",)
    title = title_of(rng, category)
    slip = rng.random() < 0.10
    story.put(
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
        story.patch("lots", lot, story.after(listed_at, 0.05, 0.2), title=title)
    if rng.random() < (0.7 if seller.careless else 0.12):
        _virtual_request(story, lot, seller, listed_at)
    story.patch("lots", lot, starts_at, status="open")
    if rng.random() < 0.02:
        story.patch("lots", lot, story.after(starts_at, 0.5, 2), status="withdrawn")
        return story.requests
    others = [p for p in parties if p is not seller]
    weights = [p.buys * (3.0 if category.name in p.tastes else 1.0) for p in others]
    bidders = list(dict.fromkeys(rng.choices(others, weights, k=rng.choice((2, 3, 4, 4, 5, 6))))) if others else []
    bids = bidding(rng, value, starting, bidders, starts_at, ends_at)
    _bids(story, lot, bids, ends_at)
    top = winning(bids)
    closing = ends_at + pace.days(0.0003)
    if top is None or (reserve is not None and top.amount < reserve):
        story.patch("lots", lot, closing, status="unsold")
        return story.requests
    story.patch("lots", lot, closing, status="sold")
    lines = [(lot, title, cents(top.amount))]
    if rng.random() < 0.07:
        lines.append(_companion(story, seller, category, low, listed_at, starts_at, closing))
    _sale(story, lines, seller, top.bidder, category.weight, closing)
    return story.requests


def _companion(
    story: Story,
    seller: Party,
    category: Category,
    low: int,
    listed_at: datetime,
    starts_at: datetime,
    closing: datetime,
) -> tuple[Key, str, Decimal]:
    """A second lot of the seller that finds no bid and goes to the first one's buyer, in the same order."""
    lot: Key = (f"l-{story.name}-2",)
    title, price = title_of(story.rng, category), cents(round_to_step(low * 0.4))
    story.put(
        "lots", lot, listed_at, lot_id=lot[0], seller_id=seller.customer_id, title=title, category=category.name,
        grade=category.grades[-1], currency="EUR", starting_price=price, handling_cost=cents(category.handling),
        status="draft", listed_at=listed_at, starts_at=starts_at,
    )  # fmt: skip
    story.patch("lots", lot, starts_at, status="open")
    story.patch("lots", lot, closing, status="sold")
    return lot, title, price


def _virtual_request(story: Story, lot: Key, seller: Party, listed_at: datetime) -> None:
    key: Key = (f"v-{story.name}",)
    asked = story.after(listed_at, 0.01, 0.1)
    story.put(
        "virtual_requests", key, asked, request_id=key[0], lot_id=lot[0], seller_id=seller.customer_id,
        image_count=story.rng.randint(1, 12), status="requested", requested_at=asked,
    )  # fmt: skip
    answered = story.after(asked, 0.1, 0.4)
    if story.rng.random() < 0.1:
        story.patch("virtual_requests", key, answered, status="rejected")
    else:
        story.patch("virtual_requests", key, answered, status="delivered", delivered_at=answered)


def _bids(story: Story, lot: Key, bids: Sequence[Bid], ends_at: datetime) -> None:
    for n, bid in enumerate(bids, start=1):
        key: Key = (f"b-{story.name}-{n:02d}",)
        fields = {
            "lot_id": lot[0], "bidder_id": bid.bidder.customer_id, "amount": cents(bid.amount), "currency": "EUR",
            "kind": bid.kind, "status": "accepted", "placed_at": bid.placed_at,
        }  # fmt: skip
        story.put("bids", key, bid.placed_at, bid_id=key[0], **fields)
        if bid.retracted_at is not None:
            story.patch("bids", key, bid.retracted_at, status="retracted")
        if story.rng.random() < 0.01:  # entered twice at the telephone desk
            twice: Key = (f"b-{story.name}-{n:02d}x",)
            story.put("bids", twice, bid.placed_at + story.pace.days(1e-5), bid_id=twice[0], **fields)
            story.delete("bids", twice, bid.placed_at + story.pace.days(2e-5))
        story.patch("bids", key, ends_at + story.pace.days(1e-4), closed_at=ends_at)


def _sale(
    story: Story,
    lines: Sequence[tuple[Key, str, Decimal]],
    seller: Party,
    buyer: Party,
    weight: float,
    closing: datetime,
) -> None:
    """The order of one or more lots (each with title and hammer price) and its whole life."""
    rng, lots = story.rng, [lot for lot, _, _ in lines]
    hammer = sum((price for _, _, price in lines), Decimal(0))
    placed_at = closing + story.pace.days(0.0005)
    order: Key = (f"o-{story.name}",)
    address = rng.choice(buyer.addresses)
    premium = cents(min(hammer, Decimal(2000)) * Decimal("0.20") + max(hammer - 2000, Decimal(0)) * Decimal("0.15"))
    commission = cents(hammer * cents(seller.commission))
    fees = _fees(hammer, weight, seller)
    story.put(
        "orders", order, placed_at,
        order_id=order[0], buyer_id=buyer.customer_id, seller_id=seller.customer_id, lot_id=lots[0][0],
        address_id=address,
        currency="EUR", hammer_price=hammer, buyers_premium=premium, sellers_commission=commission, fees=fees,
        status="placed", placed_at=placed_at,
    )  # fmt: skip
    for n, (lot, title, price) in enumerate(lines, start=1):
        story.put(
            "order_lines", (*order, n), placed_at, order_id=order[0], line_number=n, lot_id=lot[0], description=title,
            quantity=1, hammer_price=price, placed_at=placed_at,
        )  # fmt: skip
    if rng.random() < (0.4 if weight > 2 else 0.06):
        _estimates(story, order, cents(18 * weight * BY_CODE[buyer.country].parcel), placed_at)
    invoiced = story.after(placed_at, 0.05, 0.3)
    bill = [("hammer_price", "Hammer price", hammer), ("buyers_premium", "Buyer's premium", premium)]
    bill += [("fee", f["kind"], f["amount"]) for f in fees if f["payer"] == "buyer"]
    total = _invoice(story, order, "b", buyer, bill, premium + sum(a for _, _, a in bill[2:]), invoiced)
    story.patch("orders", order, invoiced, status="invoiced")
    paid = _payment(story, order, buyer, total, invoiced)
    if paid is None:
        given_up = invoiced + story.pace.days(21)
        story.patch("invoices", (f"i-{story.name}-b",), given_up, status="void")
        story.patch("orders", order, given_up, status="cancelled")
        for lot in lots:
            story.patch("lots", lot, given_up, status="unsold")
        return
    story.patch("invoices", (f"i-{story.name}-b",), paid, status="paid")
    story.patch("orders", order, paid, status="paid")
    statement = [("sellers_commission", "Seller's commission", commission)]
    statement += [("fee", f["kind"], f["amount"]) for f in fees if f["payer"] == "seller"]
    settled = story.after(paid, 0.5, 1)
    _invoice(story, order, "s", seller, statement, sum((a for _, _, a in statement), Decimal(0)), settled)
    story.patch("invoices", (f"i-{story.name}-s",), story.after(settled, 3, 10), status="paid")
    _delivery(story, order, buyer, address, hammer, total, weight, paid)


def _fees(hammer: Decimal, weight: float, seller: Party) -> list[dict[str, Any]]:
    fees = []
    if hammer >= 500:
        fees.append({"kind": "insurance", "payer": "buyer", "amount": cents(hammer * Decimal("0.01"))})
    if weight > 1:
        fees.append({"kind": "packing", "payer": "buyer", "amount": cents(6 * weight)})
    if not seller.careless:
        fees.append({"kind": "photography", "payer": "seller", "amount": cents(3)})
    return fees


def _estimates(story: Story, order: Key, amount: Decimal, placed_at: datetime) -> None:
    at = story.after(placed_at, 0.02, 0.05)
    versions = 2 if story.rng.random() < 0.5 else 1
    for version in range(1, versions + 1):
        key: Key = (f"e-{story.name}-{version}",)
        story.put(
            "estimates", key, at, estimate_id=key[0], order_id=order[0], quote_number=f"Q-{story.name}",
            quote_version=version,
            currency="EUR", amount=cents(amount * (Decimal("0.9") if version == 2 else 1)), status="sent",
            created_at=at,
            valid_until=(at + timedelta(days=30)).date().isoformat(),
        )  # fmt: skip
        answer = story.after(at, 0.05, 0.1)
        story.patch("estimates", key, answer, status="accepted" if version == versions else "rejected")
        at = story.after(answer, 0.02, 0.05)


def _invoice(
    story: Story,
    order: Key,
    role: str,
    party: Party,
    charges: Sequence[tuple[str, str, Decimal]],
    taxed: Decimal,
    at: datetime,
) -> Decimal:
    """An invoice to the buyer (`b`) or a statement to the seller (`s`) with its lines; returns the total."""
    tax = cents(taxed * _TAX_RATE)
    lines = [*charges, ("tax", "Value added tax", tax)]
    total = sum((amount for _, _, amount in lines), Decimal(0))
    key: Key = (f"i-{story.name}-{role}",)
    story.put(
        "invoices", key, at, invoice_id=key[0], order_id=order[0], party_id=party.customer_id,
        role="buyer" if role == "b" else "seller", currency="EUR", total_amount=total, tax_amount=tax,
        status="issued",
        issued_at=at, due_at=at + story.pace.days(7),
    )  # fmt: skip
    for n, (kind, description, amount) in enumerate(lines, start=1):
        story.put(
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


def _payment(story: Story, order: Key, buyer: Party, total: Decimal, invoiced: datetime) -> datetime | None:
    """Payments of the buyer's invoice; the moment at which the money is there, None if it never comes."""
    rng, invoice = story.rng, f"i-{story.name}-b"
    late = rng.random() < (0.5 if buyer.careless else 0.05)
    if late:
        story.patch("invoices", (invoice,), invoiced + story.pace.days(7.1), status="overdue")
        if rng.random() < 0.25:
            return None
    at = story.after(invoiced, 8, 14) if late else story.after(invoiced, 0.1, 4)
    attempts = 2 if buyer.method in ("card", "wallet") and rng.random() < 0.06 else 1
    fields = {"order_id": order[0], "invoice_id": invoice, "kind": "capture", "method": buyer.method,
    "currency": "EUR",
              "amount": total, "status": "pending"}  # fmt: skip
    done = at
    for n in range(1, attempts + 1):
        key: Key = (f"p-{story.name}-{n}",)
        failed = n < attempts
        fee = Decimal("0.00") if failed else processing_fee(buyer.method, total)
        story.put("payments", key, at, payment_id=key[0], created_at=at, processing_fee=fee, **fields)
        done = story.after(at, 0.01, 0.05 if buyer.method in ("card", "wallet") else 1.0)
        story.patch("payments", key, done, status="failed" if failed else "settled")
        at = story.after(done, 0.05, 0.3)
    if rng.random() < 0.02:  # booked twice by hand and taken out again
        wrong: Key = (f"p-{story.name}-x",)
        story.put("payments", wrong, done, payment_id=wrong[0], created_at=done, processing_fee=None, **fields)
        story.delete("payments", wrong, story.after(done, 0.01, 0.02))
    return done


def _delivery(
    story: Story, order: Key, buyer: Party, address: str, hammer: Decimal, total: Decimal, weight: float, paid: datetime
) -> None:
    rng, parcel = story.rng, BY_CODE[buyer.country].parcel
    carrier, late_share = rng.choices(_CARRIERS, (5, 3, 2))[0]
    key: Key = (f"s-{story.name}",)
    created = story.after(paid, 0.2, 2)
    promised = created + story.pace.days(round(2 + 2 * parcel))
    story.put(
        "shipments", key, created, shipment_id=key[0], order_id=order[0], address_id=address, carrier=carrier,
        tracking_number=f"T{rng.randrange(10**10):010d}", currency="EUR",
        cost=cents(7.5 * parcel * weight * rng.uniform(0.8, 1.3) + 2), status="packed", created_at=created,
        promised_at=promised,
    )  # fmt: skip
    shipped = story.after(created, 0.1, 1)
    story.patch("shipments", key, shipped, status="shipped", shipped_at=shipped)
    story.patch("orders", order, shipped, status="shipped")
    if rng.random() < 0.008:
        lost = story.after(promised, 8, 12)
        story.patch("shipments", key, lost, status="lost")
        _refund(story, order, buyer, total, lost)
        story.patch("orders", order, story.after(lost, 0.5, 1), status="refunded")
        return
    late = rng.random() < late_share
    delivered = story.after(promised, 1, 8) if late else shipped + (promised - shipped) * rng.uniform(0.4, 0.98)
    delivered = delivered.replace(microsecond=delivered.microsecond // 1000 * 1000)
    story.patch("shipments", key, delivered, status="delivered", delivered_at=delivered)
    story.patch("orders", order, delivered, status="delivered")
    if rng.random() < (0.3 if buyer.careless else 0.025):
        returned = story.after(delivered, 2, 6)
        story.patch("shipments", key, returned, status="returned")
        _refund(story, order, buyer, total, returned)
        story.patch("orders", order, story.after(returned, 0.5, 1), status="refunded")
        return
    if late and rng.random() < 0.3:
        _refund(story, order, buyer, cents(hammer * Decimal("0.05")), story.after(delivered, 0.5, 2))
    story.patch("orders", order, story.after(delivered, 10, 14), status="completed")


def _refund(story: Story, order: Key, buyer: Party, amount: Decimal, at: datetime) -> None:
    key: Key = (f"p-{story.name}-r",)
    story.put(
        "payments", key, at, payment_id=key[0], order_id=order[0], invoice_id=f"i-{story.name}-b", kind="refund",
        method=buyer.method, currency="EUR", amount=amount, processing_fee=Decimal("0.10"), status="pending",
        created_at=at,
    )  # fmt: skip
    story.patch("payments", key, story.after(at, 0.1, 0.4), status="settled")


def leaver_story(rng: Random, name: str, party: Party, pace: Pace) -> list[Request]:
    """Somebody who registers, never trades and leaves; one in four comes back."""
    arrival = introduce(rng, party)
    story = Story(name, pace, rng, list(arrival))
    leaves = story.after(party.registered_at, 3, 10)
    for address_id in party.addresses:
        story.delete("shipping_addresses", (address_id,), leaves)
    story.delete("customers", (party.customer_id,), leaves + timedelta(milliseconds=1))
    if rng.random() < 0.25:
        again = story.after(leaves, 1, 4)
        for n, request in enumerate(arrival):
            story.requests.append(
                Request("PUT", request.entity, request.key, request.payload, again + timedelta(milliseconds=n))
            )
    return story.requests


def wrong_lot_story(rng: Random, name: str, seller: Party, at: datetime, pace: Pace) -> list[Request]:
    """A lot that was entered twice and taken out of the catalogue."""
    story = Story(name, pace, rng)
    category = choose_category(rng, 2)
    lot: Key = (f"l-{name}",)
    story.put(
        "lots", lot, at, lot_id=lot[0], seller_id=seller.customer_id, title=title_of(rng, category),
        category=category.name,
        grade=category.grades[0], currency="EUR", status="draft", listed_at=at,
    )  # fmt: skip
    story.delete("lots", lot, story.after(at, 0.01, 0.3))
    return story.requests


def correction_story(rng: Random, name: str, party: Party, at: datetime, pace: Pace) -> list[Request]:
    """A correction of what is known of a party: telephone gone, rating changed, consent given, account closed."""
    story = Story(name, pace, rng)
    customer: Key = (party.customer_id,)
    match rng.randrange(6):
        case 0:
            story.patch("customers", customer, at, phone=None)
        case 1 | 2:
            story.patch("customers", customer, at, feedback_score=rng.randint(0, 400))
        case 3:
            story.patch("customers", customer, at, marketing_consent=rng.random() < 0.5)
        case 4:
            story.patch("customers", customer, at, tags=["checked"])
        case _:
            number = f"{rng.randint(1, 180)}a"
            story.patch("shipping_addresses", (party.addresses[0],), at, street=f"Corrected Street {number}")
    return story.requests


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
