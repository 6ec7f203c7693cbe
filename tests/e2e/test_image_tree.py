"""The image's steps, carried out twice without Docker: the same files, a true list of parts, and roles that start.

It takes some eight minutes, root, and Python 3.12 to stand for the base image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker

from local.home import REPOSITORY
from local.image import __main__ as command
from local.image import files, parts, tasks, whole
from local.image.building import Stage
from local.image.sandbox import NoSandbox, unshare

pytestmark = [pytest.mark.stack, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Stage]]:
    """Two images of the same commit, of two copies of the project, in two folders, one after the other."""
    try:
        unshare()
        command.standing_for_base()
    except NoSandbox:
        pytest.skip("the image's steps need root on Linux and a Python 3.12")
    before = os.umask(0o022)
    first = command.image(tmp_path_factory.mktemp("image") / "tree").make()
    with command.elsewhere() as (folder, project):
        yield first, command.image(folder, project).make()
    os.umask(before)


def test_two_images_of_a_commit_are_the_same_files(images: tuple[Stage, Stage]) -> None:
    first, second = images
    assert files.unlike(files.listing(first.root), files.listing(second.root)) == []
    here = [REPOSITORY, command.standing_for_base(), first.root, second.root.parents[1]]
    assert command.wrong_in(second, here) == []


def test_nothing_is_taken_out_that_something_else_needs(images: tuple[Stage, Stage]) -> None:
    assert whole.lacking(images[0]) == []


def test_the_list_of_parts_is_what_lies_there_and_what_is_locked(images: tuple[Stage, Stage], tmp_path: Path) -> None:
    root = images[0].root
    parts.write(root, REPOSITORY, command.moment(), tmp_path / "sbom.json")
    listed = {
        c["name"]: (c["version"], c["hashes"][0]["content"])
        for c in json.loads((tmp_path / "sbom.json").read_text("utf-8"))["components"]
        if c["bom-ref"] != "base"
    }
    lying = {path.name.removesuffix(".dist-info") for path in (root / parts.PACKAGES).glob("*.dist-info")}
    assert {f"{name.replace('-', '_')}-{version}" for name, (version, _) in listed.items()} == {
        n.lower() for n in lying
    }
    here = {"python_version": parts.PYTHON, "python_full_version": f"{parts.PYTHON}.0"}
    of_lock = {
        name: package
        for name, package in parts.locked((REPOSITORY / "requirements" / "image.txt").read_text("utf-8")).items()
        if not package.marker or Marker(package.marker).evaluate(here)
    }
    assert {name: version for name, (version, _) in listed.items()} == {n: p.version for n, p in of_lock.items()}
    assert not [name for name, (_, wheel) in listed.items() if wheel not in of_lock[name].hashes]


def test_each_role_starts_and_works_where_only_its_volumes_can_be_written(
    images: tuple[Stage, Stage], tmp_path: Path
) -> None:
    said: list[str] = []
    tasks.start_roles(images[1], REPOSITORY / "deploy" / "pipeline.yaml", tmp_path, said.append)
    assert [line.split(":")[0] for line in said] == ["code", "web", "daemon", "run"]
    assert tasks.within(images[1].root) == []
