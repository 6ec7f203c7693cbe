"""Loading contracts: what is accepted, and that what is refused is refused with file, place, expected and found."""

import copy
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from contracts import ContractError, Contracts, load_contracts, parse_contract
from contracts.compact import dump_compact, load_compact
from contracts.dbt.dimensions import _HISTORY_COLUMNS
from contracts.loader import ENTITIES
from contracts.names import HISTORY, MAX_ENTITY, RESERVED_WORDS, problem_of_entity

DOCUMENT = yaml.safe_load((ENTITIES / "orders.yaml").read_text())


def property_of(document: dict, name: str) -> dict:
    return next(p for p in document["schema"][0]["properties"] if p["name"] == name)


def custom_of(element: dict, name: str) -> dict:
    return next(p for p in element["customProperties"] if p["property"] == name)


def test_every_entity_of_the_product_loads():
    contracts = load_contracts()
    assert set(contracts) == {path.stem for path in ENTITIES.glob("*.yaml")}
    assert "countries" in {c.name for c in contracts.of_origin("files")}
    assert contracts["orders"].immutable == {"order_id", "placed_at"}
    assert contracts["payments"].needs_pointer
    assert not contracts["order_lines"].needs_pointer
    assert contracts["customers"].personal == ("name", "email", "phone")


def test_every_field_is_described_and_has_its_own_id():
    for contract in load_contracts().values():
        assert contract.description, contract.name
        assert contract.owner, contract.name
        for field in contract.fields:
            assert field.description, f"{contract.name}.{field.name}"


def test_the_compact_form_that_lambdas_carry_holds_everything():
    contracts = load_contracts()
    restored = load_compact(dump_compact(contracts))
    assert dict(restored) == dict(contracts)
    assert dump_compact(restored) == dump_compact(contracts)


def test_the_engine_is_one_line_of_the_contract_and_survives_the_compact_form():
    document = copy.deepcopy(DOCUMENT)
    assert parse_contract(document).engine == "embedded"
    document["schema"][0]["customProperties"].append({"property": "engine", "value": "athena"})
    contract = parse_contract(document)
    assert contract.engine == "athena"
    assert load_compact(dump_compact(Contracts({contract.name: contract})))[contract.name] == contract


def test_a_compact_document_of_another_format_is_refused():
    with pytest.raises(ContractError, match="expected format 1, found 0; build the bundle again"):
        load_compact(b'{"format":0,"contracts":[]}')


def broken(change) -> dict:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("version"), r'orders.yaml: at the top: "version" is a required'),
        (lambda d: d.update(contractCreatedTs=date(2026, 1, 1)), r"expected text, numbers .*put dates in quotes"),
        (lambda d: d.update(kind="Table"), r"orders.yaml: at kind: .*DataContract"),
        (lambda d: d.update(version="1"), r"expected `version` like 1.0.0, found '1'"),
        (
            lambda d: d["schema"][0]["customProperties"].append({"property": "engine", "value": "spark"}),
            r"engine: expected embedded or athena, found 'spark'",
        ),
        (
            lambda d: d["schema"][0]["customProperties"].append({"property": "dimension", "value": "dim order"}),
            r"dimension: expected a lower-case identifier, found 'dim order'",
        ),
        (lambda d: d["schema"].clear(), r"expected exactly one table"),
        (lambda d: property_of(d, "hammer_price").update(physicalType="float"), r"hammer_price: .*never float"),
        (lambda d: property_of(d, "hammer_price").update(physicalType="decimal(39,2)"), r"precision <= 38"),
        (lambda d: property_of(d, "buyer_id")["customProperties"].clear(), r"buyer_id: expected .*fieldId"),
        (lambda d: custom_of(property_of(d, "buyer_id"), "fieldId").update(value=1), r"fieldId \[1\] is used more"),
        (lambda d: property_of(d, "order_id").update(required=False), r"order_id: a field of the primary key"),
        (lambda d: property_of(d, "order_id").update(primaryKey=False), r"no field has primaryKey"),
        (lambda d: property_of(d, "placed_at").update(required=False), r"placed_at: the partition's field"),
        (lambda d: property_of(d, "status").update(classification="secret"), r"status: expected classification"),
        (lambda d: property_of(d, "status").update(name="Status!"), r"lower-case identifier"),
        (lambda d: d["slaProperties"].clear(), r"slaProperties: expected a property retention"),
        (lambda d: custom_of(d["schema"][0], "dynamodb").update(value={"pk": "X"}), r"dynamodb: expected pk, sk"),
        (
            lambda d: custom_of(d["schema"][0], "dynamodb")["value"].update(pk="ORDER#{ordr_id}"),
            r"dynamodb names ordr_id, which is no field of orders",
        ),
        (lambda d: custom_of(d["schema"][0], "origin").update(value="kafka"), r"expected stream or files"),
        (lambda d: custom_of(d["schema"][0], "origin").update(value="files"), r"origin files needs .*ordering"),
        (lambda d: d["schema"][0]["customProperties"].append({"property": "sorted", "value": 1}), r"has sorted"),
    ],
)
def test_a_contract_that_cannot_be_used_is_refused_with_the_place(change, message):
    with pytest.raises(ContractError, match=message):
        parse_contract(broken(change), where="orders.yaml")


