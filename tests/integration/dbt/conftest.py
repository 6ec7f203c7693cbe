"""dbt on the small lakes of `slices`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import Contracts, load_contracts
from contracts.dbt import PROJECT
from tests.support.slices import Slice

Dbt = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def contracts() -> Contracts:
    return load_contracts()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that dbt keeps its artifacts in."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture(scope="session")
def dbt(artifacts: Path) -> Dbt:
    """`dbt("build", …, slice=folder, warehouse=file)` in this process: node name -> status. Raises where a node failed.

    dbt parses everything again when a path in its profile changes, so it always gets the same links to what is meant.
    """
    links = {name: artifacts / name for name in ("slice", "warehouse")}

    def run(*arguments: str, slice: Path, warehouse: Path) -> dict[str, str]:
        from dbt.cli.main import dbtRunner

        warehouse.parent.mkdir(parents=True, exist_ok=True)
        for link, folder in ((links["slice"], slice), (links["warehouse"], warehouse.parent)):
            link.unlink(missing_ok=True)
            link.symlink_to(folder, target_is_directory=True)
        settings = {"GAVEL_SLICE": str(links["slice"]), "GAVEL_WAREHOUSE": str(links["warehouse"] / warehouse.name)}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            patch.chdir(PROJECT)
            outcome = dbtRunner().invoke(
                [
                    "--quiet",
                    *arguments,
                    *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target", "local"),
                    *("--target-path", str(artifacts), "--log-path", str(artifacts)),
                ]
            )
        if outcome.exception is not None:
            raise outcome.exception
        results = outcome.result.results
        failed = [f"{r.node.name}: {r.message}" for r in results if r.status in ("error", "fail")]
        assert not failed, "\n".join(failed)
        return {r.node.name: str(r.status) for r in results}

    return run


@pytest.fixture
def new_slice(contracts: Contracts) -> Callable[[], Slice]:
    return lambda: Slice(contracts)
