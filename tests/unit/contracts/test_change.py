"""From stream record to change: operation, version and order by the rules, values exactly as DynamoDB had them."""

import json
from datetime import UTC, datetime

import pytest

from contracts import load_contracts
from contracts.change import CHANGE_COLUMNS, UnmappableRecord, change_from_item, change_from_record

CONTRACTS = load_contracts()


def image(**attributes) -> dict:
    return {
        "pk": {"S": "ORDER#o-1"},
        "sk": {"S": "ORDER"},
        "entity": {"S": "orders"},
        "_contract": {"S": "1.0.0"},
        "order_id": {"S": "o-1"},
        "buyer_pk": {"S": "BUYER#c-1"},
        **attributes,
    }


def record(name: str = "MODIFY", new: dict | None = None, old: dict | None = None, **more) -> dict:
    body: dict = {"ApproximateCreationDateTime": 1790000000, "SequenceNumber": "111100000000000000000000001"}
    if new is not None:
        body["NewImage"] = new
    if old is not None:
        body["OldImage"] = old
    return {"eventID": "e1", "eventName": name, "dynamodb": body, **more}


def row(rec: dict) -> dict:
    mapped = change_from_record(rec, CONTRACTS)
    assert mapped is not None
    entity, values = mapped
    assert entity == "orders"
    assert set(values) == {*CONTRACTS["orders"].field_names, *CHANGE_COLUMNS}
    return values


TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
DELETED = {"_deleted": {"BOOL": True}}
NOW = 1_790_000_000_000_000  # the second of the records, as a version
VERSION = {"_version": {"N": str(NOW + 500)}}
BEFORE = {"_version": {"N": str(NOW - 500)}}
AHEAD = {"_version": {"N": str(NOW + 5_000_000)}}
WILD = {"_version": {"N": str(2**63 - 2)}}
END = 999_999  # of the second of the records


@pytest.mark.parametrize(
    ("rec", "operation", "after"),
    [
        (record("INSERT", new=image(**VERSION)), "insert", END),
        (record("INSERT", new=image(**BEFORE)), "insert", END),
        (record("MODIFY", new=image(**VERSION), old=image(**BEFORE)), "modify", END),
        (record("MODIFY", new=image(**BEFORE), old=image(**VERSION)), "modify", END),  # an old one put back
        (record("MODIFY", new=image(**VERSION), old=image()), "modify", END),
        (record("MODIFY", new=image(), old=image(**VERSION)), "modify", END),
        (record("MODIFY", new=image(), old=image(**AHEAD)), "modify", END),
        (record("MODIFY", new=image(**AHEAD), old=image(**BEFORE)), "modify", END),
        (record("INSERT", new=image(**WILD)), "insert", END),
        (record("INSERT", new=image(_version={"N": str(NOW + END)})), "insert", END),
        (record("INSERT", new=image(_version={"N": str(NOW + END + 1)})), "insert", END),
        (record("MODIFY", new=image(**VERSION), old=image(_version={"N": "1.5"})), "modify", END),
        (record("INSERT", new=image(_version={"N": "-1"})), "insert", END),
        (record("INSERT", new=image(_version={"N": "1.5"})), "insert", END),
        (record("INSERT", new=image(_version={"N": str(2**63)})), "insert", END),
        (record("INSERT", new=image(_version={"S": "x"})), "insert", END),
        (record("MODIFY", new=image(**VERSION, **DELETED), old=image(**BEFORE)), "remove", END),
        (record("INSERT", new=image(**VERSION, **DELETED)), "remove", END),
        (record("REMOVE", old=image(**VERSION, **DELETED)), "remove", END),
        (record("REMOVE", old=image(**BEFORE, **DELETED), **TTL), "remove", END),
        (record("REMOVE", old=image(**BEFORE), **TTL), "expire", END),
        (record("REMOVE", old=image(**AHEAD)), "remove", END),
        (record("INSERT", new=image()), "insert", END),
        (record("REMOVE", old=image()), "remove", END),
    ],
)
def test_operation_and_version_follow_the_rules(rec, operation, after):
    values = row(rec)
    assert (values["_op"], values["_version"]) == (operation, str(NOW + after))
    assert values["_seq"] == "111100000000000000000000001".rjust(40, "0")
    assert values["_changed_at"] == "2026-09-21T14:13:20Z"


def test_values_land_exactly_as_dynamodb_had_them():
    exact = "12345678901234567890123456789012345678"
    values = row(
        record(
            new=image(
                hammer_price={"N": exact},
                fees={"L": [{"M": {"kind": {"S": "é"}, "payer": {"S": "buyer"}, "amount": {"N": "1.10"}}}]},
                ttl={"N": "1800000000"},
                quote_number={"NULL": True},
            )
        )
    )
    assert values["hammer_price"] == exact
    assert json.loads(values["fees"]) == [{"kind": "é", "payer": "buyer", "amount": "1.10"}]
    assert values["_ttl"] == "1800000000"
    assert values["quote_number"] is None
    assert values["_extra"] is None


