"""Small copies of the dbt project: some of its models with all that they read, which dbt parses in a moment."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from contracts.dbt import PROJECT

_MACRO = re.compile(r"\{%-? macro (\w+)\(.*?\{%-? endmacro -?%\}", re.S)
_GENERIC = PROJECT / "tests" / "generic"


def copy_of_project(folder: Path, *models: str, tests: bool = True) -> Path:
    """Copy the project with these models and what they read, and the tests and exposures that need no others. Unit
    tests stay away, and all data tests unless `tests`. Returns the folder."""
    files = {path.stem: path for path in (PROJECT / "models").rglob("*.sql")}
    unknown = sorted(set(models) - set(files))
    assert not unknown, f"expected models of the dbt project, found {unknown}"
    gone = set(files) - _with_what_they_read(models, files)
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("target", "logs"))
    for name in gone:
        (folder / files[name].relative_to(PROJECT)).unlink()
    for path in (folder / "tests").rglob("*.sql"):
        if path.parent.name != _GENERIC.name and (not tests or _words(path.read_text("utf-8")) & gone):
            path.unlink()
    left = {path.stem for kind in ("models", "tests") for path in (folder / kind).rglob("*.sql")}
    for path in (folder / "models").rglob("*.yml"):
        _keep_what_fits(path, left, gone, tests)
    for path in (folder / "tests").rglob("*.yml"):
        if path.parent.name != _GENERIC.name:
            path.unlink()
    return folder


def read_by(exposure: str) -> tuple[str, ...]:
    """The models that an exposure of the project reads."""
    exposures = yaml.safe_load((PROJECT / "models" / "exposures.yml").read_text("utf-8"))["exposures"]
    (found,) = (e for e in exposures if e["name"] == exposure)
    return tuple(re.findall(r"ref\('(\w+)'\)", str(found["depends_on"]).replace('"', "")))


def _with_what_they_read(models: Iterable[str], files: Mapping[str, Path]) -> set[str]:
    """Whoever names a model or a macro reads it: a few names too many do no harm."""
    texts = {name: path.read_text("utf-8") for name, path in files.items()}
    for path in (PROJECT / "macros").glob("*.sql"):
        texts |= {found[1]: found[0] for found in _MACRO.finditer(path.read_text("utf-8"))}
    read, to_read = set[str](), list(models)
    while to_read:
        name = to_read.pop()
        if name not in read:
            read.add(name)
            to_read += _words(texts[name]) & texts.keys()
    return read & set(files)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", re.sub(r"(?s:\{#.*?#\})|--.*", "", text)))


def _keep_what_fits(path: Path, left: set[str], gone: set[str], tests: bool) -> None:
    document = yaml.safe_load(path.read_text("utf-8"))
    document.pop("unit_tests", None)
    if "models" in document:
        document["models"] = [m for m in document["models"] if m["name"] in left]
    if "exposures" in document:
        document["exposures"] = [e for e in document["exposures"] if not _words(str(e["depends_on"])) & gone]
    _drop_tests(document, gone, tests)
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), "utf-8")


def _drop_tests(part: Any, gone: set[str], tests: bool) -> None:
    if isinstance(part, list):
        for member in part:
            _drop_tests(member, gone, tests)
    elif isinstance(part, dict):
        if "data_tests" in part:
            part["data_tests"] = [t for t in part["data_tests"] if tests and not _words(str(t)) & gone]
        for member in part.values():
            _drop_tests(member, gone, tests)
