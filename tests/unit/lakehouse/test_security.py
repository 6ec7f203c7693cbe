"""A key that somebody else chose names one object, whatever an engine or a file system would read into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts import load_contracts
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.intake.quarantine import list_files
from lakehouse.publish.publication import publish
from lakehouse.results import Counts
from tests.support.lakes import Clock, local_lake, published_rows

COUNTRIES = load_contracts()["countries"]
HOSTILE = [
    "*",
    "**",
    "a?",
    "[a-z]",
    "{a,b}",
    "it's",
    'a"b',
    "a;b --",
    "a\nb",
    "a\\b",
    "$(x)",
    "%2e%2e",
    "a=b",
    " ",
    "é",
]


ROW = {"name": "n", "region": "r", "currency": "EUR", "updated_at": "2026-11-21T00:00:00Z"}


@pytest.mark.parametrize("ending", [".csv", ".ndjson"])
def test_a_key_names_one_object_and_nothing_else(tmp_path: Path, ending: str) -> None:
    """Were a key a pattern, its object would bring the rows of others as well, or none."""
    lake = local_lake(tmp_path, Clock())
    codes = [f"{a}{b}" for a in "ABCDE" for b in "FGHIJ"][: len(HOSTILE) + 2]
    for code, name in zip(codes, [*HOSTILE, "a", "b"], strict=True):
        row = {"country_code": code, **ROW}
        text = f"{','.join(row)}\n{','.join(row.values())}\n" if ending == ".csv" else json.dumps(row)
        lake.store.write(f"dropbox/countries/{name}{ending}", text.encode())
    result = compact(lake, COUNTRIES, Scope.everything())
    publish(lake, COUNTRIES)
    assert result.counts == Counts(read=len(codes), applied=len(codes))
    assert sorted(row["country_code"] for row in published_rows(lake, COUNTRIES)) == codes
    assert list_files(lake, COUNTRIES) == []


def test_a_bad_object_is_set_aside_under_its_own_prefix(tmp_path: Path) -> None:
    lake = local_lake(tmp_path, Clock())
    for name in HOSTILE:
        lake.store.write(f"dropbox/countries/{name}.csv", b"country_code,name\nnot-a-code,n\n")
    result = compact(lake, COUNTRIES, Scope.everything())
    assert result.counts.quarantined == len(HOSTILE)
    written = [o.key for o in lake.store.list("") if o.key.startswith("quarantine")]
    assert written
    assert all(key.startswith("quarantine/countries/") and ".." not in key.split("/") for key in written)
