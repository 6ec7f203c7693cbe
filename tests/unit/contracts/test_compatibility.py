"""Changes of a contract: what may follow what, and that a refusal lists every reason."""

from dataclasses import replace
from decimal import Decimal

import pytest

from contracts import Contracts, load_contracts
from contracts.compatibility import IncompatibleContract, check_all_compatible, check_compatible
from contracts.types import DecimalType, Field, IntegerType, StringType

OLD = load_contracts()["orders"]


def changed(name: str, /, **changes):
    fields = tuple(replace(f, **changes) if f.name == name else f for f in OLD.fields)
    return replace(OLD, version="1.1.0", fields=fields)


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        replace(OLD, description="Other words.", owner="finance"),
        replace(OLD, fields=tuple(replace(f, description="Other words.") for f in OLD.fields)),
        replace(OLD, version="1.1.0", fields=(*OLD.fields, Field("channel", 99, StringType()))),
        changed("hammer_price", type=DecimalType(18, 2)),
        changed("order_id", max_length=128),
        changed("status", enum=(*OLD.field("status").enum, "disputed")),
        changed("status", enum=()),
        changed("buyer_id", aliases=("KUNDE",)),
        changed("hammer_price", required=False),
    ],
)
def test_what_keeps_readers_and_rows_right_is_allowed(new):
    check_compatible(OLD, new)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (replace(OLD, version="2.0.0", fields=OLD.fields[:-2] + OLD.fields[-1:]), "quote_version: dropped"),
        (changed("buyer_id", name="purchaser_id"), "buyer_id: renamed to purchaser_id"),
        (changed("hammer_price", type=DecimalType(12, 2)), r"decimal\(14,2\) cannot become decimal\(12,2\)"),
        (changed("hammer_price", type=DecimalType(16, 4)), "wider decimal of the same scale"),
        (changed("quote_version", type=StringType()), "integer cannot become string"),
        (changed("quote_number", type=IntegerType()), "string cannot become integer"),
        (changed("lot_id", required=True), "cannot become required"),
        (changed("status", enum=("placed",)), "values cancelled, completed, .* refused"),
        (changed("quote_number", enum=("a",)), "values beyond the list refused"),
        (changed("order_id", max_length=10), "maxLength narrowed from 64 to 10"),
        (changed("hammer_price", minimum=Decimal(1)), "minimum narrowed from 0 to 1"),
        (changed("buyer_id", field_id=98), "expected fieldId 2 as before, found 98"),
        (replace(OLD, version="2.0.0", primary_key=("order_id", "buyer_id")), "primary key"),
        (replace(OLD, version="2.0.0", partition=None), "partition"),
        (
            replace(OLD, version="1.1.0", fields=(*OLD.fields, Field("channel", 99, StringType(), required=True))),
            "a new field must not be required",
        ),
        (
            replace(OLD, fields=(*OLD.fields, Field("channel", 99, StringType()))),
            "version: expected one above 1.0.0, found 1.0.0",
        ),
    ],
)
def test_what_would_break_readers_or_rows_is_refused_with_the_reason(new, reason):
    with pytest.raises(IncompatibleContract, match=reason) as refusal:
        check_compatible(OLD, new)
    assert "Add a new field beside the old one" in str(refusal.value)


def test_a_contract_cannot_vanish():
    with pytest.raises(IncompatibleContract, match="orders: the contract is gone"):
        check_all_compatible(Contracts({"orders": OLD}), Contracts({}))


def test_versions_are_numbers_and_no_text():
    new = changed("lot_id", required=False, max_length=200)
    check_compatible(replace(OLD, version="1.9.0"), replace(new, version="1.10.0"))
    with pytest.raises(IncompatibleContract, match="expected one above"):
        check_compatible(replace(OLD, version="1.10.0"), replace(new, version="1.9.0"))


def test_personal_data_stays_personal():
    old = load_contracts()["customers"]
    name = next(field.name for field in old.fields if field.classification == "personal")
    fields = tuple(replace(f, classification="internal") if f.name == name else f for f in old.fields)
    with pytest.raises(IncompatibleContract, match=f"{name}: personal data cannot be declared internal"):
        check_compatible(old, replace(old, version="99.0.0", fields=fields))
