"""The command that refuses an incompatible contract before it is merged."""

import shutil
import subprocess
from pathlib import Path

import pytest

from contracts.__main__ import main
from contracts.loader import ENTITIES


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository whose first revision holds the product's contracts."""
    folder = tmp_path / "entities"
    shutil.copytree(ENTITIES, folder)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return folder


def check(folder: Path) -> int:
    return main(["check", "--folder", str(folder), "--against", "HEAD"])


def test_unchanged_contracts_pass(repository: Path):
    assert check(repository) == 0


def test_an_incompatible_change_is_refused_with_the_reason(repository: Path, capsys):
    path = repository / "bids.yaml"
    path.write_text(path.read_text().replace("decimal(14,2)", "decimal(10,2)").replace("1.0.0", "1.1.0"))
    assert check(repository) == 1
    assert "amount: decimal(14,2) cannot become decimal(10,2)" in capsys.readouterr().err


def test_a_new_entity_passes(repository: Path):
    text = (repository / "virtual_requests.yaml").read_text()
    (repository / "appraisals.yaml").write_text(text.replace("virtual_requests", "appraisals"))
    assert check(repository) == 0


def test_an_unknown_revision_is_named(repository: Path, capsys):
    assert main(["check", "--folder", str(repository), "--against", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