def test_the_file_names_the_entity(tmp_path: Path):
    (tmp_path / "sales.yaml").write_text((ENTITIES / "countries.yaml").read_text())
    with pytest.raises(ContractError, match=r"sales.yaml: expected name: sales .*found countries"):
        load_contracts(tmp_path)


def test_two_entities_cannot_make_the_same_dimension(tmp_path: Path):
    text = (ENTITIES / "countries.yaml").read_text()
    (tmp_path / "countries.yaml").write_text(text)
    (tmp_path / "regions.yaml").write_text(re.sub(r"\bcountries\b", "regions", text))
    with pytest.raises(ContractError, match=r"regions.yaml: .*dimension: .* found 'country', which countries has"):
        load_contracts(tmp_path)


def test_a_relationship_must_lead_somewhere(tmp_path: Path):
    (tmp_path / "orders.yaml").write_text((ENTITIES / "orders.yaml").read_text())
    with pytest.raises(ContractError, match=r"orders.yaml: buyer_id: relationship to customers.customer_id"):
        load_contracts(tmp_path)


def test_a_folder_without_contracts_is_refused(tmp_path: Path):
    with pytest.raises(ContractError, match="found none"):
        load_contracts(tmp_path)


def test_broken_yaml_is_named(tmp_path: Path):
    (tmp_path / "orders.yaml").write_text("name: [")
    with pytest.raises(ContractError, match=r"orders.yaml: not valid YAML"):
        load_contracts(tmp_path)


def with_field(name: str, **more) -> dict:
    def add(document: dict) -> None:
        document["schema"][0]["properties"].append(
            {
                "name": name,
                "logicalType": "string",
                "customProperties": [{"property": "fieldId", "value": 900}],
                **more,
            }
        )

    return broken(add)


LAYERS = [
    "specversion",
    "filename",
    "file_row_number",
    "file_index",
    "rowid",
    "ctid",
    "xmax",
    "tableoid",
    "current_role",
    "pk",
    "sk",
    "entity",
    "ttl",
    "buyer_pk",
    "seller_sk",
    "dt",
    "hh",
    "order",
    "qualify",
    "date",
    "dbt_valid_to",
]


@pytest.mark.parametrize("name", LAYERS)
def test_a_field_that_a_layer_would_misread_is_refused_with_what_to_write(name):
    with pytest.raises(ContractError, match=rf"orders.yaml: {name} .*; write \w+") as refusal:
        parse_contract(with_field(name), where="orders.yaml")
    proposed = str(refusal.value).rpartition("write ")[2]
    assert parse_contract(with_field(proposed)).field(proposed)


