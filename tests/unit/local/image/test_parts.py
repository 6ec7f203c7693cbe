"""The list of parts says what lies in the image: no package more or less, each with the wheel that it came from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from local.home import REPOSITORY
from local.image.parts import PACKAGES, WHEELS, PartsDiffer, base_of, installed, locked, write

OF_PACKAGING = """Classifier: License :: OSI Approved :: BSD License
Requires-Dist: orjson
Requires-Dist: tomli; python_version < '3.11'"""
PROJECT = {
    "orjson": ("3.13.0", "License-Expression: MPL-2.0 AND MIT"),
    "packaging": ("26.3", OF_PACKAGING),
    "odd": ("1", "License: As is\n  and more"),
    "tomli": ("2", "License: MIT"),
}
MOMENT = 1_795_994_536


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with four packages."""
    for name, (version, more) in PROJECT.items():
        folder = tmp_path / PACKAGES / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}\n")
    wheels = (f"{'0' * 63}{n}  {name}-{v}-py3-none-any.whl\n" for n, (name, (v, _)) in enumerate(PROJECT.items()))
    (tmp_path / WHEELS).write_text("".join(wheels))
    return tmp_path


def test_each_package_has_its_version_wheel_licence_and_what_it_needs(root: Path, tmp_path: Path) -> None:
    assert write(root, REPOSITORY, MOMENT, tmp_path / "sbom.json") == len(PROJECT)
    text = (tmp_path / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = json.loads(text)
    found = {c["name"]: c for c in listed["components"]}
    assert set(found) == {"python", *PROJECT}
    assert found["orjson"]["purl"] == "pkg:pypi/orjson@3.13.0"
    assert found["packaging"]["hashes"] == [{"alg": "SHA-256", "content": "0" * 63 + "1"}]
    licences = {name: found[name]["licenses"] for name in PROJECT}
    assert licences == {
        "orjson": [{"expression": "MPL-2.0 AND MIT"}],
        "packaging": [{"license": {"name": "BSD License"}}],
        "odd": [{"license": {"name": "As is"}}],
        "tomli": [{"license": {"id": "MIT"}}],
    }
    needs = {d["ref"]: d.get("dependsOn", []) for d in listed["dependencies"]}
    assert needs["pkg:pypi/packaging@26.3"] == ["pkg:pypi/orjson@3.13.0"]
    assert needs["product"] == ["base", "pkg:pypi/orjson@3.13.0", "pkg:pypi/packaging@26.3"], (
        "what pyproject.toml asks for"
    )


def test_the_base_is_named_by_its_digest(root: Path, tmp_path: Path) -> None:
    write(root, REPOSITORY, MOMENT, tmp_path / "sbom.json")
    (base,) = (c for c in json.loads((tmp_path / "sbom.json").read_text())["components"] if c["bom-ref"] == "base")
    name, tag, digest = base_of((REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8"))
    assert (base["name"], base["version"], base["hashes"][0]["content"]) == (name, tag, digest)
    with pytest.raises(ValueError, match=r"found 'python:3\.12'"):
        base_of("FROM python:3.12\n")


def test_the_same_image_gives_the_same_text(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(root, REPOSITORY, MOMENT, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    said = json.loads((tmp_path / "one").read_text())
    assert datetime.fromisoformat(said["metadata"]["timestamp"]) == datetime.fromtimestamp(MOMENT, UTC)
    (root / WHEELS).write_text((root / WHEELS).read_text().replace("0000", "1111", 1))
    write(root, REPOSITORY, MOMENT, tmp_path / "two")
    assert json.loads((tmp_path / "two").read_text())["serialNumber"] != said["serialNumber"]


@pytest.mark.parametrize("change", ["more", "fewer", "other"])
def test_a_package_that_came_another_way_is_named(root: Path, change: str) -> None:
    wheels = (root / WHEELS).read_text()
    changed = {
        "more": "".join(line for line in wheels.splitlines(True) if "odd" not in line),
        "fewer": f"{wheels}{'a' * 64}  gone-1-py3-none-any.whl\n",
        "other": wheels.replace("odd-1", "odd-2"),
    }
    (root / WHEELS).write_text(changed[change])
    with pytest.raises(PartsDiffer, match=r"odd|gone"):
        installed(root)


def test_a_lock_is_read_with_hashes_and_markers() -> None:
    a, b, c = (f"    --hash=sha256:{letter * 64}" for letter in "abc")
    found = locked(f"a==1 \\\n{a} \\\n{b}\nB_c==2 ; os_name == 'nt' \\\n{c}\n")
    said = {name: (package.version, len(package.hashes), package.marker) for name, package in found.items()}
    assert said == {"a": ("1", 2, ""), "b-c": ("2", 1, "os_name == 'nt'")}
    text = (REPOSITORY / "requirements" / "image.txt").read_text("utf-8")
    assert len(locked(text)) == len([line for line in text.splitlines() if not line.startswith(" ")])
