"""Extracts an image that Docker built: `build/image.tar` of `make image`, an OCI archive."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

_GONE, _EMPTIED = ".wh.", ".wh..wh..opq"


class NoImage(ValueError):
    """The archive does not hold the image that is looked for, or not what it says."""


def unpack(archive: Path, root: Path) -> str:
    """Lay the layers of the archive's one image over each other in a new folder, as this user's; returns the image's
    digest. Devices and the right to set ids are left out. Raises `NoImage`."""
    root.mkdir(parents=True)
    with tarfile.open(archive) as outer:
        index = json.loads(_member(outer, "index.json"))
        digest, manifest = _image(outer, index["manifests"])
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(_blob(outer, layer["digest"]))) as inner:
                _lay(inner, root)
    return digest


def _image(outer: tarfile.TarFile, manifests: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The one manifest of an image: what BuildKit adds about the build is for no platform."""
    found = []
    for described in manifests:
        content = json.loads(_blob(outer, described["digest"]))
        if "manifests" in content:
            found.append(_image(outer, content["manifests"]))
        elif described.get("platform", {}).get("architecture") != "unknown":
            found.append((described["digest"], content))
    if len(found) != 1:
        raise NoImage(f"expected one image in the archive, found {[digest for digest, _ in found]}")
    return found[0]


def _member(outer: tarfile.TarFile, name: str) -> bytes:
    try:
        opened = outer.extractfile(name)
    except KeyError:
        opened = None
    if opened is None:
        raise NoImage(f"expected {name} in the archive, found no such file; is it of `make image`?")
    return opened.read()


def _blob(outer: tarfile.TarFile, digest: str) -> bytes:
    content = _member(outer, f"blobs/{digest.replace(':', '/')}")
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise NoImage(
            f"expected content with the digest {digest}, found {found}: the archive was changed or is cut short"
        )
    return content


def _lay(layer: tarfile.TarFile, root: Path) -> None:
    for member in layer:
        path = PurePosixPath(member.name)
        folder = root / path.parent
        if path.name == _EMPTIED:
            for old in folder.iterdir() if folder.is_dir() else ():
                _remove(old)
        elif path.name.startswith(_GONE):
            _remove(folder / path.name.removeprefix(_GONE))
        elif member.isdir() or member.isfile() or member.issym() or member.islnk():
            place = root / path
            if not member.isdir() or place.is_symlink() or place.is_file():
                _remove(place)
            layer.extract(member, root, filter=_plain)


def _plain(member: tarfile.TarInfo, root: str) -> tarfile.TarInfo | None:
    """What may be laid, and nothing outside. Links point from the image's own root: they are kept as they are."""
    if member.issym():
        kept = tarfile.tar_filter(member.replace(linkname="x"), root)
        return kept and kept.replace(linkname=member.linkname)
    return tarfile.data_filter(member, root)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