@pytest.mark.parametrize("name", ["pk", "order", "dt"])
def test_a_member_of_a_nested_field_is_looked_at_too(name):
    member = {"name": name, "logicalType": "string", "customProperties": [{"property": "fieldId", "value": 902}]}
    struct = {
        "logicalType": "object",
        "properties": [member],
        "customProperties": [{"property": "fieldId", "value": 901}],
    }
    with pytest.raises(ContractError, match=rf"{name} is .*; write orders_\w+"):
        parse_contract(with_field("parts", logicalType="array", items=struct))


@pytest.mark.parametrize(
    "name",
    [
        *("table", "stg_bids", "dim_customer", "bids_changes", "imports", "parties", "status", "entities"),
        *("watermarks", "publication_log", "parity_log", "marts", "unknown", "a" * 53),
    ],
)
def test_an_entity_cannot_have_the_name_of_what_is_made_of_entities(name):
    def rename(document: dict) -> None:
        document["name"] = document["schema"][0]["name"] = name

    with pytest.raises(ContractError, match=rf"{name} .*; write \w+"):
        parse_contract(broken(rename))


def test_an_alias_is_no_name_that_the_system_reads():
    def add(document: dict) -> None:
        custom_of(property_of(document, "status"), "aliases")["value"].append("_deleted")

    with pytest.raises(ContractError, match="alias _deleted of status begins with _"):
        parse_contract(broken(add))


def test_the_reserved_words_are_those_of_the_engine():
    import duckdb

    words = duckdb.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    assert {word for (word,) in words} <= RESERVED_WORDS


