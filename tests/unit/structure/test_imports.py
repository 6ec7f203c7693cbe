"""Imports point one way, a Lambda carries nothing heavy, and importing anything touches neither AWS nor files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = (
    "contracts",
    "lakehouse",
    "warehouse",
    "reporting",
    "assets",
    "orchestration",
    "realtime",
    "retrieval",
    "ops",
    "local",
)
MAY_IMPORT = {
    "contracts": set(),
    "lakehouse": {"contracts"},
    "warehouse": {"contracts", "lakehouse"},
    "reporting": {"contracts", "lakehouse", "warehouse"},
    "assets": {"contracts", "lakehouse", "warehouse", "reporting", "retrieval"},
    "orchestration": {"contracts", "lakehouse", "warehouse", "reporting", "assets"},
    "realtime": {"contracts"},
    "retrieval": {"contracts", "lakehouse"},
    "ops": {"contracts", "lakehouse", "warehouse", "reporting", "realtime", "retrieval"},
    "local": set(PACKAGES) - {"local"},
}
HEAVY = ("pyarrow", "duckdb", "dagster", "pandas", "dbt", "pyiceberg", "plotly")


def imports(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, at its top or inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the package"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str):
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        wrong = (imports(module) & set(PACKAGES)) - MAY_IMPORT[package] - {package}
        assert not wrong, f"{module.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_belongs_in_it(package: str):
    for module in sorted((ROOT / package).rglob("*.py")):
        assert ast.get_docstring(ast.parse(module.read_text())), f"{module.relative_to(ROOT)} has no docstring"


def test_what_lambdas_carry_imports_nothing_heavy():
    code = (
        "import sys, contracts, contracts.change, contracts.compact, contracts.validation, contracts.item\n"
        f"heavy = [m for m in {HEAVY!r} + ('yaml', 'boto3') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_code_location_imports_nothing_heavy_but_dagster():
    code = (
        "import sys, orchestration.definitions\n"
        "heavy = [m for m in ('boto3', 'duckdb', 'pyiceberg', 'pandas', 'plotly', 'dbt.cli') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
