"""The list of an image's parts (SBOM, CycloneDX 1.6): its Python packages as they lie in it, its base by digest.

Each package has its licence as its metadata says it, and the SHA-256 of the wheel that it was installed from, which the
Dockerfile keeps beside the packages. The same image gives the same text: its time is the commit's, its number follows
from what it lists.
"""

from __future__ import annotations

import re
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from local.image.dockerfile import steps

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

PYTHON = "3.12"
PACKAGES = f"opt/python/lib/python{PYTHON}/site-packages"
WHEELS = "opt/python/wheels.sha256"
_LOCKED = re.compile(
    r"^([\w.-]+)==([\w.+!-]+)(?: ; (.*?))? \\$((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", re.MULTILINE
)
_OSI = "License :: OSI Approved :: "


class PartsDiffer(RuntimeError):
    """What lies in the image is not what its own list of wheels says; names the packages."""


@dataclass(frozen=True)
class Package:
    """An installed package; `wheel` is the SHA-256 of what it was installed from, `needs` the names of packages."""

    name: str
    version: str
    wheel: str
    licences: Sequence[str]
    needs: Sequence[str]


@dataclass(frozen=True)
class Locked:
    """A package of a lock: the hashes that it may have, and for which machines it is (a marker; empty: for all)."""

    version: str
    hashes: frozenset[str]
    marker: str


def installed(root: Path) -> list[Package]:
    """The packages that lie in an image, by their names. Raises `PartsDiffer`."""
    found = {canonicalize_name(d.name): d for d in distributions(path=[str(root / PACKAGES)])}
    wheels = {}
    for line in (root / WHEELS).read_text("utf-8").splitlines():
        digest, name = line.split()
        parsed, version, _, _ = parse_wheel_filename(name)
        wheels[parsed] = (str(version), digest)
    have = {name: d.version for name, d in found.items()}
    if have != {name: version for name, (version, _) in wheels.items()}:
        odd = sorted(set(have.items()) ^ {(name, version) for name, (version, _) in wheels.items()})
        raise PartsDiffer(f"expected the packages of {WHEELS} in {PACKAGES}, found these in one of them only: {odd}")
    return [
        Package(name, d.version, wheels[name][1], _licences(d), sorted(set(_needs(d)) & set(found)))
        for name, d in sorted(found.items())
    ]


def locked(text: str) -> dict[str, Locked]:
    """The packages of a lock with hashes (`requirements/*.txt`), by their names."""
    return {
        canonicalize_name(name): Locked(version, frozenset(re.findall(r"sha256:([0-9a-f]{64})", hashes)), marker or "")
        for name, version, marker, hashes in _LOCKED.findall(text)
    }


def base_of(dockerfile: str) -> tuple[str, str, str]:
    """Name, tag and SHA-256 of the image that the last stage begins from."""
    base, stages = "", dict[str, str]()
    for step in steps(dockerfile):
        if step.name == "FROM":
            source, _, name = step.rest.partition(" AS ")
            base = stages.get(source, source)
            stages[name] = base
    found = re.fullmatch(r"([\w./-]+):([\w.-]+)@sha256:([0-9a-f]{64})", base)
    if found is None:
        raise ValueError(f"expected a base as name:tag@sha256:<digest>, found {base!r}")
    return found[1], found[2], found[3]


def write(root: Path, project: Path, moment: int, path: Path) -> int:
    """Write the list of an image's parts as of a moment, in seconds since 1970; returns how many packages it has.
    Raises `PartsDiffer`."""
    from cyclonedx.output.json import JsonV1Dot6

    packages = installed(root)
    bom = _bom(packages, project, moment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", "utf-8")
    return len(packages)


def _bom(packages: Sequence[Package], project: Path, moment: int) -> Bom:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    about = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    name, tag, digest = base_of((project / "deploy" / "Dockerfile").read_text("utf-8"))
    base = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=tag,
        bom_ref="base",
        purl=PackageURL("docker", None, name, f"sha256:{digest}", {"tag": tag}),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    product = Component(
        type=ComponentType.APPLICATION,
        name=about["name"],
        version=about["version"],
        bom_ref="product",
        description=about["description"],
    )
    product.licenses.update(_choices([about["license"]]))
    parts = {package.name: _component(package) for package in packages}
    number = uuid.uuid5(uuid.NAMESPACE_URL, repr((packages, name, tag, digest, about["version"], moment)))
    metadata = BomMetaData(component=product, timestamp=datetime.fromtimestamp(moment, UTC))
    bom = Bom(components=[base, *parts.values()], serial_number=number, metadata=metadata)
    direct = {
        canonicalize_name(Requirement(text).name)
        for text in (*about["dependencies"], *about["optional-dependencies"]["aws"])
    }
    bom.register_dependency(product, [base, *(part for name, part in parts.items() if name in direct)])
    for package in packages:
        bom.register_dependency(parts[package.name], [parts[needed] for needed in package.needs])
    return bom


def _component(package: Package) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    purl = PackageURL("pypi", None, package.name, package.version)
    made = Component(name=package.name, version=package.version, purl=purl, bom_ref=purl.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.wheel)])  # fmt: skip
    made.licenses.update(_choices(package.licences))
    return made


def _choices(licences: Sequence[str]) -> Iterator[object]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    made = [LicenseFactory().make_from_string(text) for text in licences]
    expressions = [licence for licence in made if hasattr(licence, "value")]
    yield from expressions[:1] or made  # CycloneDX allows one expression, or names


def _licences(distribution: Distribution) -> list[str]:
    metadata = distribution.metadata
    if "License-Expression" in metadata:
        return [metadata["License-Expression"]]
    if names := [c.removeprefix(_OSI) for c in metadata.get_all("Classifier", ()) if c.startswith(_OSI)]:
        return sorted(names)
    written = metadata["License"].strip() if "License" in metadata else ""
    return [written.splitlines()[0][:100]] if written and written != "UNKNOWN" else []


def _needs(distribution: Distribution) -> Iterator[str]:
    here: dict[str, str] = {**_machine(), "python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "extra": ""}
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(here):
            yield canonicalize_name(requirement.name)


def _machine() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}
