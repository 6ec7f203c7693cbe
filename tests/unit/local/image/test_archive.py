"""What Docker wrote is extracted as Docker would: layers over each other, nothing outside, nothing that was changed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from local.image.archive import NoImage, unpack

Layer = dict[str, bytes | str]
"""Content by path; a text is where a link points."""


def layer(entries: Layer) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def archive(path: Path, *layers: Layer, change: bool = False) -> str:
    """An archive as BuildKit writes it: an index of an index, with a manifest about the build beside the image's."""
    blobs: dict[str, bytes] = {}

    def keep(content: bytes) -> dict[str, str]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"digest": f"sha256:{digest}"}

    def said(value: object) -> dict[str, str]:
        return keep(json.dumps(value).encode())

    image = said({"layers": [keep(layer(entries)) for entries in layers]})
    about = said({"layers": []})
    arm = {"platform": {"architecture": "arm64", "os": "linux"}}
    of_build = {"platform": {"architecture": "unknown", "os": "unknown"}}
    index = said({"manifests": [{**image, **arm}, {**about, **of_build}]})
    with tarfile.open(path, "w") as tar:
        for name, content in {
            "index.json": json.dumps({"manifests": [index]}).encode(),
            **{f"blobs/sha256/{digest}": b"x" * change + content for digest, content in blobs.items()},
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return image["digest"]


def test_layers_lie_over_each_other_and_take_away(tmp_path: Path) -> None:
    first: Layer = {"opt/a": b"1", "opt/b": b"1", "old/x": b"1", "python": "usr/bin/python"}
    second: Layer = {"opt/a": b"2", "opt/.wh.b": b"", "old/.wh..wh..opq": b"", "old/y": b"2"}
    digest = archive(tmp_path / "image.tar", first, second)
    assert unpack(tmp_path / "image.tar", tmp_path / "root") == digest
    root = tmp_path / "root"
    found = {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}
    assert found == {"opt/a": "2", "old/y": "2"}


def test_a_link_of_the_image_stays_what_it_is(tmp_path: Path) -> None:
    archive(tmp_path / "image.tar", {"opt/python": "/usr/local/bin/python3.12"})
    unpack(tmp_path / "image.tar", tmp_path / "root")
    assert (tmp_path / "root" / "opt" / "python").readlink() == Path("/usr/local/bin/python3.12")


@pytest.mark.parametrize("entries", [{"../out": b"1"}, {"/tmp/../../out": b"1"}])
def test_nothing_is_laid_outside(tmp_path: Path, entries: Layer) -> None:
    archive(tmp_path / "image.tar", entries)
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(tmp_path / "image.tar", tmp_path / "in" / "root")


def test_nothing_is_laid_through_a_link_that_leads_outside(tmp_path: Path) -> None:
    archive(tmp_path / "image.tar", {"opt": str(tmp_path)}, {"opt/out": b"1"})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(tmp_path / "image.tar", tmp_path / "root")
    assert not (tmp_path / "out").exists()


def test_an_archive_that_was_changed_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "image.tar", {"opt/a": b"1"}, change=True)
    with pytest.raises(NoImage, match="changed"):
        unpack(tmp_path / "image.tar", tmp_path / "root")
