"""Functions stay small: at most six parameters and 60 lines, or a comment right above says why."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = [p.parent.name for p in ROOT.glob("*/__init__.py") if p.parent.name not in ("tests", "benchmarks")]
MOST_PARAMETERS, MOST_LINES = 6, 60


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return len([a for a in named if a.arg not in ("self", "cls")])


def too_large(text: str) -> list[str]:
    """The functions of a module that are too large and have no reason above them."""
    lines = text.split("\n")
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        length, count = node.end_lineno - node.lineno + 1, parameters(node)
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        reason = lines[first - 2].strip().startswith("# ") if first > 1 else False
        if (count > MOST_PARAMETERS or length > MOST_LINES) and not reason:
            found.append(f"{node.name}: {count} parameters, {length} lines")
    return found


def test_no_function_of_the_product_is_too_large_without_a_reason() -> None:
    modules = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]
    assert len(modules) > 200
    assert {str(p.relative_to(ROOT)): f for p in modules if (f := too_large(p.read_text("utf-8")))} == {}


def test_a_large_function_is_found_and_a_reason_is_read() -> None:
    wide = "def f(a, b, c, d, e, f, g):\n    pass\n"
    assert too_large(wide) == ["f: 7 parameters, 2 lines"]
    assert too_large("# all by name\n" + wide) == []
    assert too_large("def f():\n" + "    x = 1\n" * 60) == ["f: 0 parameters, 61 lines"]
