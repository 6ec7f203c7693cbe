"""A slice is cut into a folder of its own, or not at all."""

from pathlib import Path

import pytest

from contracts import load_contracts
from local.home import Home
from local.slice import SliceError, cut


def test_an_unknown_entity_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(SliceError, match=r"expected an entity \(bids, .*found 'lot'"):
        cut(Home(tmp_path), load_contracts(), "lot", 1, tmp_path / "slice")


def test_a_folder_of_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SliceError, match="found other files; name another folder"):
        cut(Home(tmp_path), load_contracts(), "lots", 1, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
