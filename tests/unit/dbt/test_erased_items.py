"""A dimension of persons loses those who were erased, whose rows and history are gone without a tombstone."""

from __future__ import annotations

from contracts import load_contracts
from contracts.dbt import PROJECT, dimension_name


def test_every_dimension_whose_rows_an_erasure_deletes_deletes_them_too() -> None:
    persons = [c for c in load_contracts().values() if c.dimension and c.erasure and c.erasure.rows == "delete"]
    assert persons
    for contract in persons:
        (model,) = (PROJECT / "models").rglob(f"{dimension_name(contract)}.sql")
        key, name = contract.primary_key[0], contract.name
        assert f"delete_erased('{key}', ref('stg_{name}'), ref('stg_{name}__changes'))" in model.read_text("utf-8")
