"""`make models`: what changed since a manifest is built and tested with what reads it, and no more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.dbt import PROJECT
from tests.models import building
from tests.models.building import ModelsFail, Project, beside, build, parsed

MODELS = {
    "_models.yml": """
sources:
  - name: catalog
    database: "{{ target.database }}"
    tables: [{name: orders}, {name: payments}]
models:
  - name: paid
    columns: [{name: amount, data_tests: [not_null]}]
unit_tests:
  - name: amounts_are_added
    model: paid
    given: [{input: ref('stg_payments'), rows: [{amount: 1}, {amount: 2}]}]
    expect: {rows: [{amount: 3}]}
""",
    "stg_orders.sql": "select * from {{ source('catalog', 'orders') }}",
    "stg_payments.sql": "{{ config(materialized='table') }} select * from {{ source('catalog', 'payments') }}",
    "paid.sql": "select sum(amount) as amount from {{ ref('stg_payments') }}",
    "again.sql": "select amount from {{ ref('paid') }} cross join {{ ref('stg_orders') }}",
    "alone.sql": "select 1 as one",
}


@pytest.fixture
def project(
    new_slice: Callable[[], Any], tmp_path: Path, dbt_program: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A small project with the settings and macros of the real one, what lies beside it, and a slice."""
    monkeypatch.setattr(building, "DBT", dbt_program)
    copy = tmp_path / "project"
    shutil.copytree(PROJECT / "macros", copy / "macros")
    shutil.copy(PROJECT / "profiles.yml", copy)
    settings = (PROJECT / "dbt_project.yml").read_text("utf-8").replace('  - "{{ pin_watermarks() }}"\n', "")
    (copy / "dbt_project.yml").write_text(settings, "utf-8")
    (copy / "models" / "staging").mkdir(parents=True)
    for name, text in MODELS.items():
        (copy / "models" / "staging" / name).write_text(text, "utf-8")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "lock.txt").write_text("dbt-core==1.11.0\n", "utf-8")
    (tmp_path / "contracts" / "entities").mkdir(parents=True)
    (tmp_path / "contracts" / "entities" / "orders.yaml").write_text("version: 1.0.0\n", "utf-8")
    data = new_slice()
    data.put("orders", order_id="order-1")
    data.put("payments", payment_id="payment-1", order_id="order-1", amount="7.50")
    data.write(tmp_path / "now" / "slice")
    return Project(copy, tmp_path / "now")


def write(project: Project, model: str, text: str) -> None:
    (project.folder / "models" / "staging" / f"{model}.sql").write_text(text, "utf-8")


def test_only_what_changed_is_built_with_its_readers_and_tests(project: Project, tmp_path: Path) -> None:
    state = parsed(Project(project.folder, tmp_path / "then")).parent
    assert build(project, state) == ("what changed and what reads it", [])

    write(project, "paid", "select sum(amount) + 0 as amount from {{ ref('stg_payments') }}")
    _, built = build(project, state)
    assert {name.split(".")[0] for name in built} == {"paid", "again", "not_null_paid_amount"}
    assert any(name.endswith("amounts_are_added") for name in built)

    write(project, "paid", "select 2 * sum(amount) as amount from {{ ref('stg_payments') }}")
    with pytest.raises(ModelsFail, match="amounts_are_added"):
        build(project, state)

    write(project, "paid", "select sum(amounts) as amount from {{ ref('stg_payments') }}")
    with pytest.raises(ModelsFail, match="amounts"):
        build(project, state)


def test_without_an_earlier_manifest_everything_is_built(project: Project, tmp_path: Path) -> None:
    why, built = build(project, tmp_path / "nothing")
    assert why == "no earlier manifest: everything"
    assert {name for name in built if "." not in name} == {"stg_orders", "stg_payments", "paid", "again", "alone"}


def test_settings_contracts_and_versions_are_compared_too(project: Project, tmp_path: Path) -> None:
    """dbt compares files of models and their settings, and neither variables nor what its plugin and the engine are."""
    state = parsed(Project(project.folder, tmp_path / "then")).parent
    digests = {beside(project.folder)}
    for file in ("project/dbt_project.yml", "contracts/entities/orders.yaml", "requirements/lock.txt"):
        with (tmp_path / file).open("a", encoding="utf-8") as opened:
            opened.write("# changed\n")
        digests.add(beside(project.folder))
    assert len(digests) == 4
    why, built = build(project, state)
    assert why == "settings, contracts or versions changed: everything"
    assert "alone" in built
