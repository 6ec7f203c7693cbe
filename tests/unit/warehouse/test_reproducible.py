"""Two parsings of the same project leave the same files, whatever time it is and in whatever order files are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack

from warehouse.reproducible import copy_name, settle, settled

MOMENT = 1_795_994_536


def parsed(time: str, created: float, files: list[str]) -> dict[str, Any]:
    """As much of a manifest as differs between two parsings."""
    return {
        "metadata": {
            "generated_at": time, "invocation_started_at": time, "run_started_at": time, "invocation_id": time,
            "project_name": "gavel",
        },
        "nodes": {
            "model.a": {"created_at": created, "config": {"meta": {"created_at": "a column"}}, "depends_on": [1]},
        },
        "files": {name: {"path": {"modification_time": 1.0}} for name in files},
    }  # fmt: skip


def leave(folder: Path, content: dict[str, Any]) -> dict[str, bytes]:
    """What is on disk after a parsing and `settle`."""
    artifacts = folder / "target"
    artifacts.mkdir(parents=True)
    for path in (folder / "manifest.json", artifacts / "manifest.json"):
        path.write_text(json.dumps({key: value for key, value in content.items() if key != "files"}))
    (artifacts / "partial_parse.msgpack").write_bytes(msgpack.packb(content))
    (artifacts / "dbt.log").write_text(content["metadata"]["generated_at"])
    (artifacts / "perf_info.json").write_text(content["metadata"]["generated_at"])
    settle(folder / "manifest.json", artifacts, MOMENT)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_when_and_in_which_order_it_was_parsed_leaves_no_trace(tmp_path: Path) -> None:
    first = leave(tmp_path / "1", parsed("2026-01-01T00:00:00Z", 1.5, ["a", "b"]))
    second = leave(tmp_path / "2", parsed("2026-02-02T00:00:00Z", 2.5, ["b", "a"]))
    assert first == second
    assert set(first) == {"manifest.json", "target/manifest.json", "target/partial_parse.msgpack"}


def test_what_follows_from_the_project_stays() -> None:
    found = settled(parsed("2026-01-01T00:00:00Z", 1.5, ["a"]), MOMENT)
    assert found["metadata"]["project_name"] == "gavel"
    assert found["metadata"]["generated_at"] == "2026-11-29T23:22:16.000000Z"
    assert found["nodes"]["model.a"] == {
        "created_at": MOMENT, "config": {"meta": {"created_at": "a column"}}, "depends_on": [1],
    }  # fmt: skip


def test_a_copy_is_named_by_its_moment() -> None:
    assert copy_name(MOMENT) != copy_name(MOMENT + 1)
    assert len(copy_name(MOMENT)) == 12
