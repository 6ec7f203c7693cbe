"""pyarrow finds no pandas in a process that makes batches, and works with it where somebody else brings it."""

from __future__ import annotations

import subprocess
import sys

BATCH = """
import sys, tempfile
from datetime import UTC, datetime
from pathlib import Path
from lakehouse import api
from lakehouse.intake.landing import Scope
from tests.support.lakes import PARCELS, Landing, change, local_lake

lake = local_lake(Path(tempfile.mkdtemp()))
landing = Landing(lake, PARCELS)
for version in (1, 2):
    landing.land([change(f"p-{key}", version=version) for key in range(10)], name=f"{version}.parquet")
    assert api.compact(lake, PARCELS, Scope.everything()).counts.read == 10
    api.publish(lake, PARCELS)
print("pandas" in sys.modules)
"""
LATER = """
import lakehouse.storage.arrow
import pyarrow as pa
import pandas as pd

frame = pd.DataFrame({"number": [1.5, None], "text": ["a", None]})
assert pa.Table.from_pandas(frame).to_pylist() == [{"number": 1.5, "text": "a"}, {"number": None, "text": None}]
assert pa.array(frame["number"]).to_pylist() == [1.5, None]
assert pa.table({"number": [1, 2]}).to_pandas()["number"].sum() == 3
"""
LOOKS = "import sys, pyarrow as pa; pa.array(['a']); print('pandas' in sys.modules)"


def said(program: str) -> str:
    begun = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return begun.stdout.strip()


def test_no_batch_imports_pandas() -> None:
    assert said(BATCH) == "False"


def test_whoever_brings_pandas_later_finds_it_all_the_same() -> None:
    said(LATER)


def test_left_to_itself_pyarrow_still_imports_pandas() -> None:
    """If it does no more, the module is of no use."""
    assert said(LOOKS) == "True"
