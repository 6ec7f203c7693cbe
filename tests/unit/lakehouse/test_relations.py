"""What the steps of a batch hand to each other is what `relations` declares: makers, readers, columns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lakehouse
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.parity import relations as parity
from lakehouse.publish.audit import Audited
from lakehouse.results import Check
from lakehouse.storage.lake import Lake
from lakehouse.table import relations
from lakehouse.table.relations import Relation
from tests.support.lakes import PARCELS, Landing, change

ROOT = Path(lakehouse.__file__).parent
DECLARED = {name: value for name, value in vars(relations).items() if isinstance(value, Relation)}
OF_PARITY = {name for name in vars(parity) if not name.startswith("_")} - {"annotations", "quoted"}
"""The tables of a comparison, and the functions that name those of an entity."""
ONLY_WHERE_SOME_ROW_IS_LATE = {"landed"}
ONLY_IN_MAINTENANCE = {"purgeable"}
MADE = re.compile(r"CREATE (?:OR REPLACE )?TEMP (?:TABLE|VIEW) (\S*)$|CREATE (?:OR REPLACE )?TEMP (?:TABLE|VIEW) (\S+)")


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def makes(tree: ast.AST) -> Iterator[str]:
    """The tables that a module makes: the constant of a declared one, or its name as it is written."""
    for node in ast.walk(tree):
        values = node.values if isinstance(node, ast.JoinedStr) else [node]
        for number, value in enumerate(values):
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                continue
            for found in MADE.finditer(value.value):
                name = found.group(1) or found.group(2) or ""
                follows = values[number + 1] if number + 1 < len(values) else None
                if not name and isinstance(follows, ast.FormattedValue):
                    yield ast.unparse(follows.value)
                elif name:
                    yield name


def uses(tree: ast.AST) -> set[str]:
    """The declared relations that a module imports."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "lakehouse.table.relations"
        for alias in node.names
    } & set(DECLARED)


def requested(tree: ast.AST) -> set[str]:
    """Own tables that a module has made by a function of its own, to which it hands the name."""
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).startswith("_")
    }


TREES = {module(p): ast.parse(p.read_text("utf-8")) for p in sorted(ROOT.rglob("*.py"))}


def test_every_table_of_a_batch_is_declared_or_its_module_s_own() -> None:
    found = {name: set(makes(tree)) for name, tree in TREES.items()}
    assert sum(map(len, found.values())) > 25
    for where, names in found.items():
        for name in names:
            fine = name in DECLARED or name.startswith("_") or name == "table"  # a parameter
            fine = fine or (where.startswith("serving.") and name == "{}")  # PostgreSQL's, named by psycopg
            fine = fine or (where.startswith("parity.") and name.partition("(")[0] in OF_PARITY)
            assert fine, f"{where} makes {name}: declare it, or begin it with _"
    for where, tree in TREES.items():
        read = set(re.findall(r"(?:FROM|JOIN|INTO) (_[a-z]+)", ast.unparse(tree)))
        assert read <= found[where] | requested(tree), f"{where} reads {read - found[where]} of another module"


@pytest.mark.parametrize("constant", DECLARED)
def test_who_makes_and_who_reads_a_relation_is_true(constant: str) -> None:
    relation = DECLARED[constant]
    makers = {where for where, tree in TREES.items() if constant in set(makes(tree))}
    assert relation.made_by in makers
    users = {where for where, tree in TREES.items() if constant in uses(tree)}
    assert users == {relation.made_by, *relation.read_by}
    assert makers <= users


def test_relations_have_the_columns_that_are_declared(lake: Lake, landing: Landing) -> None:
    found: dict[str, dict[str, str]] = {}

    def look(audited: Audited) -> Check:
        for relation in DECLARED.values():
            if relation.name not in ONLY_WHERE_SOME_ROW_IS_LATE | ONLY_IN_MAINTENANCE:
                rows = audited.duck.rows(f"SELECT column_name, column_type FROM (DESCRIBE {relation})")
                found[relation.name] = {name: type_.replace('"', "") for name, type_ in rows}
        return Check("looked", True, "")

    landing.land([change("a", version=1), change("b", version=2)])
    landing.land([change("c", version=3, price="much")])
    compact(lake, PARCELS, Scope.everything(), invariants=[look])
    assert len(found) == len(DECLARED) - 2
    for relation in DECLARED.values():
        if relation.name in found:
            declared = {name: type_.replace('"', "") for name, type_ in relation.columns(PARCELS).items()}
            assert found[relation.name] == declared, relation.name
