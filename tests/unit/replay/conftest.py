"""A small file of auctions for the tests of the replay."""

import pytest

from tests.support.auctions import write_auctions


@pytest.fixture
def auctions_csv(tmp_path):
    return write_auctions(tmp_path / "auctions.csv")
