"""Builds of the warehouse: readers keep what they had until a build is whole, and dbt sees the settings given."""

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from assets import dbt
from contracts.dbt import PROJECT
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from warehouse import project as on_disk


def test_readers_see_the_new_file_only_once_it_is_published(tmp_path: Path) -> None:
    database, build = tmp_path / "warehouse.duckdb", tmp_path / "build" / "warehouse.duckdb"
    database.write_text("old")
    with dbt.build_copy(database, build) as publish:
        assert build.read_text() == "old"
        build.write_text("new")
        assert database.read_text() == "old"
        publish()
    assert database.read_text() == "new"


def test_a_reader_of_the_old_file_is_not_disturbed_by_a_publication(tmp_path: Path) -> None:
    database, build = tmp_path / "warehouse.duckdb", tmp_path / "build" / "warehouse.duckdb"
    database.write_text("old")
    with database.open() as reader, dbt.build_copy(database, build) as publish:
        build.write_text("new")
        publish()
        assert reader.read() == "old"


def test_a_build_that_fails_leaves_readers_what_they_had(tmp_path: Path) -> None:
    database, build = tmp_path / "warehouse.duckdb", tmp_path / "build" / "warehouse.duckdb"
    database.write_text("old")

    def fails() -> None:
        with dbt.build_copy(database, build):
            build.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert database.read_text() == "old"
    with dbt.build_copy(database, build):
        assert build.read_text() == "old"


def test_what_is_only_in_the_write_ahead_log_is_published_too(tmp_path: Path) -> None:
    database, build = tmp_path / "warehouse.duckdb", tmp_path / "build" / "warehouse.duckdb"
    with dbt.build_copy(database, build) as publish:
        program = (
            "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
            "c.execute('create table t as select 42 as n'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", program, str(build)], check=True)
        assert build.with_name("warehouse.duckdb.wal").exists()
        publish()
    with duckdb.connect(str(database), read_only=True) as reader:
        assert reader.execute("select n from t").fetchall() == [(42,)]


def test_what_a_killed_build_left_behind_is_not_built_upon(tmp_path: Path) -> None:
    build = tmp_path / "build" / "warehouse.duckdb"
    build.parent.mkdir()
    build.write_text("half")
    build.with_name("warehouse.duckdb.wal").write_text("half")
    with dbt.build_copy(tmp_path / "warehouse.duckdb", build):
        assert list(build.parent.iterdir()) == []


def _requested_of_dbt(
    files: on_disk.DbtFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[str, str]]:
    """The arguments and the environment that dbt would have got."""
    program = tmp_path / "bin" / "dbt"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo 1.11.16; exit; fi\n'
        f'echo "$*" > {tmp_path}/arguments; env > {tmp_path}/environment\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(on_disk, "DBT", program)
    files.cli(["parse"]).wait()
    lines = (tmp_path / "environment").read_text().splitlines()
    return (tmp_path / "arguments").read_text(), dict(line.split("=", 1) for line in lines if "=" in line)


def test_dbt_gets_its_settings_whatever_the_environment_says(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAVEL_BUCKET", "another")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("GAVEL_PASSED", '{"test.gavel.t": {"orders": [1, 1]}}')
    before = dict(os.environ)
    _, environment = _requested_of_dbt(dbt_files(settings), tmp_path, monkeypatch)
    assert environment["GAVEL_BUCKET"] == settings.bucket
    assert environment["AWS_ENDPOINT_URL"] == settings.endpoint_url
    assert environment["GAVEL_WAREHOUSE"] == str(settings.home / "build" / "warehouse.duckdb")
    assert environment["HOME"] == "/home/me"
    assert environment["GAVEL_PASSED"] == "{}", "what nobody says of this build"
    assert dict(os.environ) == before


def test_each_target_has_a_folder_of_its_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, prod = (on_disk.DbtFiles(target, settings.home, {}) for target in ("local", "prod"))
    assert local.artifacts != prod.artifacts
    arguments, environment = _requested_of_dbt(prod, tmp_path, monkeypatch)
    assert arguments == "parse --target prod\n"
    assert environment["DBT_TARGET_PATH"] == environment["DBT_LOG_PATH"] == str(prod.artifacts)


def test_a_manifest_older_than_a_model_is_prepared_again(settings: Settings) -> None:
    files = dbt_files(settings)
    newest = max(path.stat().st_mtime for path in PROJECT.rglob("*"))
    later = max(newest, time.time()) + 10
    os.utime(files.manifest, (later, later))
    assert on_disk.is_prepared(files)
    os.utime(files.manifest, (1, 1))
    assert not on_disk.is_prepared(files)
    files.manifest.unlink()
    assert not on_disk.is_prepared(files)
