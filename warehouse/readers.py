"""The data sets of a BI tool: the models that exposures of the dbt project name, with their columns, without what is
personal. Read from the project's YAML, so that no dbt has to run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from contracts.dbt import PROJECT
from contracts.types import PERSONAL, Classification

DATA_TIME = "data_time"
"""The column in which a report says what it is true for."""
CURRENCY = "currency"


def data_set_id(environment: str, model: str) -> str:
    """The id of a model's data set in QuickSight; an account may have several environments."""
    return f"gavel-{environment}-{model}"


class BadExposure(ValueError):
    """An exposure cannot be served; the message says what was expected, found and where."""


@dataclass(frozen=True)
class Column:
    """A column of a model. `type` is that of dbt: varchar, bigint, decimal(p, s), date …"""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class DataSet:
    """A model that a tool reads; `layer` is the folder that gives its database its name."""

    model: str
    layer: str
    description: str
    columns: tuple[Column, ...]

    def database(self, environment: str) -> str:
        """The Glue database that readers see it in."""
        return f"gavel_{self.layer}_{environment}"

    def has(self, column: str) -> bool:
        """Whether it has a column of this name."""
        return any(each.name == column for each in self.columns)


@dataclass(frozen=True)
class Reader:
    """An exposure that a tool serves: its name, what people call it, and its data sets by the model's name."""

    name: str
    label: str
    description: str
    data_sets: Mapping[str, DataSet]


def readers(kind: str, project: Path = PROJECT) -> list[Reader]:
    """The exposures of this kind (`quicksight`), in the order of the file. Raises `BadExposure`."""
    exposures = yaml.safe_load((project / "models" / "exposures.yml").read_text("utf-8"))["exposures"]
    return [_reader(each, project) for each in exposures if kind in each["config"]["meta"].get("kinds", ())]


def _reader(exposure: Mapping[str, Any], project: Path) -> Reader:
    names = [re.fullmatch(r"ref\('(\w+)'\)", text) for text in exposure["depends_on"]]
    models = [match[1] for match in names if match]
    known = _models(project)
    if missing := [model for model in models if model not in known]:
        raise BadExposure(
            f"exposure {exposure['name']}: expected marts and reports with columns, found {', '.join(missing)}"
        )
    return Reader(
        exposure["name"],
        exposure.get("label") or exposure["name"],
        " ".join(exposure["description"].split()),
        {model: known[model] for model in models},
    )


@dataclass(frozen=True)
class Classified:
    """A mart or report with what each of its columns is classified as; what is not personal is `internal` or less."""

    layer: str
    name: str
    columns: Mapping[str, Classification]


def classified(project: Path = PROJECT) -> Iterator[Classified]:
    """Every mart and report, with all its columns."""
    for layer, model in _described(project):
        columns = {column["name"]: _classification(column) for column in model["columns"]}
        yield Classified(layer, model["name"], columns)


@cache
def _models(project: Path) -> dict[str, DataSet]:
    """Every mart and report by its name. Staging is not for readers, and what is personal is in no data set."""
    return {
        model["name"]: DataSet(model["name"], layer, " ".join(model["description"].split()), tuple(_columns(model)))
        for layer, model in _described(project)
    }


@cache
def _described(project: Path) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Each model with its layer, as its file describes it."""
    paths = [(layer, p) for layer in ("marts", "reports") for p in sorted((project / "models" / layer).rglob("*.yml"))]
    return tuple(
        (layer, model) for layer, p in paths for model in yaml.safe_load(p.read_text("utf-8")).get("models", ())
    )


def _classification(column: Mapping[str, Any]) -> Classification:
    said: Classification = column.get("config", {}).get("meta", {}).get("classification", "internal")
    return said


def _columns(model: Mapping[str, Any]) -> Iterator[Column]:
    for column in model["columns"]:
        if _classification(column) not in PERSONAL:
            yield Column(column["name"], column["data_type"].lower(), " ".join(column["description"].split()))