def test_every_problem_of_every_contract_is_reported_at_once(tmp_path: Path):
    def spoil(document: dict) -> None:
        property_of(document, "status").update(classification="secret")
        property_of(document, "hammer_price").update(physicalType="float")
        property_of(document, "buyer_id")["customProperties"].clear()
        document["slaProperties"].clear()
        document["version"] = "1"

    (tmp_path / "orders.yaml").write_text(yaml.safe_dump(broken(spoil)))
    (tmp_path / "bids.yaml").write_text("schema: [\n  unfinished")
    (tmp_path / "lots.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ContractError) as refusal:
        load_contracts(tmp_path)
    lines = str(refusal.value)
    for expected in (
        "bids.yaml: not valid YAML", "lots.yaml: not valid YAML", "orders.yaml: status: expected classification",
        "orders.yaml: hammer_price", "orders.yaml: buyer_id: expected customProperties fieldId",
        "slaProperties: expected a property retention", "slaProperties: expected a property freshness",
        "expected `version` like 1.0.0",
    ):  # fmt: skip
        assert expected in lines


def test_what_does_not_fit_together_is_reported_at_once():
    def spoil(document: dict) -> None:
        custom_of(property_of(document, "buyer_id"), "fieldId").update(value=1)
        property_of(document, "placed_at").update(required=False)
        custom_of(document["schema"][0], "dynamodb")["value"].update(pk="ORDER#{ordr_id}")

    with pytest.raises(ContractError) as refusal:
        parse_contract(broken(spoil))
    assert len(str(refusal.value).splitlines()) == 3


def test_two_names_that_are_one_to_cloudformation_are_refused(tmp_path: Path):
    for name in ("virtual_requests", "virtualrequests"):
        text = (ENTITIES / "virtual_requests.yaml").read_text().replace("virtual_requests", name)
        (tmp_path / f"{name}.yaml").write_text(text)
    for name in ("lots", "customers"):
        (tmp_path / f"{name}.yaml").write_text((ENTITIES / f"{name}.yaml").read_text())
    with pytest.raises(ContractError, match="expected a name that differs from virtual_requests by more than _"):
        load_contracts(tmp_path)


def test_every_name_that_the_template_makes_of_an_entity_is_short_enough():
    template = (ENTITIES.parents[1] / "realtime" / "template.yaml").read_text()
    (allowed,) = re.findall(r"Environment:\n    Type: String\n    AllowedValues: \[(.*)\]", template)
    (name,) = re.findall(r"DeliveryStreamName: !Sub \"(.*)\"", template)
    for environment in allowed.split(", "):
        made = name.replace("${Environment}", environment).replace("${Entity}", "a" * MAX_ENTITY)
        assert len(made) <= 64


def test_the_paths_of_the_api_are_no_entities():
    template = (ENTITIES.parents[1] / "realtime" / "template.yaml").read_text()
    paths = {p.split("/")[1] for p in re.findall(r'\bPath: "?(/[^,"]+)', template)}
    for name in paths - {"{entity}", "openapi.json"}:
        assert problem_of_entity(name), name


ALIASES = {"outdated", "newest", "known", "items", "absent"}
"""Names of tables in the macros, which stand before each of their columns."""


def test_no_field_of_a_dimension_is_called_like_a_column_of_its_history():
    macro = (ENTITIES.parents[1] / "dbt_project" / "macros" / "history.sql").read_text()
    code = re.sub(r"\{#.*?#\}", "", macro, flags=re.DOTALL)
    columns = set(re.findall(r"\bas ([a-z][a-z0-9_]*)\b", code)) | {n for n in _HISTORY_COLUMNS if n[0] != "_"}
    made = columns - set(re.findall(r"\b([a-z_]+) as \(", code)) - {"varchar", "bigint", *ALIASES}
    assert made <= HISTORY, sorted(made - HISTORY)
    for name in sorted(HISTORY):
        document = copy.deepcopy(yaml.safe_load((ENTITIES / "customers.yaml").read_text()))
        field = {"name": name, "logicalType": "string", "customProperties": [{"property": "fieldId", "value": 900}]}
        document["schema"][0]["properties"].append(field)
        with pytest.raises(ContractError, match=f"{name} is a column of a dimension's history; write customers_{name}"):
            parse_contract(document)
        assert parse_contract(with_field(name)).field(name), "others may have it"


def test_a_name_is_once_in_a_record():
    def member(number: int) -> dict:
        return {"name": "a", "logicalType": "string", "customProperties": [{"property": "fieldId", "value": number}]}

    with pytest.raises(ContractError, match="members \\['a'\\] are there more than once"):
        parse_contract(with_field("parts", logicalType="object", properties=[member(901), member(902)]))


def test_an_alias_that_says_what_a_cloudevent_is_is_refused():
    def add(document: dict) -> None:
        custom_of(property_of(document, "status"), "aliases")["value"].append("specversion")

    with pytest.raises(ContractError, match="alias specversion of status says"):
        parse_contract(broken(add))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, name
        yield from places(value[name])


JUNK = [
    None, True, 0, -1, 10**30, 1.5, "", "x", "order_id", "_x", "A B", "{order_id}", "{", "{nothing}", [], ["x"], [1],
    [None], [{}], {}, {"x": 1}, {"property": "x", "value": 1}, [["x"]], "9" * 80, "(?P<",
]  # fmt: skip


@pytest.mark.parametrize("entity", ["orders", "estimates", "bids", "countries", "customers"])
def test_whatever_stands_in_a_contract_is_used_or_refused(entity: str):
    """Each value of a contract in turn is something else, or not there."""
    whole = yaml.safe_load((ENTITIES / f"{entity}.yaml").read_text())
    count = len(list(places(whole)))
    random = Random(entity)
    for number in random.sample(range(count), min(count, 150)):
        for junk in random.sample([*JUNK, "nothing at all"], 4):
            document = copy.deepcopy(whole)
            holder, name = list(places(document))[number]
            if junk == "nothing at all":
                del holder[name]
            else:
                holder[name] = junk
            with suppress(ContractError):
                parse_contract(document)
