"""Everything that the documentation site shows is described, and every consumer of the models is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from contracts.dbt import PROJECT


def documents() -> Iterator[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in (PROJECT / "models").rglob("*.yml"):
        yield yaml.load(path.read_text("utf-8"), loader)  # a safe loader, the quick one where there is one


def described() -> Iterator[tuple[str, dict[str, Any]]]:
    """Whatever has a description, by a name to find it."""
    for document in documents():
        tables = [table for source in document.get("sources", []) for table in source["tables"]]
        for owner in (
            *document.get("sources", []),
            *tables,
            *document.get("models", []),
            *document.get("exposures", []),
        ):
            yield owner["name"], owner
            for column in owner.get("columns", []):
                yield f"{owner['name']}.{column['name']}", column


def layers() -> dict[str, str]:
    """The folder below `models/` that each model is in."""
    models = PROJECT / "models"
    return {path.stem: path.relative_to(models).parts[0] for path in models.rglob("*.sql")}


def test_nothing_is_without_a_description() -> None:
    found = dict(described())
    assert {"catalog", "orders.hammer_price", "fct_orders.house_earnings", "report_page"} <= set(found)
    assert [name for name, thing in found.items() if not str(thing.get("description") or "").strip()] == []


def test_every_model_is_described_and_every_report_has_a_reader() -> None:
    models = layers()
    assert set(models) <= {name for name, _ in described()}
    exposures = [exposure for document in documents() for exposure in document.get("exposures", [])]
    read = {name for exposure in exposures for name in exposure["depends_on"]}
    assert [m for m, layer in models.items() if layer == "reports" and f"ref('{m}')" not in read] == []


def test_a_models_name_says_its_layer() -> None:
    prefixes = {
        "staging": ("stg_", "personal_"),
        "intermediate": ("int_",),
        "marts": ("dim_", "fct_"),
        "reports": ("rpt_",),
    }
    assert [name for name, layer in layers().items() if not name.startswith(prefixes[layer])] == []


def test_no_model_is_longer_than_a_person_reads_at_once() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in (PROJECT / "models").rglob("*.sql")}
    assert {name: lines for name, lines in lengths.items() if lines > 120} == {}


def test_each_model_has_its_yaml_beside_it_and_no_other_model_in_it() -> None:
    models = list((PROJECT / "models").rglob("*.sql"))
    assert len(models) > 40
    for path in models:
        document = yaml.safe_load(path.with_suffix(".yml").read_text("utf-8"))
        assert [model["name"] for model in document["models"]] == [path.stem], path
        tested = {test["model"] for test in document.get("unit_tests", ())}
        assert tested <= {path.stem}, path


def test_every_consumer_has_an_owner_to_write_to_and_a_lag() -> None:
    exposures = [exposure for document in documents() for exposure in document.get("exposures", [])]
    assert len(exposures) > 3
    for exposure in exposures:
        assert "@" in exposure["owner"]["email"], exposure["name"]
        assert exposure["config"]["meta"]["maximum_lag_minutes"] > 0, exposure["name"]
