"""A code location for unit tests: settings of a folder of its own, and a small dbt manifest instead of dbt."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import Settings
from tests.support.manifests import small_manifest


@pytest.fixture
def document() -> dict[str, Any]:
    """A manifest with a model of each layer, tests of models and sources, and the page's exposure."""
    return small_manifest()


@pytest.fixture
def settings(tmp_path: Path, document: dict[str, Any]) -> Settings:
    """Settings of a laptop whose home is this test's own, with the manifest prepared."""
    manifest = tmp_path / "dbt" / "local" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(document))
    return Settings(home=tmp_path, endpoint_url="http://127.0.0.1:1")
