"""Building the dashboard and serving it beside the stack: what is built when, and that a failure stops nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from contracts import load_contracts
from local.dashboard import build as building
from local.dashboard import serving
from local.dashboard.build import NotBuilt, build, describe
from local.home import Home
from local.screen import Screen


def test_the_types_follow_from_the_api_that_is_served() -> None:
    described = describe(load_contracts())
    pages = {"/orders/{order_id}", "/parties/{party_id}/orders", "/status", "/archive/questions"}
    assert pages <= set(described["paths"])
    assert "customers.item" in described["components"]["schemas"]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of the dashboard whose tools only write down that they ran."""
    source = tmp_path / "dashboard"
    source.mkdir()
    (source / "page.tsx").write_text("one")
    monkeypatch.setattr(building, "SOURCE", source)
    monkeypatch.setattr(building, "BUILT", tmp_path / "built")
    return source


def test_it_is_built_again_when_source_or_contracts_changed_and_only_then(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(package: str, *arguments: str) -> None:
        ran.append(package)
        if "--outDir" in arguments:
            folder = Path(arguments[arguments.index("--outDir") + 1])
            folder.mkdir()
            (folder / "index.html").write_text(f"build {len(ran)}")

    monkeypatch.setattr(building, "prepared", lambda say: run)
    contracts = load_contracts()
    site = build(contracts)
    assert (site / "index.html").read_text() == "build 4"
    (source / "node_modules").mkdir()
    (source / "node_modules" / "any.js").write_text("installed")
    build(contracts)
    assert len(ran) == 4, "nothing has changed"
    (source / "page.tsx").write_text("two")
    assert (build(contracts) / "index.html").read_text() == "build 8"


def test_a_build_that_fails_leaves_the_earlier_one_and_says_why(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = building.BUILT / "site"
    site.mkdir(parents=True)

    def run(package: str, *arguments: str) -> None:
        raise NotBuilt(f"{package} failed: a type does not fit")

    monkeypatch.setattr(building, "prepared", lambda say: run)
    with pytest.raises(NotBuilt, match="openapi-typescript failed: a type does not fit"):
        build(load_contracts())
    assert site.is_dir()


def test_a_program_that_fails_is_named_with_its_last_words(source: Path) -> None:
    with pytest.raises(NotBuilt, match=r"npm ci failed: .*cannot open"):
        building._run(["sh", "-c", "echo cannot open >&2; exit 3"], "npm ci")
    with pytest.raises(NotBuilt, match="node could not be started"):
        building._run(["/nowhere/node"], "node")


def test_a_dashboard_that_cannot_be_built_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> Path:
        raise NotBuilt("npm ci failed: no network")

    home = Home(tmp_path / "home")
    home.begin()
    current = home.update(dashboard_url="http://127.0.0.1:1")
    monkeypatch.setattr(serving, "build", build)
    said = io.StringIO()
    after = serving.start(home, current, load_contracts(), Screen(Console(file=said, width=200)))
    assert "The staff dashboard is not served: npm ci failed: no network" in said.getvalue()
    assert after.dashboard_url is None
    assert serving.how_to_open(after) == []
