"""Whom an entity's rows are about: what a contract may say of their erasure, and what is refused."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from contracts import ContractError, Contracts, load_contracts, parse_contract
from contracts.compact import dump_compact, load_compact
from contracts.compatibility import IncompatibleContract, check_compatible
from contracts.loader import ENTITIES
from contracts.model import Erasure, Transition

ADDRESSES = yaml.safe_load((ENTITIES / "shipping_addresses.yaml").read_text())


def addresses(erasure: object = None, **custom: object):
    document = copy.deepcopy(ADDRESSES)
    properties = document["schema"][0]["customProperties"]
    if erasure is not None:
        properties[:] = [p for p in properties if p["property"] != "erasure"]
        properties.append({"property": "erasure", "value": erasure})
    properties += [{"property": name, "value": value} for name, value in custom.items() if name != "transition"]
    if "transition" in custom:
        document["slaProperties"].append({"property": "transition", "value": custom["transition"], "unit": "d"})
    return parse_contract(document)


def test_every_reference_to_a_customer_names_a_person():
    contracts = load_contracts()
    assert contracts["customers"].erasure == Erasure(("customer_id",), "delete")
    for contract in contracts.values():
        referring = {r.field for r in contract.relations if r.entity == "customers"}
        named = set(contract.erasure.persons if contract.erasure else ())
        assert referring <= named, contract.name


def test_what_is_personal_goes_and_the_rest_stays():
    contract = addresses()
    treated = {name: contract.treatment(name, "customer_id") for name in contract.field_names}
    assert {name for name, how in treated.items() if how == "null"} == {"recipient", "street", "postal_code"}
    assert treated["customer_id"] == "pseudonym"
    assert {treated[name] for name in ("address_id", "city", "country_code")} == {"keep"}


def test_of_two_persons_in_a_row_only_the_one_is_touched():
    orders = load_contracts()["orders"]
    assert orders.treatment("seller_id", "buyer_id") == "keep"
    assert orders.treatment("buyer_id", "buyer_id") == "pseudonym"
    assert orders.treatment("hammer_price", "seller_id") == "keep"


def test_what_is_personal_in_a_part_is_personal_as_a_whole():
    document = yaml.safe_load((ENTITIES / "orders.yaml").read_text())
    (schema,) = document["schema"]
    (fees,) = (p for p in schema["properties"] if p["name"] == "fees")
    fees["items"]["properties"][0]["classification"] = "personal"
    with pytest.raises(ContractError, match="fees is personal"):
        parse_contract(document)
    (erasure,) = (p["value"] for p in schema["customProperties"] if p["property"] == "erasure")
    erasure["of"] = {"fees": "buyer_id"}
    orders = parse_contract(document)
    assert orders.personal == ("fees",)
    assert (orders.treatment("fees", "buyer_id"), orders.treatment("fees", "seller_id")) == ("null", "keep")


def test_treatments_can_be_chosen():
    contract = addresses({"persons": ["customer_id"], "fields": {"street": "keep", "city": "null"}})
    assert contract.treatment("street", "customer_id") == "keep"
    assert contract.treatment("city", "customer_id") == "null"


@pytest.mark.parametrize(
    ("erasure", "message"),
    [
        ({}, "erasure: expected persons"),
        ({"persons": []}, "at least one field in persons"),
        ({"persons": ["customer"]}, "names customer, which is no field"),
        ({"persons": ["customer_id"], "who": 1}, "found who"),
        ({"persons": ["customer_id"], "rows": "shred"}, "found 'shred'"),
        ({"persons": ["customer_id"], "rows": "delete"}, "only where the one person is in the primary key"),
        ({"persons": ["address_id"]}, "address_id says where a row is"),
        ({"persons": ["customer_id"], "fields": {"customer_id": "null"}}, None),
        ({"persons": ["customer_id"], "fields": {"country_code": "pseudonym"}}, "country_code: a pseudonym needs"),
        ({"persons": ["customer_id"], "fields": {"postal_code": "pseudonym"}}, "postal_code: a pseudonym needs"),
        ({"persons": ["customer_id"], "fields": {"street": "blur"}}, "street: expected an erasure by"),
        ({"persons": ["customer_id", "city"]}, "recipient is personal: .* which of several persons"),
        ({"persons": ["customer_id"], "of": {"street": "city"}}, "expected fields of persons, found city"),
    ],
)
def test_what_could_not_be_erased_is_refused(erasure, message):
    if message is None:  # an identity always gets a pseudonym, whatever is said of the field
        assert addresses(erasure).treatment("customer_id", "customer_id") == "pseudonym"
        return
    with pytest.raises(ContractError, match=message):
        addresses(erasure)


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({"transition": 9000}, "transition: expected fewer days than the retention"),
        ({"transition": 400, "storageClass": "TAPE"}, "storageClass: expected STANDARD_IA"),
        ({"legalHold": "yes"}, "legalHold: expected true or false"),
    ],
)
def test_a_retention_that_cannot_be_kept_is_refused(custom, message):
    with pytest.raises(ContractError, match=message):
        addresses(**custom)


def test_the_compact_form_has_erasure_transition_and_hold():
    contract = addresses(
        {"persons": ["customer_id"], "fields": {"city": "null"}, "of": {"street": "customer_id"}},
        transition=400,
        storageClass="GLACIER",
        legalHold=True,
    )
    assert contract.transition == Transition(400, "GLACIER")
    assert contract.legal_hold
    assert load_compact(dump_compact(Contracts({contract.name: contract})))[contract.name] == contract


def test_a_person_once_named_stays_named():
    contract = addresses()
    with pytest.raises(IncompatibleContract, match="persons to name customer_id as before"):
        check_compatible(contract, replace(contract, erasure=None))
    check_compatible(replace(contract, erasure=None), contract)


def test_a_reference_to_a_person_names_one_without_a_word(tmp_path: Path):
    for name in ("countries", "customers", "shipping_addresses"):
        text = (ENTITIES / f"{name}.yaml").read_text()
        if name == "shipping_addresses":
            text = text.replace("persons: [customer_id]", "persons: [city]")
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(ContractError, match="customer_id refers to a person: expected it in"):
        load_contracts(tmp_path)
    text = (ENTITIES / "shipping_addresses.yaml").read_text()
    start = text.index("      - property: erasure")
    end = text.index("      - property:", start + 10)
    (tmp_path / "shipping_addresses.yaml").write_text(text[:start] + text[end:])
    assert load_contracts(tmp_path)["shipping_addresses"].erasure == Erasure(("customer_id",))
