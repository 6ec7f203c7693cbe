"""The dbt-duckdb plugin through which a local build reads the lake.

When dbt opens the warehouse file, the plugin lets DuckDB read the bucket and creates the views of `sources`. Which file
a build writes belongs to the profile; what models make of the sources belongs to `dbt_project`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin

from contracts import load_contracts
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import literal
from warehouse.sources import create_source_views, logs_of_lake, logs_of_slice, open_lake, pinned_lake, pinned_slice

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STATE = Path("state", "state.duckdb")
"""In the folder of a slice: what the project made of it when the slice was cut."""


class Plugin(BasePlugin):
    """What dbt-duckdb calls: see `profiles.yml` for the settings."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Keep the settings: `environment`, `region`, `endpoint`, `bucket`, `lake_root`, `contracts`, `slice`."""
        self._settings = {name: str(value) for name, value in plugin_config.items()}

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Keep DuckDB from fetching extensions, and make the folder of the file that it will write."""
        config.update({"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
        Path(creds.path).parent.mkdir(parents=True, exist_ok=True)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Create the source views, once for each time that dbt opens the file."""
        settings = self._settings
        contracts = load_contracts(Path(settings["contracts"]) if settings["contracts"] else None)
        if settings["slice"]:
            folder = Path(settings["slice"])
            pinned, logs = pinned_slice(folder, contracts), logs_of_slice(folder)
        else:
            lake = Lake.of_environment(
                settings["environment"], settings["bucket"], settings["region"], settings["endpoint"] or None
            )
            if settings["lake_root"]:
                lake = replace(lake, local_root=Path(settings["lake_root"]))
            open_lake(conn, lake)
            pinned, logs = pinned_lake(lake, contracts), logs_of_lake(lake)
        create_source_views(conn, contracts, pinned, logs)
        if settings["slice"]:
            attach_state(conn, folder / STATE)


def attach_state(conn: DuckDBPyConnection, file: Path) -> None:
    """Let models read what the project made of this slice before it was changed (`dbt build --defer`), if it did."""
    row = conn.execute("select current_database()").fetchone()
    if file.exists() and row != (file.stem,):  # a build does not attach the file that it writes
        conn.execute(f"attach if not exists {literal(str(file))} (read_only)")
