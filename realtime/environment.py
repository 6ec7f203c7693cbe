"""What a function reads of its environment, once: each of its settings is a variable that the template sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

T = TypeVar("T")


def variable(name: str) -> Any:
    """A field of a dataclass of settings, whose value is in the variable of that name."""
    return field(metadata={"variable": name})


def read_settings(kind: type[T], variables: Mapping[str, str] = os.environ) -> T:
    """The settings of a dataclass whose fields are made by `variable`. Raises `KeyError` that names the variable which
    the template should have set."""
    return kind(**{f.name: variables[f.metadata["variable"]] for f in fields(kind)})  # type: ignore[arg-type]
