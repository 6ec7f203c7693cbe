"""What others do not promise is used in one module only, and an upgrade that takes it away is reported by name."""

import ast
import atexit
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster_dbt import DbtCliResource

from local.dagster import event_log, warm_start
from local.dagster import private_dagster as laptop
from orchestration import private_dagster, private_storage
from tests.support import private_dagster as tests_door
from warehouse.project import InstalledDbt

ROOT = Path(__file__).parents[3]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
DOORS = {
    ROOT / "orchestration/private_dagster.py": private_dagster,
    ROOT / "orchestration/private_storage.py": private_storage,
    ROOT / "local/dagster/private_dagster.py": laptop,
    ROOT / "tests/support/private_dagster.py": tests_door,
}
"""One for each house, and one for what is dear to import."""
ALLOWED = {"lakehouse/table/iceberg_commit.py": {"pyiceberg.table.update.snapshot._OverwriteFiles"}}
"""pyiceberg's only door to a snapshot that removes delete files; the module refuses versions that were not tried."""


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def private_imports(path: Path) -> Iterator[str]:
    """Private modules and names that a module imports, or names for others to import or to run."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("dagster._"):
            names = [node.value]
        yield from filter(is_private, names)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_uses_what_is_private_elsewhere(package: str):
    for module in sorted((ROOT / package).rglob("*.py")):
        if module not in DOORS:
            place = str(module.relative_to(ROOT))
            found = set(private_imports(module)) - ALLOWED.get(place, set())
            assert not found, f"{place} uses {', '.join(sorted(found))}: put it into private_dagster.py, or avoid it"


def test_dagsters_library_for_dbt_is_imported_by_one_module():
    """Whoever imports it first decides whether it brings dbt-core along."""
    product = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    importing = re.compile(r"^\s*(from|import) dagster_dbt\b", re.MULTILINE)
    assert [str(p.relative_to(ROOT)) for p in product if importing.search(p.read_text())] == ["warehouse/library.py"]


def test_no_test_uses_what_is_private_in_dagster():
    modules = {*(ROOT / "tests").rglob("*.py")} - DOORS.keys() - {Path(__file__)}
    suspects = [m for m in modules if re.search(r"dagster(\w*\._| import .*\b_)", m.read_text())]
    found = {str(m.relative_to(ROOT)): [n for n in private_imports(m) if n.startswith("dagster")] for m in suspects}
    assert {place: names for place, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import dagster._core",
        "def late():\n    from dagster._utils import x",
        "from dagster import _check",
        "from orchestration.alerts.ticks import _utc",
        "command = ['python', '-m', 'dagster._daemon']",
    ],
)
def test_a_private_import_is_found(tmp_path: Path, text: str):
    (module := tmp_path / "m.py").write_text(text)
    assert list(private_imports(module))


BORROWED = sorted(
    (door.__name__, node.module or "", alias.name)
    for path, door in DOORS.items()
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
)


@pytest.mark.parametrize(("borrower", "module", "name"), BORROWED)
def test_dagster_still_has_what_is_borrowed(borrower: str, module: str, name: str):
    missing = f"dagster {dg.__version__} has no {module}.{name} any more; {borrower} says what it was used for"
    try:
        assert hasattr(importlib.import_module(module), name), missing
    except ImportError as error:
        raise AssertionError(missing) from error
    if name != "api_cli":
        door = importlib.import_module(borrower)
        assert f"`{name}`" in (door.__doc__ or ""), f"{borrower} does not say what {name} is for"
        assert name in door.__all__


EXTENDED = [
    (event_log.LaptopEventLog, laptop.SqliteEventLogStorage),
    (event_log.LaptopRuns, laptop.SqliteRunStorage),
    (warm_start.WarmRunLauncher, laptop.DefaultRunLauncher),
]
OWN = {"forget", "holders", "forget_snapshots", "_engine", "_at_once"}


@pytest.mark.parametrize(
    ("ours", "theirs", "method"),
    [
        (ours, theirs, name)
        for ours, theirs in EXTENDED
        for name, value in vars(ours).items()
        if callable(inspect.unwrap(getattr(value, "__func__", value))) and not name.startswith("__") and name not in OWN
    ],
)
def test_a_method_that_is_replaced_is_still_called_so(ours: type, theirs: type, method: str):
    """A method that Dagster renames would never be called again, and nothing else would say so."""
    if method.startswith("_launch"):
        return
    assert hasattr(theirs, method), f"dagster {dg.__version__}: {theirs.__name__} has no {method} any more"
    before, after = (list(inspect.signature(getattr(c, method)).parameters) for c in (theirs, ours))
    assert len(before) == len(after), f"{theirs.__name__}.{method} takes {before} now, {ours.__name__} {after}"


@pytest.mark.parametrize("name", ["_cli_version", "_initialize_dbt_core_adapter"])
def test_what_is_left_out_of_a_start_of_dbt_is_still_called_so(name: str):
    """A member that dagster-dbt renames would make each build seconds slower, and nothing else would say so."""
    assert name in vars(InstalledDbt)
    assert hasattr(DbtCliResource, name), f"dagster-dbt has no DbtCliResource.{name} any more; see warehouse/project.py"


def test_a_forked_run_can_still_end_as_a_process_does():
    assert callable(getattr(atexit, "_run_exitfuncs", None)), "atexit._run_exitfuncs is gone: see warm_start"
