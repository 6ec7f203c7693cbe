"""A process keeps its engine from batch to batch, also when somebody tidies the folder that it spills to."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lakehouse.storage.duck import connect
from tests.support.lakes import local_lake

MORE_THAN_FITS = (
    "CREATE TEMP TABLE texts AS SELECT repeat(md5(range::VARCHAR), 4) AS text FROM range(300000) ORDER BY text"
)


def test_an_engine_spills_after_its_folder_was_removed(tmp_path: Path) -> None:
    lake = replace(local_lake(tmp_path), memory_limit="32MB", scratch=tmp_path / "scratch")
    for _ in range(2):
        with connect(lake) as duck:
            duck.run(MORE_THAN_FITS)
            assert [*(tmp_path / "scratch").glob("gavel-spill-*/*")], "it spilled"
        shutil.rmtree(tmp_path / "scratch")
