"""The countries that customers live in: how often, how far away, and the reference files that another system drops.

The files hold what the contract of `countries` asks for. The second one changes some rates of value added tax at their
real dates, so that a report can join the rate that was true at the time.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True, slots=True)
class Country:
    """A country as the simulator needs it; `share` of customers, `parcel` is the price factor of sending there."""

    code: str
    name: str
    region: str
    currency: str
    vat_rate: str
    share: float
    parcel: float
    cities: tuple[tuple[str, str], ...]
    """Town and postal code."""


COUNTRIES = (
    Country(
        "DE",
        "Germany",
        "DACH",
        "EUR",
        "0.1900",
        20,
        0.8,
        (("Hamburg", "20095"), ("Köln", "50667"), ("Leipzig", "04109")),
    ),
    Country(
        "GB",
        "United Kingdom",
        "British Isles",
        "GBP",
        "0.2000",
        14,
        1.4,
        (("London", "EC1A 1BB"), ("Leeds", "LS1 4DY")),
    ),
    Country(
        "US", "United States", "North America", "USD", "0.0000", 13, 2.6, (("Chicago", "60601"), ("Portland", "97201"))
    ),
    Country(
        "FR",
        "France",
        "Western Europe",
        "EUR",
        "0.2000",
        11,
        1.0,
        (("Lyon", "69001"), ("Paris", "75003"), ("Nantes", "44000")),
    ),
    Country(
        "NL", "Netherlands", "Benelux", "EUR", "0.2100", 8, 0.9, (("Utrecht", "3511 AB"), ("Rotterdam", "3011 AD"))
    ),
    Country("IT", "Italy", "Southern Europe", "EUR", "0.2200", 7, 1.1, (("Milano", "20121"), ("Bologna", "40121"))),
    Country("AT", "Austria", "DACH", "EUR", "0.2000", 5, 0.9, (("Wien", "1010"), ("Graz", "8010"))),
    Country("CH", "Switzerland", "DACH", "CHF", "0.0810", 5, 1.5, (("Zürich", "8001"), ("Basel", "4001"))),
    Country("IE", "Ireland", "British Isles", "EUR", "0.2300", 4, 1.4, (("Dublin", "D02 AF30"), ("Cork", "T12 W8KP"))),
    Country("ES", "Spain", "Southern Europe", "EUR", "0.2100", 4, 1.2, (("Madrid", "28001"), ("Valencia", "46001"))),
    Country("SE", "Sweden", "Nordics", "SEK", "0.2500", 3, 1.3, (("Malmö", "211 20"), ("Uppsala", "753 10"))),
    Country("FI", "Finland", "Nordics", "EUR", "0.2400", 2, 1.4, (("Turku", "20100"), ("Espoo", "02100"))),
    Country("EE", "Estonia", "Baltics", "EUR", "0.2200", 1, 1.3, (("Tartu", "51003"),)),
    Country("JP", "Japan", "Asia Pacific", "JPY", "0.1000", 2, 3.2, (("Osaka", "530-0001"),)),
    Country("AU", "Australia", "Asia Pacific", "AUD", "0.1000", 1, 3.6, (("Melbourne", "3000"),)),
)
BY_CODE = {country.code: country for country in COUNTRIES}

_NEW_RATES = (("FI", "0.2550", date(2024, 9, 1)), ("EE", "0.2400", date(2025, 7, 1)))
_COLUMNS = ("country_code", "name", "region", "currency", "vat_rate", "updated_at")


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file for the dropbox: its object key within the data bucket, and its bytes."""

    key: str
    body: bytes


def country_files() -> tuple[DroppedFile, ...]:
    """The reference files as CSV under `dropbox/countries/`: all countries, and later changes of some of them."""
    first = [(c, c.vat_rate, datetime(2024, 1, 1, tzinfo=UTC)) for c in COUNTRIES]
    later = [
        (BY_CODE[code], rate, datetime(day.year, day.month, day.day, tzinfo=UTC)) for code, rate, day in _NEW_RATES
    ]
    return (
        DroppedFile("dropbox/countries/countries-2024-01.csv", _csv(first)),
        DroppedFile("dropbox/countries/countries-new-rates.csv", _csv(later)),
    )


def _csv(rows: list[tuple[Country, str, datetime]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for country, rate, moment in rows:
        writer.writerow(
            (country.code, country.name, country.region, country.currency, rate, f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        )
    return text.getvalue().encode()