def test_drift_is_kept_in_extra_never_dropped():
    odd = {
        "colour": {"S": "red"},
        "hammer_price": {"S": "12"},
        "fees": {"L": [{"M": {"amount": {"S": "1"}}}]},
        "raw": {"B": b"\x01"},
        "codes": {"SS": ["b", "a"]},
    }
    values = row(record(new=image(**odd)))
    assert values["hammer_price"] is None
    assert values["fees"] is None
    extra = json.loads(values["_extra"])
    assert set(extra) == set(odd)
    assert extra["hammer_price"] == {"S": "12"}
    assert extra["raw"] == {"B": "AQ=="}


def test_a_system_attribute_of_another_type_is_drift_as_well():
    odd = {
        "_version": {"S": "7"},
        "_deleted": {"S": "true"},
        "_contract": {"N": "1"},
        "_field_timestamps": {"S": "none"},
        "_by": {"NULL": True},
        "ttl": {"S": "soon"},
    }
    values = row(record(new=image(**odd)))
    assert json.loads(values["_extra"]) == odd
    assert (values["_op"], values["_version"], values["_by"]) == ("modify", "1790000000999999", None)


BY = {"_by": {"S": "user:u-1"}}
LATER = {"_version": {"N": "501"}}


@pytest.mark.parametrize(
    ("rec", "who"),
    [
        (record("INSERT", new=image(**VERSION, **BY)), "user:u-1"),
        (record("MODIFY", new=image(**LATER, **BY), old=image(**VERSION)), "user:u-1"),
        (record("MODIFY", new=image(**LATER), old=image(**VERSION, **BY)), None),
        (record("MODIFY", new=image(**LATER, **DELETED, **BY), old=image(**VERSION)), "user:u-1"),
        (record("REMOVE", old=image(**VERSION, **DELETED, **BY)), "user:u-1"),
        (record("REMOVE", old=image(**VERSION, **DELETED, **BY), **TTL), "user:u-1"),
        (record("REMOVE", old=image(**VERSION, **BY), **TTL), "function:ttl"),
        # Around the API: the item names who wrote it before, and that was somebody else.
        (record("REMOVE", old=image(**VERSION, **BY)), None),
        (record("MODIFY", new=image(**VERSION, **BY, status={"S": "paid"}), old=image(**VERSION, **BY)), None),
        (record("MODIFY", new=image(**BY), old=image(**BY)), None),
        (record("INSERT", new=image(**BY)), None),
    ],
)
def test_a_change_says_who_made_it_where_that_is_known(rec, who):
    assert row(rec)["_by"] == who


def test_a_pointer_is_no_change():
    assert change_from_record(record(new={"entity": {"S": "_pointer"}}), CONTRACTS) is None


@pytest.mark.parametrize(
    ("rec", "reason"),
    [
        ({}, "expected a DynamoDB stream record"),
        (record("MODIFY"), "expected an image"),
        (record("REMOVE", new=image()), "expected an image"),
        (record("UPSERT", new=image()), "expected a DynamoDB stream record"),
        (record(new={"pk": {"S": "x"}}), "attribute `entity`"),
        (record(new={"entity": {"S": "goods"}}), "no contract of origin stream for entity 'goods'"),
        (record(new={"entity": {"S": "countries"}}), "no contract of origin stream"),
        ({**record(new=image()), "dynamodb": {**record(new=image())["dynamodb"], "SequenceNumber": "x"}}, "digits"),
    ],
)
def test_what_cannot_be_mapped_says_why(rec, reason):
    with pytest.raises(UnmappableRecord, match=reason):
        change_from_record(rec, CONTRACTS)


def test_an_item_of_an_export_that_is_marked_deleted_is_a_removal():
    read_at = datetime.fromtimestamp(NOW / 1_000_000, UTC)
    for more, operation in (({}, "snapshot"), (DELETED, "remove"), ({"_deleted": {"BOOL": False}}, "snapshot")):
        mapped = change_from_item(image(**more), CONTRACTS, event_id="e1", read_at=read_at)
        assert mapped is not None
        assert mapped[1]["_op"] == operation


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false")])
def test_a_boolean_is_written_out(value, text):
    customer = {"entity": {"S": "customers"}, "customer_id": {"S": "c-1"}, "marketing_consent": {"BOOL": value}}
    mapped = change_from_record(record("INSERT", new=customer), CONTRACTS)
    assert mapped is not None
    assert mapped[1]["marketing_consent"] == text


def test_a_row_says_the_contract_that_its_item_was_written_by():
    assert row(record("INSERT", new=image(_contract={"S": "0.9.0"})))["_contract"] == "0.9.0"
    unsaid = {name: value for name, value in image().items() if name != "_contract"}
    assert row(record("INSERT", new=unsaid))["_contract"] == CONTRACTS["orders"].version
