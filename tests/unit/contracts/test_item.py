"""Keys of the single table: an order and all that belongs to it share a partition, and no value escapes its part."""

from decimal import Decimal

from contracts import load_contracts
from contracts.item import from_attribute, index_keys, item_keys, pointer_keys, time_to_live, to_attribute

CONTRACTS = load_contracts()


def test_an_order_and_everything_that_belongs_to_it_share_a_partition():
    values = {"order_id": "o-1", "line_number": 2, "invoice_id": "i", "payment_id": "p", "shipment_id": "s"}
    members = ["orders", "order_lines", "invoices", "invoice_lines", "payments", "shipments"]
    keys = {name: item_keys(CONTRACTS[name], values) for name in members}
    assert {k["pk"] for k in keys.values()} == {"ORDER#o-1"}
    assert len({k["sk"] for k in keys.values()}) == len(members)
    assert keys["invoice_lines"]["sk"].startswith(keys["invoices"]["sk"] + "#LINE#")


def test_numbers_in_keys_sort_as_numbers():
    sort_keys = [item_keys(CONTRACTS["order_lines"], {"order_id": "o", "line_number": n})["sk"] for n in (2, 10, 100)]
    assert sort_keys == sorted(sort_keys)


def test_moments_in_index_keys_sort_as_moments():
    order = {"order_id": "o", "buyer_id": "b", "seller_id": "s"}
    moments = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"]
    keys = [index_keys(CONTRACTS["orders"], {**order, "placed_at": m})["buyer_sk"] for m in moments]
    assert keys == sorted(keys)


def test_no_value_can_reach_into_another_part_of_a_key():
    plain = item_keys(CONTRACTS["order_lines"], {"order_id": "o", "line_number": 1})
    sly = item_keys(CONTRACTS["order_lines"], {"order_id": "o#LINE#{line_number}", "line_number": 1})
    assert sly["pk"].count("#") == 1
    assert "{" not in sly["pk"]
    assert sly["pk"] != plain["pk"]
    one = pointer_keys(CONTRACTS["invoice_lines"], {"invoice_id": "a#1", "line_number": 1})
    other = pointer_keys(CONTRACTS["invoice_lines"], {"invoice_id": "a%231", "line_number": 1})
    assert one != other


def test_indexes_are_sparse():
    values = {"order_id": "o", "seller_id": "s", "placed_at": "2026-01-01T00:00:00Z"}
    assert set(index_keys(CONTRACTS["orders"], values)) == {"seller_pk", "seller_sk"}


def test_closed_bids_leave_the_table_after_ninety_days():
    assert time_to_live(CONTRACTS["bids"], {"closed_at": "1970-01-02T00:00:00Z"}) == 91 * 86400
    assert time_to_live(CONTRACTS["bids"], {}) is None
    assert time_to_live(CONTRACTS["orders"], {"placed_at": "1970-01-02T00:00:00Z"}) is None


def test_attributes_keep_every_digit():
    value = {"n": Decimal("0.00000000000000000000000000000000000001"), "l": [True, None, "x", {"k": Decimal("1E+5")}]}
    assert from_attribute(to_attribute(value)) == {**value, "l": [True, None, "x", {"k": Decimal(100000)}]}


def test_moments_in_keys_are_of_one_zone():
    values = {"order_id": "o", "seller_id": "s"}
    here, there = "2026-01-01T01:30:00+01:00", "2026-01-01T00:30:00Z"
    one, other = (index_keys(CONTRACTS["orders"], {**values, "placed_at": at}) for at in (here, there))
    assert one == other
