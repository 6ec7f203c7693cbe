"""What contracts say of privacy and quality, in the dbt files that are written from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import Contracts, load_contracts
from contracts.dbt import generate, write
from contracts.loader import ENTITIES

PRIVATE = """      - name: born_on
        logicalType: date
        physicalType: date
        description: Day of birth.
        classification: personal
        customProperties:
          - {property: fieldId, value: 40}
      - name: contacts
        logicalType: array
        physicalType: array<struct<kind:string,number:string>>
        description: Ways to reach the customer.
        items:
          logicalType: object
          physicalType: struct
          customProperties:
            - {property: fieldId, value: 41}
          properties:
            - name: kind
              logicalType: string
              physicalType: string
              description: What it is.
              customProperties:
                - {property: fieldId, value: 42}
            - name: number
              logicalType: string
              physicalType: string
              description: The number.
              classification: personal
              customProperties:
                - {property: fieldId, value: 43}
        customProperties:
          - {property: fieldId, value: 44}
      - name: kind
"""


@pytest.fixture
def changed(tmp_path: Path) -> Contracts:
    """The product's contracts, with customers that have more personal data: a day, and a part of a nested record."""
    shutil.copytree(ENTITIES, tmp_path / "entities")
    path = tmp_path / "entities" / "customers.yaml"
    path.write_text(path.read_text("utf-8").replace("      - name: kind\n", PRIVATE, 1), "utf-8")
    return load_contracts(tmp_path / "entities")


def properties(files: dict[str, str], name: str) -> dict[str, Any]:
    """What the YAML files say of a model."""
    documents = [yaml.safe_load(text) for path, text in files.items() if path.endswith(".yml")]
    (found,) = (model for document in documents for model in document.get("models", []) if model["name"] == name)
    return dict(found)


def test_personal_data_of_any_type_is_masked_and_apart(changed: Contracts) -> None:
    """A field is personal when it or a part of it is; what has no text reads as null, and no dimension shows it."""
    files = generate(changed)
    staging = files["models/staging/stg_customers.sql"]
    assert "{{ masked('email') }} as email" in staging
    assert "{{ hidden('born_on') }} as born_on" in staging
    assert "{{ hidden('contacts') }} as contacts" in staging
    assert "\n    kind,\n" in staging
    assert "    born_on,\n    contacts\n" in files["models/staging/personal/personal_customers.sql"]
    assert "'kind'" in files["macros/dimension_attributes.sql"]
    for attribute in ("born_on", "contacts", "email"):
        assert f"'{attribute}'" not in files["macros/dimension_attributes.sql"]
        assert attribute not in {c["name"] for c in properties(files, "dim_customer")["columns"]}


def test_views_of_plain_personal_data_may_be_read_by_no_model(changed: Contracts) -> None:
    """dbt refuses a reference to a private model from another group, and no other model is in this one."""
    files = generate(changed)
    grouped = {
        model["name"]: model["config"]["access"]
        for path, text in files.items()
        if path.endswith(".yml")
        for model in yaml.safe_load(text).get("models", [])
        if model.get("config", {}).get("group") == "personal"
    }
    assert grouped == {"personal_customers": "private", "personal_shipping_addresses": "private"}


def test_an_entity_without_personal_data_any_more_loses_its_view(changed: Contracts, tmp_path: Path) -> None:
    """A view that nothing is left for does not stay behind."""
    project = tmp_path / "project"
    write(changed, project)
    view = project / "models/staging/personal/personal_shipping_addresses.sql"
    assert view.exists()
    path = tmp_path / "entities" / "shipping_addresses.yaml"
    path.write_text(path.read_text("utf-8").replace("classification: personal", "classification: internal"), "utf-8")
    assert view in write(load_contracts(tmp_path / "entities"), project)
    assert not view.exists()


def test_staging_is_tested_by_what_the_contract_says() -> None:
    """Required and enumerated fields are one test of all rows; a relationship is a warning of the night."""
    files = generate(load_contracts())
    payments = properties(files, "stg_payments")
    (promise,) = (t["as_contracted"]["arguments"] for t in payments["data_tests"] if "as_contracted" in t)
    assert {"order_id", "kind", "status", "amount"} <= set(promise["required"])
    assert promise["values"]["kind"] == ["capture", "refund"]
    assert "payment_id" not in promise["required"], "the primary key has a test of its own"
    assert [t["config"]["tags"] for test in payments["data_tests"] for t in test.values()] == [["proven"]] * 2
    columns = {column["name"]: column for column in payments["columns"]}
    (relationship,) = columns["order_id"]["data_tests"]
    assert relationship["relationships"]["arguments"] == {"to": "ref('stg_orders')", "field": "order_id"}
    assert relationship["relationships"]["config"] == {"severity": "warn", "tags": ["nightly"]}
    customers = properties(files, "stg_customers")
    (promise,) = (t["as_contracted"]["arguments"] for t in customers["data_tests"] if "as_contracted" in t)
    assert not {"name", "email", "phone"} & {*promise["required"], *promise["values"]}, "a mask tells nothing"


def test_published_tables_are_late_by_their_contract() -> None:
    """Freshness is measured by the watermark, not by the newest row: quiet is not late."""
    source = yaml.safe_load(generate(load_contracts())["models/staging/_sources.yml"])["sources"][0]
    tables = {table["name"]: table.get("config", {}) for table in source["tables"]}
    assert tables["orders"]["freshness"]["warn_after"] == {"count": 15, "period": "minute"}
    assert tables["orders"]["freshness"]["error_after"] == {"count": 60, "period": "minute"}
    assert "published_watermarks({'orders': this})" in tables["orders"]["loaded_at_query"]
    assert "freshness" not in tables["orders_changes"], "published together with its table"
