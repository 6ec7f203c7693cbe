"""The models on Athena, as far as it goes without Athena: each compiles for production, is what two parsers of its
dialect accept, and calls only what means the same on DuckDB.

That the compiled text also runs there, and gives the same rows, is shown by `make conformance`, on a real Trino.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlglot
from moto import mock_aws
from sqlglot import exp
from sqlglot.errors import ParseError

from contracts.dbt import PROJECT

LAYERS = ("staging", "marts", "reports", "personal")

SAME_ON_BOTH = frozenset(
    # aggregates and windows
    "count sum min max rank dense_rank row_number ntile lag lead first_value last_value cume_dist percent_rank "
    # scalars
    "coalesce nullif cast case if date_trunc date_diff extract round abs lower upper substr length replace".split()
)
"""Functions that mean the same on both engines. `greatest`, `least` and `concat` do not: one of them ignores nulls. So
`||` joins texts, and each argument of the other two is a `coalesce`."""

FROM_MACROS = frozenset(
    # `macros/dialect.sql`, and what dbt's own macros write for Athena: each has its counterpart on DuckDB
    "unnest day_of_week date_add power md5 to_utf8 to_hex".split()
)


SINGLE_ENGINE_SYNTAX = {
    "a cast with ::": r"::",
    "qualify": r"\bqualify\b",
    "group by all": r"\b(group|order)\s+by\s+all\b",
    "select * exclude or replace": r"\*\s+(exclude|replace|except)\b",
    "ilike": r"\bilike\b",
    "a lateral join": r"\blateral\b",
    "a cast with try": r"\b(try|safe)_cast\b",
}


@dataclass(frozen=True)
class Compiled:
    """The SQL of models and tests, by name, for a first build and for a later one; `incremental` names the models that
    make a difference between the two."""

    first: dict[str, str]
    later: dict[str, str]
    models: frozenset[str]
    incremental: frozenset[str]


@pytest.fixture(scope="module")
def glue() -> Iterator[Any]:
    """A mocked Glue catalog with the databases of production, and no tables."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "eu-west-1"),
        ):
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.chdir(PROJECT)
        client = boto3.client("glue", region_name="eu-west-1")
        for layer in LAYERS:
            client.create_database(DatabaseInput={"Name": f"gavel_work_{layer}_prod"})
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where dbt keeps what it has parsed."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture(scope="module")
def compiled(glue: Any, folder: Path) -> Compiled:
    """The project, compiled for production."""
    nodes = compile_nodes(folder)
    incremental = [node for node in nodes if node.config.materialized == "incremental"]
    for node in incremental:
        columns = [{"Name": name, "Type": "string"} for name in node.columns]
        glue.create_table(
            DatabaseName=node.schema,
            TableInput={
                "Name": node.name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"table_type": "ICEBERG"},
                "StorageDescriptor": {"Columns": columns, "Location": "s3://gavel-prod/"},
            },
        )
    again = compile_nodes(folder, "--select", "config.materialized:incremental")
    return Compiled(
        {node.name: node.compiled_code for node in nodes},
        {node.name: node.compiled_code for node in again if node.resource_type == "model"},
        frozenset(node.name for node in nodes if node.resource_type == "model"),
        frozenset(node.name for node in incremental),
    )


def dbt(folder: Path, command: str, *arguments: str) -> Any:
    from dbt.cli.main import dbtRunner

    return dbtRunner().invoke(
        [
            *("--quiet", command, "--target", "prod", "--no-populate-cache", *arguments),
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(folder), "--log-path", str(folder)),
        ]
    )


def compile_nodes(folder: Path, *arguments: str) -> list[Any]:
    """The compiled models and data tests."""
    outcome = dbt(folder, "compile", *arguments)
    assert outcome.success, outcome.exception
    return [r.node for r in outcome.result.results if r.node.resource_type in ("model", "test")]


def statements(compiled: Compiled) -> Iterator[tuple[str, str]]:
    """Every compiled text with its name."""
    yield from compiled.first.items()
    for name, text in compiled.later.items():
        yield f"{name} (increment)", text


