"""The list prices that costs are computed with, from `prices.yaml`: each with its source and the day it was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Price:
    """What `per` units of something cost, in US dollars, and who says so."""

    what: str
    usd: float
    per: int
    source: str

    @property
    def of_one(self) -> float:
        """US dollars of one unit."""
        return self.usd / self.per


@dataclass(frozen=True)
class Prices:
    """List prices of a region by name."""

    region: str
    read_on: date
    prices: dict[str, Price]

    def usd(self, name: str, units: float) -> float:
        """What so many units cost. Raises `KeyError` for a price that is not listed."""
        return self.prices[name].of_one * units


@cache
def load_prices(file: Path = FILE) -> Prices:
    """The prices of a file; raises `ValueError` for one without an amount, a unit or a source."""
    import yaml

    document = yaml.safe_load(file.read_text("utf-8"))
    prices = {}
    for name, said in document["prices"].items():
        price = Price(str(said.get("what") or ""), float(said["usd"]), int(said["per"]), str(said.get("source") or ""))
        if not (price.what and price.source and price.usd >= 0 and price.per > 0):
            raise ValueError(
                f"{file.name}: {name}: expected what, usd, per and source, found {said}; say where it is from"
            )
        prices[name] = price
    return Prices(str(document["region"]), document["read_on"], prices)
