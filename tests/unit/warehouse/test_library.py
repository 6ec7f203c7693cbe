"""`dagster-dbt` brings neither dbt-core nor sqlglot along, and its names of sqlglot work all the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dagster_dbt.core import dbt_cli_event

from warehouse import library

ROOT = Path(__file__).parents[3]
IMPORTS = """
import sys
import warehouse.library
assert not {"sqlglot", "sqlglot.lineage", "dbt", "dbt.version"} & set(sys.modules)
"""
USES = """
from dagster_dbt.core import dbt_cli_event as used
found = used.optimize(used.parse_one("select a + 1 as b from t"), schema={"t": {"a": "int"}})
assert found.find(used.exp.Table).name == "t"
schema = used.MappingSchema({"t": {"a": "int"}}, dialect="duckdb")
(node,) = used.lineage("b", sql="select a + 1 as b from t", schema=schema).downstream
assert used.exp.to_column(node.name).name == "a"
assert used.normalize_table_name(used.to_table("T", dialect="duckdb"), dialect="duckdb") == "t"
"""


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_library_brings_nothing_heavy_along() -> None:
    run(IMPORTS)


def test_what_it_has_of_sqlglot_works_when_it_is_used() -> None:
    run(IMPORTS + USES)


def test_where_somebody_has_sqlglot_the_library_has_it_too() -> None:
    run("import sqlglot, warehouse.library\n" + USES + "assert used.exp is sqlglot.exp\n")


def test_the_library_imports_no_more_of_sqlglot_than_is_known() -> None:
    code = Path(str(dbt_cli_event.__file__)).parents[1]
    imports = re.compile(r"^\s*(?:from|import) (sqlglot[\w.]*)", re.MULTILINE)
    found = {name for path in code.rglob("*.py") for name in imports.findall(path.read_text())}
    assert found == set(library.LATE_MODULES)
