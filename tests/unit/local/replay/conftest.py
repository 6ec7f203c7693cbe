"""A small file of auctions, and mappings written down in a test."""

from textwrap import dedent

import pytest

from local.replay import prepare
from tests.support.auctions import write_auctions


@pytest.fixture
def auctions_csv(tmp_path):
    return write_auctions(tmp_path / "auctions.csv")


@pytest.fixture
def run(tmp_path):
    """Prepare a file's text by queries (`entity` or `entity__part` = SQL) and the text of `file.yaml`."""

    def run(content, form="", /, options=None, contracts=None, **queries):
        folder = tmp_path / "mapping"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, sql in queries.items():
            (folder / f"{name.replace('__', '.')}.sql").write_text(dedent(sql), encoding="utf-8")
        if form:
            (folder / "file.yaml").write_text(dedent(form), encoding="utf-8")
        (tmp_path / "file.csv").write_text(content, encoding="utf-8", newline="")
        rejects = tmp_path / "out" / "rejects.csv"
        return prepare(tmp_path / "file.csv", folder, options=options, rejects=rejects, contracts=contracts)

    return run
