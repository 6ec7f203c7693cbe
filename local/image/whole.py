"""Whether an image lacks something: a library that another one is linked with, or a module that the product imports.

A step that takes out too much shows nowhere else until the first run that needs it: roles start without most packages.
"""

from __future__ import annotations

import json
import re
import subprocess

from local.image.building import Stage, StepFailed
from local.image.sandbox import Sandbox

_LIBRARIES = "find /opt/python /usr/local/lib -name '*.so*' -type f -print0 | xargs -0 ldd"
_IMPORTS = """
import ast, importlib, json, pathlib
names = {}
for path in sorted(pathlib.Path("/opt/gavel").rglob("*.py")):
    for node in ast.walk(ast.parse(path.read_bytes())):
        named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            named = [node.module]
        for name in named:
            names.setdefault(name, str(path))
lacking = {}
for name, path in sorted(names.items()):
    try:
        importlib.import_module(name)
    except ImportError as error:
        lacking[name] = f"{path}: {error}"
print(json.dumps(lacking))
"""
ELSEWHERE = ("mypy_boto3_", "jwt", "realtime.authorizer.")
"""What is for the reader of types alone, and the authorizer's, which is a function with a bundle of its own."""


def lacking(stage: Stage) -> list[str]:
    """What is missing, one line each. Raises `StepFailed` if looking for it fails."""
    return [*unresolved(_said(stage, ["/bin/sh", "-c", _LIBRARIES])), *not_imported(stage)]


def unresolved(text: str) -> list[str]:
    """The libraries that `ldd` did not find, each with the first file that is linked with it."""
    found: dict[str, str] = {}
    of = ""
    for line in text.splitlines():
        if line.startswith("/"):
            of = line.rstrip(":")
        if missing := re.fullmatch(r"\s+(\S+) => not found", line):
            found.setdefault(missing[1], of)
    return [f"no library {name}, which {of} is linked with" for name, of in sorted(found.items())]


def not_imported(stage: Stage) -> list[str]:
    """The modules that the product's source names, in functions, too, and that the image cannot import."""
    said = json.loads(_said(stage, ["python", "-c", _IMPORTS]).splitlines()[-1])
    return [f"no module {name}: {why}" for name, why in said.items() if not name.startswith(ELSEWHERE)]


def _said(stage: Stage, program: list[str]) -> str:
    box = Sandbox(stage.root, stage.environment, stage.workdir, stage.user)
    done = subprocess.run(box.command(program), check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if not done.stdout:
        raise StepFailed(f"{program[0]} ended with {done.returncode}, and said:\n{done.stderr[-4000:]}")
    return done.stdout
