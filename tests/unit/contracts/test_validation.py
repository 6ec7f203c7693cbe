"""Payloads: every problem is named with field and reason, and nothing is rounded or guessed."""

from decimal import Decimal

import pytest

from contracts import load_contracts
from contracts.validation import parse

CONTRACTS = load_contracts()
ORDER = {
    "order_id": "o-1",
    "buyer_id": "c-1",
    "seller_id": "c-2",
    "currency": "EUR",
    "hammer_price": "125.50",
    "fees": [{"kind": "insurance", "payer": "buyer", "amount": Decimal("4.5")}],
    "status": "placed",
    "placed_at": "2026-03-01T12:00:00+02:00",
}


def problems(entity: str, payload: object, **options) -> dict[str, str]:
    return {p.field: p.reason for p in parse(CONTRACTS[entity], payload, **options).problems}


def test_a_good_payload_comes_back_in_the_stored_form():
    parsed = parse(CONTRACTS["orders"], ORDER)
    assert parsed.problems == ()
    assert parsed.values["hammer_price"] == Decimal("125.50")
    assert parsed.values["placed_at"] == "2026-03-01T10:00:00Z"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("hammer_price", "12.505", "at most 2 digits after the point"),
        ("hammer_price", "1234567890123", "at most 12 digits before the point"),
        ("hammer_price", 12.5, "as a number or as text"),
        ("hammer_price", "1e400", "at most 12 digits before"),
        ("hammer_price", "NaN", "expected decimal"),
        ("hammer_price", True, "expected decimal"),
        ("hammer_price", "-1", "at least 0"),
        ("placed_at", "2026-03-01T12:00:00", "timestamp with offset"),
        ("placed_at", "2026-02-30T12:00:00Z", "a moment that exists"),
        ("placed_at", "0001-01-01T00:00:00+05:00", "a moment that exists"),
        ("hammer_price", "\u0663", "expected decimal"),
        ("placed_at", "2026-03-01T12:00:00+01:60", "timestamp with offset"),
        ("placed_at", "\u0662026-03-01T12:00:00Z", "timestamp with offset"),
        ("status", "sold", "expected one of placed"),
        ("currency", "eur", "matches"),
        ("currency", "EUR\n", "matches"),
        ("order_id", "", "empty string"),
        ("order_id", "x" * 65, "at most 64 characters"),
        ("order_id", "a\x00b", "U+0000"),
        ("order_id", "\ud800", "lone surrogate"),
        ("order_id", None, "found null"),
        ("quote_version", "3", "expected an integer"),
        ("quote_version", 2**63, "64 bits"),
        ("fees", {}, "expected a list"),
    ],
)
def test_what_does_not_fit_is_a_problem_with_the_reason(field, value, reason):
    assert reason in problems("orders", {**ORDER, field: value})[field]


def test_problems_inside_nested_values_name_the_path():
    fees = [{"kind": "x", "payer": "buyer", "amount": "1"}, {"kind": "x", "payer": "house", "amount": "1"}]
    assert "expected one of buyer, seller" in problems("orders", {**ORDER, "fees": fees})["fees[1].payer"]
    assert "found nothing" in problems("orders", {**ORDER, "fees": [{"kind": "x", "payer": "buyer"}]})["fees[0].amount"]
    lot = {"attributes": {"maker": 3}}
    assert "expected a string" in problems("lots", lot, partial=True)["attributes.maker"]


def test_all_problems_are_reported_at_once():
    found = problems("orders", {"order_id": 1, "hamer_price": "1"})
    assert found["hamer_price"].endswith("did you mean hammer_price?")
    assert {"order_id", "hamer_price", "buyer_id", "seller_id", "currency", "status", "placed_at"} <= set(found)


def test_a_partial_payload_keeps_what_it_does_not_carry_and_null_clears():
    parsed = parse(CONTRACTS["orders"], {"quote_number": None}, partial=True)
    assert parsed.values == {"quote_number": None}
    assert parsed.problems == ()
    assert "found null" in problems("orders", {"status": None}, partial=True)["status"]


def test_aliases_are_names_too_but_only_when_requested():
    assert parse(CONTRACTS["orders"], {"QUOTE_NO": "7"}, partial=True, use_aliases=True).values == {"quote_number": "7"}
    assert "no such field" in problems("orders", {"QUOTE_NO": "7"}, partial=True)["QUOTE_NO"]
    twice = {"QUOTE_NO": "7", "quote_number": "8"}
    assert "given twice" in next(iter(problems("orders", twice, partial=True, use_aliases=True).values()))


@pytest.mark.parametrize("payload", [None, [], "x", 3, True])
def test_anything_but_an_object_is_refused(payload):
    assert "expected a JSON object" in problems("orders", payload)[""]