def test_every_statement_is_of_athenas_grammar_and_means_the_same_on_both_engines(compiled: Compiled) -> None:
    """No model or test holds text that Athena's grammar does not know, or that DuckDB reads in another way."""
    assert {"stg_orders", "stg_watermarks", "dim_date", "fct_orders"} <= compiled.models
    for name, text in statements(compiled):
        assert not (found := differences(text)), f"{name}: {found}"
    assert "cross join unnest(orders.fees) as fee (kind, payer, amount)" in " ".join(compiled.first.values())


def differences(sql: str) -> list[str]:
    """What in a statement of Athena's dialect DuckDB does not have, or understands in another way."""
    plain = re.sub(r"--[^\n]*|'[^']*'", " ", sql)
    found = [what for what, pattern in SINGLE_ENGINE_SYNTAX.items() if re.search(pattern, plain, re.I)]
    try:
        tree = sqlglot.parse_one(sql, dialect="athena")
    except ParseError as error:
        return [*found, str(error)]
    for node in tree.walk():
        match node:
            case exp.Cast() if node.to.is_type(exp.DataType.Type.TIMESTAMP) and not node.to.expressions:
                found.append(f"timestamp without its precision, which Iceberg tables refuse: {node.sql()}")
            case exp.Div() if not any(is_double(side) for side in (node.left, node.right)):
                found.append(f"division of numbers that are not double: {node.sql(dialect='athena')}")
            case exp.Greatest() | exp.Least() if all(isinstance(a, exp.Coalesce) for a in arguments(node)):
                pass
            case exp.Func() if not isinstance(node, exp.Connector):
                names = {node.name.lower()} if isinstance(node, exp.Anonymous) else function_names(node)
                if not names & (SAME_ON_BOTH | FROM_MACROS):
                    found.append(f"function {max(names)}")
            case _:
                pass
    return found


def arguments(node: exp.Expression) -> list[exp.Expression]:
    """What a function is given."""
    return [node.this, *node.expressions]


def function_names(node: exp.Func) -> set[str]:
    """What a function that the parser knows may be called, and how Athena's dialect writes it."""
    written = node.sql(dialect="athena").partition("(")[0]
    return {name.lower() for name in (*node.sql_names(), written)}


def is_double(node: exp.Expression) -> bool:
    """Whether an operand is cast to double, itself or in brackets."""
    return any(cast.to.is_type("double") for cast in node.find_all(exp.Cast))


@pytest.mark.parametrize(
    "sql",
    [
        "select strftime(placed_at, '%Y') from orders",
        "select array_join(tags, ',') from customers",
        "select greatest(a, b) from orders",
        "select concat(a, b) from orders",
        "select orders / sales from months",
        "select cast(null as timestamp) as at from orders",
        "select approx_percentile(a, 0.5) from orders",
        "select amount::double from orders",
        "select * from orders qualify row_number() over (partition by a order by b) = 1",
        "select * exclude (a) from orders",
    ],
)
def test_a_construct_that_differs_is_found(sql: str) -> None:
    assert differences(sql)


def test_sqlfluff_has_nothing_to_say(compiled: Compiled) -> None:
    """The second parser, with its rules on ambiguous references, unused names and the like."""
    from sqlfluff.core import FluffConfig, Linter

    linter = Linter(config=FluffConfig.from_path(str(PROJECT)))
    said = [
        f"{name}, line {violation.line_no}: {violation.rule_code()} {violation.desc()}"
        for name, text in (compiled.first | compiled.later).items()
        if name in compiled.models and (name == "stg_orders" or not name.startswith("stg_"))  # staging is generated
        for violation in linter.lint_string(text.strip() + "\n").violations
    ]
    assert not said, "\n".join(said)


def test_increments_select_by_the_batches_that_they_have_seen(compiled: Compiled) -> None:
    """Where its table exists, a model reads what is newer than its own highest batch."""
    assert compiled.incremental == set(compiled.later)
    for name, text in compiled.later.items():
        own = f'from "awsdatacatalog"."gavel_work_marts_prod"."{name}"'
        assert own in text, name
        assert own not in compiled.first[name], name


def test_a_full_refresh_of_production_is_refused_unless_it_is_requested_twice(glue: Any, folder: Path) -> None:
    """The refusal comes before anything is built."""
    refused = dbt(folder, "run", "--full-refresh", "--select", "dim_date")
    assert not refused.success
    assert "add --vars 'allow_full_refresh: true'" in str(refused.exception or refused.result.results[0].message)
