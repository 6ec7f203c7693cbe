"""What the house sells: categories with their prices, trends, grades and titles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Category:
    """A category of collectible; `catalogue.yaml` says what its numbers are."""

    name: str
    share: float
    growth: float
    value: float
    spread: float
    handling: float
    weight: float
    grades: tuple[str, ...]
    makers: tuple[str, ...]
    things: tuple[str, ...]


def _category(said: Mapping[str, Any]) -> Category:
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}
    return Category(**values)


CATEGORIES = tuple(map(_category, yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))))


def choose_category(rng: Random, years: float) -> Category:
    """A category by its share `years` after the scenario begins (it lasts about two years)."""
    weights = [c.share * c.growth**years for c in CATEGORIES]
    return rng.choices(CATEGORIES, weights)[0]


def value_of(rng: Random, category: Category, years: float) -> float:
    """What one lot of the category is worth, in EUR."""
    drift = math.pow(1 + (category.growth - 1) * 0.5, years)
    return max(8.0, category.value * drift * math.exp(rng.gauss(0, category.spread)))


def title_of(rng: Random, category: Category) -> str:
    """A catalogue title."""
    year = rng.randint(1890, 1990) if category.name != "trading cards" else rng.randint(1993, 2016)
    return f"{rng.choice(category.makers)} {rng.choice(category.things)}, {year}"


def round_to_step(value: float) -> int:
    """A price as people write it: 137 becomes 140, 2,310 becomes 2,300."""
    step = 5 if value < 100 else 10 if value < 500 else 50 if value < 2500 else 250
    return max(step, round(value / step) * step)
