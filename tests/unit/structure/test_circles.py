"""No circle of imports in any package, lazy and type-only imports included, and the rooms of the lake point one way.

A circle of knowledge costs as much as one of imports: neither module can be read, tested or moved without the other.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = sorted(
    path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("tests", "benchmarks")
)
ROOMS = (
    "results",
    "storage",
    "table",
    "intake",
    "exports",
    "merge",
    "publish",
    "batch",
    "recovery",
    "maintenance",
    "parity",
    "serving",
    "erasure",
    "drift",
    "api",
)
"""The way of the data through the lake: each imports from those before it."""
DOOR = "lakehouse.api"


def modules(packages: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def project_imports(path: Path, known: dict[str, Path]) -> Iterator[tuple[str, ast.stmt]]:
    """The project's modules that a module names in an import, wherever it stands, with the statement."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known:
                    yield name, node
                elif node.module in known:
                    yield node.module, node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in known:
                    yield alias.name, node


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_no_import_goes_in_a_circle() -> None:
    known = modules(tuple(PACKAGES))
    # A package's own names are not its modules': `import contracts` inside of `contracts.loader` would be a circle.
    graph = {name: {m for m, _ in project_imports(path, known)} - {name} for name, path in known.items()}
    assert (found := circle(graph)) is None, " -> ".join(found)


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert circle({"a": {"b"}, "b": set()}) is None


def room(name: str) -> str:
    return name.split(".")[1]


def test_rooms_of_the_lake_point_one_way() -> None:
    known = modules(("lakehouse",))
    assert {room(name) for name in known if name != "lakehouse"} == set(ROOMS)
    for name, path in known.items():
        for imported, _ in project_imports(path, known):
            if name != "lakehouse":
                assert ROOMS.index(room(imported)) <= ROOMS.index(room(name)), f"{name} imports {imported}"


@pytest.mark.parametrize("package", ["lakehouse"])
def test_no_import_hides_in_a_function(package: str) -> None:
    """Only the door imports the project's modules when they are first used."""
    known = modules(tuple(PACKAGES))
    for name, path in modules((package,)).items():
        if name == DOOR:
            continue
        body = ast.parse(path.read_text("utf-8")).body
        at_top = {n.lineno for n in body} | {
            n.lineno for block in body if isinstance(block, ast.If) for n in block.body
        }
        hidden = {m for m, statement in project_imports(path, known) if statement.lineno not in at_top}
        assert not hidden, f"{name} imports {', '.join(sorted(hidden))} inside of a function"
