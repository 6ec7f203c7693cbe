"""What the house sells: categories with their prices, trends, grades and titles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Category:
    """A category of collectible.

    `share` of lots at the beginning, `growth` of that share and of prices per year, `value` the median price in EUR and
    `spread` the sigma of its logarithm, `handling` what one lot costs the house, `weight` the price factor of a parcel.
    """

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


CATEGORIES = (
    Category(
        "trading cards",
        16,
        1.30,
        180,
        0.6,
        4,
        0.5,
        ("PSA 10", "PSA 9", "PSA 8", "BGS 9.5"),
        ("Aurora", "Dragon Vale", "Star League", "Kestrel"),
        ("holographic card", "rookie card", "booster box", "promo card"),
    ),
    Category(
        "watches",
        12,
        1.08,
        1250,
        0.5,
        18,
        0.8,
        ("mint", "excellent", "very good", "good"),
        ("Halder", "Corvin", "Meridian", "Astor & Lane"),
        ("diver", "chronograph", "dress watch", "pocket watch"),
    ),
    Category(
        "coins",
        13,
        1.02,
        320,
        0.5,
        5,
        0.5,
        ("MS-65", "AU-55", "XF-45", "VF-30"),
        ("Bavaria", "Venice", "Castile", "Utrecht"),
        ("thaler", "ducat", "commemorative five", "proof set"),
    ),
    Category(
        "stamps",
        11,
        0.78,
        90,
        0.6,
        4,
        0.3,
        ("MNH", "MH", "used"),
        ("Saxony", "Helvetia", "Cape", "Lombardy"),
        ("block of four", "first issue", "misprint", "collection"),
    ),
    Category(
        "comics",
        12,
        1.18,
        210,
        0.6,
        6,
        0.6,
        ("NM", "VF", "FN", "VG"),
        ("Captain Vane", "Night Heron", "The Lantern", "Moon Patrol"),
        ("no. 1", "first appearance", "annual", "original page"),
    ),
    Category(
        "vinyl records",
        12,
        1.12,
        75,
        0.5,
        5,
        0.9,
        ("M", "NM", "VG+", "VG"),
        ("The Hollow Pines", "Mara Lindqvist Trio", "Ostrava", "Blue Ferry"),
        ("first pressing", "test pressing", "signed LP", "box set"),
    ),
    Category(
        "art prints",
        7,
        1.10,
        760,
        0.6,
        45,
        2.6,
        ("A", "B", "C"),
        ("Ida Kolb", "J. Marchetti", "Tove Aas", "R. Okafor"),
        ("lithograph", "etching", "woodcut", "screen print"),
    ),
)


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
