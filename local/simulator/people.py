"""The parties of the simulated house: who they are, where they live, how much they trade and on what terms.

Some buy again and again, a few businesses sell most of the lots, and some bring less than they cost: negotiated terms,
cheap lots with dear handling, far countries, returned parcels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from local.simulator.countries import BY_CODE, COUNTRIES
from local.traffic import Request

_FIRST = ("Anna", "Ben", "Clara", "David", "Elif", "Finn", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Liam", "Mira",
          "Noah", "Olga", "Pavel", "Rosa", "Samir", "Tess", "Viktor", "Yuki", "Zoe")  # fmt: skip
_LAST = ("Adler", "Brandt", "Costa", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ito", "Jansen", "Keller",
         "Lindt", "Moreau", "Novak", "Olsen", "Peters", "Quinn", "Rossi", "Schmid", "Tanaka", "Visser",
                 "Wagner")  # fmt: skip
_HOUSES = ("Antiques", "Collectibles", "Rarities", "Trading", "& Daughters", "Cabinet", "Gallery")
_STREETS = (
    "High Street",
    "Station Road",
    "Mill Lane",
    "Museumstraat",
    "Hauptstraße",
    "Rue du Port",
    "Via Roma",
    "Park Avenue",
)


@dataclass(frozen=True, slots=True)
class Party:
    """A customer with the habits that the scenarios follow; rates are shares of the hammer price."""

    customer_id: str
    name: str
    kind: str
    country: str
    registered_at: datetime
    buys: float
    sells: float
    commission: float
    careless: bool
    """Sends back, pays late and is dear to serve (buyer), or asks for much and sells little (seller)."""
    method: str
    addresses: tuple[str, ...]
    tastes: tuple[str, ...] = field(default=())


def population(
    rng: Random, size: int, tag: str, begin: datetime, end: datetime, categories: tuple[str, ...]
) -> tuple[Party, ...]:
    """`size` parties, by time of registration: half of them before `begin`, the others until shortly before `end`."""
    registrations = sorted(
        begin - timedelta(days=rng.uniform(0.2, 400))
        if n < max(4, size // 2)
        else begin + (end - begin) * rng.random() * 0.97
        for n in range(size)
    )
    sellers = max(2, size // 6)
    selling = set(rng.sample(range(max(4, size // 2)), min(sellers, max(4, size // 2))))
    parties = []
    rank = 0
    for n, registered in enumerate(registrations):
        seller = n in selling
        rank += seller
        business = seller and rng.random() < 0.6
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        customer_id = f"c-{tag}-{n + 1:05d}"
        careless = rng.random() < 0.12
        power = seller and rank <= max(1, sellers // 6)
        parties.append(
            Party(
                customer_id=customer_id,
                name=f"{last} {rng.choice(_HOUSES)}" if business else f"{first} {last}",
                kind="business" if business else "private",
                country=rng.choices(COUNTRIES, [c.share for c in COUNTRIES])[0].code,
                registered_at=registered,
                buys=0.3 if seller else rng.paretovariate(1.5),
                sells=(12.0 if power else rng.paretovariate(1.3)) if seller else 0.0,
                commission=0.0 if seller and careless else 0.06 if power else 0.10,
                careless=careless,
                method=rng.choices(("card", "bank_transfer", "wallet", "cheque"), (50, 28, 19, 3))[0],
                addresses=tuple(f"a-{tag}-{n + 1:05d}-{i + 1}" for i in range(2 if rng.random() < 0.08 else 1)),
                tastes=tuple(rng.sample(categories, 3)),
            )
        )
    return tuple(parties)


def introduce(rng: Random, party: Party) -> list[Request]:
    """The changes by which a party and its addresses come to exist."""
    country = BY_CODE[party.country]
    mailbox = party.name.lower().replace("& ", "").replace(" ", ".")
    payload = {
        "customer_id": party.customer_id,
        "name": party.name,
        "email": f"{mailbox}.{party.customer_id[-5:]}@example.com",
        "phone": f"+00 555 {rng.randint(0, 9999999):07d}" if rng.random() < 0.8 else None,
        "kind": party.kind,
        "country_code": party.country,
        "status": "active",
        "feedback_score": int(rng.expovariate(1 / 40)),
        "marketing_consent": rng.random() < 0.4,
        "tags": (["power-seller"] if party.sells >= 12 else []) + (["collector"] if party.buys > 4 else []),
        "registered_at": stamp(party.registered_at),
    }
    requests = [Request("PUT", "customers", (party.customer_id,), payload, party.registered_at)]
    for i, address_id in enumerate(party.addresses):
        city, code = rng.choice(country.cities)
        at = party.registered_at + timedelta(seconds=1 + i)
        address = {
            "address_id": address_id,
            "customer_id": party.customer_id,
            "recipient": party.name,
            "street": f"{rng.choice(_STREETS)} {rng.randint(1, 180)}",
            "city": city,
            "postal_code": code,
            "region": None,
            "country_code": party.country,
            "status": "active",
        }
        requests.append(Request("PUT", "shipping_addresses", (address_id,), address, at))
    return requests


def stamp(moment: datetime) -> str:
    """A UTC moment as the API takes it, to the second or, if it has a fraction, to the millisecond."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
