"""A small file of the same form as the real auctions: with ties, a disagreeing closing price and odd names."""

from __future__ import annotations

import csv
import random
from decimal import Decimal
from pathlib import Path

HEADER = ("auctionid", "bid", "bidtime", "bidder", "bidderrate", "openbid", "price", "item", "auction_type")
BIDDERS = ("NA", "ann", "b. o'brien", "cé@example.net", "d/e f", "#7", *(f"user{i}" for i in range(40)))


def auction_rows(seed: int = 20, auctions: int = 25) -> list[tuple[str, ...]]:
    """Rows of invented auctions as texts. Every fifth ends in a tie; every seventh closes at another price."""
    rng = random.Random(seed)
    rows = []
    for n in range(auctions):
        days = rng.choice((3, 5, 7))
        times = sorted({f"{rng.uniform(0.01, days - 0.1):.6f}" for _ in range(rng.randint(1, 12))}, key=Decimal)
        amounts = [Decimal(rng.randint(500, 30000)) / 100 for _ in times]
        if n % 5 == 0 and len(times) > 2:
            amounts[-1] = amounts[1] = max(amounts) + 1
        price = max(amounts) + (Decimal("12.5") if n % 7 == 3 else 0)
        for moment, amount in zip(times, amounts, strict=True):
            bidder = rng.choice(BIDDERS)
            rows.append(
                (str(9000 + n), f"{amount.normalize():f}", moment, bidder, rng.choice(("NA", "0", "12")),
                 "4.99", f"{price.normalize():f}", ("watch", "console", "palm")[n % 3],
                 f"{days} day auction")
            )  # fmt: skip
    rng.shuffle(rows)  # nothing may depend on the order of the file
    return rows


def write_auctions(path: Path) -> Path:
    """Write the invented auctions as CSV; returns the path."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        writer.writerows(auction_rows())
    return path
